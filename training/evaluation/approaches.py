"""The ways of finding a negative prompt that are compared."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence

from negopt.generator import Generator
from training.baselines import nearest_neighbour
from training.evaluation.search import Terms, beam_search, frequent_terms, mean_reward, racing
from training.rl.gallery import Gallery
from training.samplers import Picture

LISTS = 12
"""How many whole lists of people, and how many of the most frequent terms by length, are tried as the fixed list."""
TERMS, LONGEST, BEAM, SHORTLIST = 32, 5, 2, 8
"""A search goes over so many terms to lists of so many, from so many at a time, with so many terms after the first."""
LIST_SEEDS = range(20_001, 20_009)
SEARCH_SEEDS = range(10_001, 10_009)
"""Initial noises on which lists are searched. What is found is judged on others."""
ROUNDS = (1, 2, 4, 8)
"""Seeds on which a race's lists are tried: all on the first, the better half on two, and so on."""


def written(
    generator: Generator, prompts: Sequence[str], max_terms: int, prefer: Mapping[str, float] | None = None
) -> list[str]:
    """What a model writes at creativity 0; `prefer` weighs the metrics of a model with preferences."""
    answers = generator.generate_batch(prompts, prefer=prefer or {}, max_terms=max_terms, max_tokens=0)
    return [answer.text for answer in answers]


def copied(train_prompts: Sequence[str], train_negatives: Sequence[str], prompts: Sequence[str]) -> list[str]:
    """The negative that people wrote for the nearest training prompt."""
    nearest = nearest_neighbour(train_prompts, [[negative] for negative in train_negatives], prompts)
    return [terms[0] for terms in nearest]


def best_fixed(
    gallery: Gallery,
    prompts: Sequence[str],
    train_negatives: Sequence[str],
    train_terms: Sequence[Sequence[str]],
    seeds: Sequence[int] = LIST_SEEDS,
) -> str:
    """The list that makes the best pictures for all of `prompts`, from training: of the whole lists that people use
    most, of the most frequent terms by length, and of those that a beam search puts together.

    The gallery's rewards are left as they were.
    """
    before = copy.deepcopy(gallery.reward.state_dict())
    trials = [(prompt, seed) for seed in seeds for prompt in prompts]
    gallery.reward.warm_up(gallery.observe([Picture(prompt, "", seed) for prompt, seed in trials], "fixed list"))
    mean = mean_reward(gallery, trials, "fixed list", alone=True)
    score = racing(mean, [len(prompts) * count for count in ROUNDS if count <= len(seeds)])
    whole: list[Terms] = [(negative,) for negative, _ in Counter(train_negatives).most_common(LISTS) if negative]
    frequent = frequent_terms(train_terms, TERMS)
    candidates = list(dict.fromkeys([*whole, *(tuple(frequent[: n + 1]) for n in range(min(LISTS, len(frequent))))]))
    finalists = [candidates[int(score(candidates).argmax())]]
    finalists += [
        terms for _, terms in beam_search(score, frequent, width=BEAM, depth=LONGEST, shortlist=SHORTLIST) if terms
    ]
    best = finalists[int(mean(finalists).argmax())]
    gallery.reward.load_state_dict(before)
    return ", ".join(best)


def best_for(
    gallery: Gallery, prompt: str, terms: Sequence[str], known: Sequence[str], seeds: Sequence[int] = SEARCH_SEEDS
) -> str:
    """The negative that makes the best pictures for this very prompt, as the judges themselves say: of those that a
    beam search over `terms` finds, and of those already `known`. Nobody can know it beforehand: it is the ceiling.

    The rewards must have their units, and have learned of the pictures that all others make: those of one prompt are
    no measure of how many classes there are.
    """
    mean = mean_reward(gallery, [(prompt, seed) for seed in seeds])
    score = racing(mean, [count for count in ROUNDS[1:] if count <= len(seeds)])
    searched = beam_search(score, terms, width=BEAM, depth=LONGEST, shortlist=SHORTLIST)
    finalists = [*(found for _, found in searched), *((negative,) for negative in dict.fromkeys(known) if negative)]
    return ", ".join(finalists[int(mean(finalists).argmax())])
