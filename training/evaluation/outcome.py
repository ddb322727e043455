"""What became of one way of finding negatives: its pictures, judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from training.evaluation.intervals import Interval, bootstrap, mean_interval
from training.rewards import inception_score
from training.rl.gallery import Gallery
from training.samplers import Picture

NONE = "no negative"
"""The approach that all others are compared with."""
LESS_IS_BETTER = frozenset({"defects"})
"""Figures that are better the lower they are."""

Table = dict[str, dict[str, Interval]]
"""For each approach its figures by name."""


@dataclass(frozen=True)
class Outcome:
    """P prompts with S pictures each; every approach has the same prompts, seeds and order."""

    negatives: tuple[str, ...]
    """The negative prompt for each prompt."""
    seen: Mapping[str, torch.Tensor]
    """What each judge saw, [P, S, D]."""
    scores: Mapping[str, torch.Tensor]
    """Each judge's scores [P, S], in its own units."""
    reward: torch.Tensor
    """The weighted sum [P, S], in units of the pictures without a negative."""

    @property
    def classes(self) -> torch.Tensor:
        """p(y|x) [P, S, C], for the Inception Score."""
        return self.seen["fidelity"]


def judge(
    gallery: Gallery, prompts: Sequence[str], approaches: Mapping[str, Sequence[str]], seeds: int
) -> dict[str, Outcome]:
    """Make and judge the pictures of all approaches on the same initial noise.

    Each prompt has `seeds` pictures. `approaches` gives each one's negative for each prompt; `NONE` must be among
    them: its pictures set the units of the reward. The fidelity of a picture is measured against the other pictures of
    its approach, so that exp of its mean is the approach's Inception Score.
    """
    gallery.reward.warm_up(gallery.observe(pictures_of(prompts, approaches[NONE], seeds), NONE))
    return {name: judge_one(gallery, prompts, negatives, seeds, name) for name, negatives in approaches.items()}


def judge_one(gallery: Gallery, prompts: Sequence[str], negatives: Sequence[str], seeds: int, title: str) -> Outcome:
    """As `judge`, of one approach, in the units that the rewards already have."""
    observed = gallery.observe(pictures_of(prompts, negatives, seeds), title)
    judged = gallery.reward.alone(observed)
    shape = (len(negatives), seeds)
    return Outcome(
        tuple(negatives),
        {name: rows.view(*shape, -1) for name, rows in observed.items()},
        {name: part.view(shape) for name, part in judged.parts.items()},
        judged.total.view(shape),
    )


def pictures_of(prompts: Sequence[str], negatives: Sequence[str], seeds: int, first: int = 0) -> list[Picture]:
    """`seeds` pictures for each prompt side by side. Each prompt has noises of its own, counted from `first`: what one
    noise favours is no news of a prompt."""
    pairs = enumerate(zip(prompts, negatives, strict=True))
    return [Picture(p, n, first + row * seeds + each) for row, (p, n) in pairs for each in range(seeds)]


def table(outcomes: Mapping[str, Outcome], resamples: int = 2000) -> Table:
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


def differences(outcomes: Mapping[str, Outcome], resamples: int = 2000) -> Table:
    """The reward of each approach less that of each other, picture by picture: surer than the rewards themselves,
    since both began in the same noise."""
    return {
        name: {
            other: mean_interval(one.reward - two.reward, resamples) for other, two in outcomes.items() if other != name
        }
        for name, one in outcomes.items()
    }


def gains(outcomes: Mapping[str, Outcome], rows: Sequence[int], resamples: int = 2000) -> Table:
    """What each approach adds to each judge's score and to the reward of the same picture without a negative, on the
    prompts at `rows`."""
    places, none = list(rows), outcomes[NONE]

    def gain(one: torch.Tensor, two: torch.Tensor) -> Interval:
        return mean_interval((one - two)[places], resamples)

    return {
        name: {
            **{judge: gain(scores, none.scores[judge]) for judge, scores in outcome.scores.items()},
            "reward": gain(outcome.reward, none.reward),
        }
        for name, outcome in outcomes.items()
        if name != NONE
    }


def rates(outcomes: Mapping[str, Outcome], judge: str, labels: Sequence[str], resamples: int = 2000) -> Table:
    """The share of an approach's pictures in which a judge of several labels sees each of them."""
    return {
        name: {
            label: mean_interval((outcome.seen[judge][..., place] > 0.5).float(), resamples)
            for place, label in enumerate(labels)
        }
        for name, outcome in outcomes.items()
    }


def wins(reward: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """1 where a picture beats the other of the same prompt and seed, a half where they are equal: [P, S]."""
    return (reward > other).double() + 0.5 * (reward == other).double()


def _inception(outcome: Outcome, picked: torch.Tensor) -> float:
    return inception_score(outcome.classes[picked].flatten(0, 1))[0]
