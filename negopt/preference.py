"""Preferences: which of a model's metrics shall count how much, for a model that was trained for every weighting.

Such a model has a vector for each metric; their weighted mean is added to the embedding of every token of the prompt.
Importing this file does not import torch.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Preferences:
    """What a model knows of preferences."""

    metrics: tuple[str, ...]
    """The metrics that it can prefer, M of them."""
    vectors: Tensor
    """[M, d_model]: what stands for each."""

    def shares(self, prefer: Mapping[str, Any] | None = None) -> tuple[float, ...]:
        """What each metric counts, in order; the sum is 1.

        `prefer` has the weights of metrics by name, in any unit: 0 for those left out, and all alike where it is
        empty. Raises `OptionError` for a metric that there is not, and for weights that say nothing.
        """
        if not prefer:
            return (1.0 / len(self.metrics),) * len(self.metrics)
        if not isinstance(prefer, Mapping):
            raise OptionError(f"prefer must be a table of metrics and their weights, not {prefer!r}")
        for name, weight in prefer.items():
            if name not in self.metrics:
                raise OptionError(f"prefer: no metric is called {name!r}; there are: {', '.join(self.metrics)}")
            if not _is_weight(weight):
                raise OptionError(f"prefer: the weight of {name} must be a number from 0, not {weight!r}")
        weights = [prefer.get(name, 0) for name in self.metrics]
        largest = max(weights)
        if not largest > 0:
            raise OptionError("prefer: at least one weight must be above 0")
        parts = [weight / largest for weight in weights]  # so that the sum of huge weights is finite
        return tuple(part / sum(parts) for part in parts)

    def shifts(self, shares: Sequence[Sequence[float]]) -> Tensor:
        """[B, d_model]: what is added to the tokens of each prompt, of shares B times M."""
        return self.vectors.new_tensor(shares) @ self.vectors


def read_preference(text: str) -> dict[str, float]:
    """Weights from "aesthetics=1, alignment=0.5"; raises `OptionError` for anything else."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = map(str.strip, part.partition("="))
        try:
            weights[name] = float(number)
        except ValueError:
            raise OptionError(f"{part.strip()!r} is not METRIC=NUMBER") from None
    return weights


def _is_weight(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value <= sys.float_info.max
