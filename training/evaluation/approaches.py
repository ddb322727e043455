"""The ways of finding a negative prompt that are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch

from negopt.generator import Generator
from training.baselines import nearest_neighbour
from training.rl.gallery import Gallery
from training.samplers import Picture

LISTS = 24
"""How many lists are tried for the best fixed one."""


def written(generator: Generator, prompts: Sequence[str], max_terms: int) -> list[str]:
    """What a model writes at creativity 0."""
    return [answer.text for answer in generator.generate_batch(prompts, max_terms=max_terms, max_tokens=0)]


def copied(train_prompts: Sequence[str], train_negatives: Sequence[str], prompts: Sequence[str]) -> list[str]:
    """The negative that people wrote for the nearest training prompt."""
    nearest = nearest_neighbour(train_prompts, [[negative] for negative in train_negatives], prompts)
    return [terms[0] for terms in nearest]


def best_fixed(
    gallery: Gallery,
    train_prompts: Sequence[str],
    train_negatives: Sequence[str],
    train_terms: Sequence[Sequence[str]],
    seeds: Sequence[int],
) -> str:
    """The list that makes the best pictures for all training prompts given: of the whole lists that people use
    most, and of the most frequent terms, by length."""
    whole = [negative for negative, _ in Counter(train_negatives).most_common(LISTS // 2)]
    frequent = [term for term, _ in Counter(term for terms in train_terms for term in terms).most_common(LISTS // 2)]
    candidates = dict.fromkeys([*whole, *(", ".join(frequent[: n + 1]) for n in range(len(frequent)))])
    return max(candidates, key=_mean_reward(gallery, train_prompts, seeds))


def _mean_reward(gallery: Gallery, prompts: Sequence[str], seeds: Sequence[int]) -> Callable[[str], float]:
    def observe(negative: str) -> dict[str, torch.Tensor]:
        return gallery.observe([Picture(prompt, negative, seed) for prompt in prompts for seed in seeds])

    gallery.reward.warm_up(observe(""))
    return lambda negative: gallery.reward(observe(negative)).total.mean().item()
