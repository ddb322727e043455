"""What was drawn, step by step: all that training needs to judge a draw of the generator again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .rules import TermRule

if TYPE_CHECKING:
    from .generator import NegativePrompt


@dataclass(frozen=True)
class Rollout:
    """One negative prompt as it was drawn from the network's distribution."""

    prompt_tokens: tuple[int, ...]
    """What the network read."""
    prefix: tuple[int, ...]
    """What the decoder was fed before the first draw: the plan, and terms that stood there already."""
    tokens: tuple[int, ...]
    """What was drawn, the token at which it ended included."""
    log_probs: tuple[float, ...]
    """Of each token at temperature 1, among those that were allowed."""
    allowed: torch.Tensor
    """bool [len(tokens), V]: which tokens could be drawn at each step."""
    answer: NegativePrompt
    shares: tuple[float, ...] = ()
    """What each metric counted, of a model with preferences."""


class RecordingRule:
    """A `TermRule` that remembers what it allowed at each step."""

    def __init__(self, rule: TermRule) -> None:
        self.rule = rule
        self._bias = torch.empty(0)
        self._allowed: list[torch.Tensor] = []

    def begin(self, bias: torch.Tensor) -> None:
        self.rule.begin(bias)
        self._bias = bias
        self._record()

    def advance(self, token: int) -> bool:
        going = self.rule.advance(token)
        self._record()
        return going

    def permits(self, token: int) -> bool:
        """Whether this may be the next one."""
        return self._bias[token].item() > -math.inf

    def allowed(self, steps: int) -> torch.Tensor:
        """bool [steps, V]: of the first steps."""
        return torch.stack(self._allowed[:steps]) if steps else torch.empty((0, len(self._bias)), dtype=torch.bool)

    def _record(self) -> None:
        self._allowed.append((self._bias > -math.inf).cpu())
