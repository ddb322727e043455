"""Fidelity: each picture's own share of the Inception Score (Salimans et al. 2016, arXiv:1606.03498).

The Inception Score of a set of pictures is exp(mean KL(p(y|x) || p(y))): high where a classifier is sure of
each picture and the set shows many classes. Here p(y) is the mean over a running window of the pictures last
made, so that one picture can be scored, and exp of the mean of the scores is the Inception Score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

WINDOW = 2048
"""Pictures whose classes make p(y); fewer would make it follow the last batch."""
LEAST = 1e-12
"""Probabilities below this count as this: their logarithm must exist."""


class Fidelity:
    """KL(p(y|x) || p(y)) in nats: 0 and up, at most log of the number of classes once p(y) is even."""

    def __init__(self, classify: Callable[[torch.Tensor], torch.Tensor], window: int = WINDOW) -> None:
        """`classify`: images [B, 3, H, W], 0 to 1, to probabilities [B, C]."""
        self._classify = classify
        self._window = window
        self._last = torch.empty(0)

    @torch.no_grad()
    def observe(self, images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        return self._classify(images).float().cpu()

    def score(self, observed: torch.Tensor) -> torch.Tensor:
        marginal = (self._last if len(self._last) else observed).mean(0)
        return divergence(observed, marginal)

    def learn(self, observed: torch.Tensor) -> None:
        self._last = torch.cat([self._last.reshape(-1, observed.shape[1]), observed])[-self._window :]

    def state_dict(self) -> dict[str, Any]:
        return {"last": self._last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._last = state["last"]


def divergence(conditional: torch.Tensor, marginal: torch.Tensor) -> torch.Tensor:
    """KL(conditional || marginal) [B] in nats, of probabilities [B, C] and [C]."""
    return (conditional * (conditional.clamp(min=LEAST).log() - marginal.clamp(min=LEAST).log())).sum(-1)


def inception_score(probabilities: torch.Tensor, splits: int = 1) -> tuple[float, float]:
    """Mean and standard deviation over `splits` equal parts of p(y|x) [N, C], N at least `splits`, as torch-fidelity
    computes it (the pictures in the order given)."""
    parts = [part.double() for part in probabilities.tensor_split(splits)]
    scores = torch.stack([divergence(part, part.mean(0)).mean().exp() for part in parts])
    return scores.mean().item(), scores.std(correction=0).item()
