"""Several judges ask the same of the same pictures: it is computed once."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch

Look = Callable[[torch.Tensor], torch.Tensor]


def once(look: Look) -> Look:
    """`look`, which remembers the tensor that it was called with last, and what it found, as long as that tensor lives.
    It must not be changed in between."""
    last: tuple[weakref.ref[torch.Tensor], torch.Tensor] | None = None

    def remembered(images: torch.Tensor) -> torch.Tensor:
        nonlocal last
        if last is None or last[0]() is not images:
            last = weakref.ref(images), look(images)
        return last[1]

    return remembered
