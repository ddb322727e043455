"""What a judge is, and the judges by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from negopt.errors import OptionError


class Judge(Protocol):
    """Scores pictures. Looking at them is what costs, so it is apart from scoring and done once a picture."""

    def observe(self, images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """float32 [B, D], on the CPU: all that the scores need of `images` (float [B, 3, H, W], 0 to 1) and prompts."""

    def score(self, observed: torch.Tensor) -> torch.Tensor:
        """float32 [B], higher is better, of what was observed [B, D]."""

    def learn(self, observed: torch.Tensor) -> None:
        """Take note of pictures that were just made, where scores are relative to such."""

    def state_dict(self) -> dict[str, Any]:
        """What `learn` has gathered, for a checkpoint."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Unlearning:
    """The part of a `Judge` whose scores do not depend on other pictures: nothing to learn, nothing to keep."""

    def learn(self, observed: torch.Tensor) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


JUDGES: dict[str, Callable[[Any], Judge]] = {}
"""What makes each judge, by name, from whatever holds its networks (a folder of judges, say)."""


def register(name: str, factory: Callable[[Any], Judge]) -> None:
    """Let `factory(source)` make the judge that --reward calls `name`; `OptionError` if the name is taken."""
    if name in JUDGES:
        raise OptionError(f"there is a judge called {name!r} already")
    JUDGES[name] = factory


def judge_named(name: str, source: Any) -> Judge:
    """The judge called `name`; `OptionError` naming those that there are."""
    if name not in JUDGES:
        raise OptionError(f"no judge is called {name!r}; there are: {', '.join(sorted(JUDGES))}")
    return JUDGES[name](source)
