"""The interface between what learns and what paints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch


class Picture(NamedTuple):
    """What decides a picture, checkpoint and settings being given."""

    prompt: str
    negative_prompt: str
    seed: int
    """Of the initial noise: pictures with one seed begin in the same noise, whatever else differs."""


class Sampler(Protocol):
    """Makes pictures with one checkpoint at one size."""

    def sample(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """float32 [B, 3, H, W], 0 to 1, in order. A picture does not depend on what else is asked for with it."""

    @property
    def description(self) -> Mapping[str, Any]:
        """What it is, for the record of a run: checkpoint, steps, guidance, size."""
