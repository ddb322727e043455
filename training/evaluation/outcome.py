"""What became of one way of finding negatives: its pictures, judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from training.evaluation.intervals import Interval, bootstrap, mean_interval
from training.rewards import WeightedReward, inception_score
from training.rl.gallery import Gallery
from training.samplers import Picture

NONE = "no negative"
"""The approach that all others are compared with."""


@dataclass(frozen=True)
class Outcome:
    """P prompts with S pictures each; every approach has the same prompts, seeds and order."""

    negatives: tuple[str, ...]
    """The negative prompt for each prompt."""
    scores: Mapping[str, torch.Tensor]
    """Each judge's scores [P, S], in its own units."""
    classes: torch.Tensor
    """p(y|x) [P, S, C], for the Inception Score."""
    reward: torch.Tensor
    """The weighted sum [P, S], in units of the pictures without a negative."""


def judge(
    gallery: Gallery, prompts: Sequence[str], approaches: Mapping[str, Sequence[str]], seeds: Sequence[int]
) -> dict[str, Outcome]:
    """Make and judge the pictures of all approaches on the same initial noise.

    `approaches` gives each one's negative for each prompt; `NONE` must be among them: its pictures set the units
    of the reward and are what the fidelity of a picture is measured against.
    """
    observed = {
        name: gallery.observe([Picture(p, n, seed) for p, n in zip(prompts, negatives, strict=True) for seed in seeds])
        for name, negatives in approaches.items()
    }
    gallery.reward.warm_up(observed[NONE])
    return {name: _outcome(gallery.reward, approaches[name], seen, len(seeds)) for name, seen in observed.items()}


def _outcome(
    reward: WeightedReward, negatives: Sequence[str], observed: Mapping[str, torch.Tensor], seeds: int
) -> Outcome:
    judged = reward(dict(observed))
    shape = (len(negatives), seeds)
    return Outcome(
        tuple(negatives),
        {name: part.view(shape) for name, part in judged.parts.items()},
        observed["fidelity"].view(*shape, -1),
        judged.total.view(shape),
    )


def table(outcomes: Mapping[str, Outcome], resamples: int = 2000) -> dict[str, dict[str, Interval]]:
    """For each approach: Inception Score, each judge's mean, reward, and how often it beats no negative."""
    none = outcomes[NONE].reward
    rows = {}
    for name, outcome in outcomes.items():
        rows[name] = {
            "inception score": bootstrap(len(none), partial(_inception, outcome), min(resamples, 500)),
            **{name: mean_interval(scores, resamples) for name, scores in outcome.scores.items()},
            "reward": mean_interval(outcome.reward, resamples),
            "wins against none": mean_interval(wins(outcome.reward, none), resamples),
        }
    return rows


def wins(reward: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """1 where a picture beats the other of the same prompt and seed, a half where they are equal: [P, S]."""
    return (reward > other).double() + 0.5 * (reward == other).double()


def _inception(outcome: Outcome, picked: torch.Tensor) -> float:
    return inception_score(outcome.classes[picked].flatten(0, 1))[0]
