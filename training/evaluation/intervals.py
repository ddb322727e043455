"""How sure a figure is: bootstrap intervals over prompts, which are what is drawn at random in an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

RESAMPLES = 2000


class Interval(NamedTuple):
    """A figure with the bounds between which it lies in 95 of 100 resamples of the prompts."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def bootstrap(
    prompts: int, figure: Callable[[torch.Tensor], float], resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The interval of a figure that is computed from a choice of prompts (Efron's percentile bootstrap, its bias taken
    off: a resample repeats prompts, which lowers a score of variety).

    `figure` takes int64 positions [prompts], with repeats, and is called once with all prompts in order. The
    resamples follow from `seed`, so that figures of one evaluation are resampled alike and can be compared.
    """
    generator = torch.Generator().manual_seed(seed)
    found = torch.tensor(
        [figure(torch.randint(prompts, (prompts,), generator=generator)) for _ in range(resamples)],
        dtype=torch.float64,
    )
    value = figure(torch.arange(prompts))
    low, high = (found - found.mean() + value).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(value, low, high)


def mean_interval(values: torch.Tensor, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Of the mean of values [P, S], S pictures for each of P prompts."""
    by_prompt = values.double().mean(1)
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(by_prompt), (resamples, len(by_prompt)), generator=generator)
    low, high = by_prompt[picks].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(by_prompt.mean().item(), low, high)
