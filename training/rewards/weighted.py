"""The reward: a weighted sum of what the judges say, so that one can optimise the metric that matters most.

As in the paper (Ogezi and Shi 2024, arXiv:2403.07605): alpha * aesthetics + beta * alignment + gamma *
fidelity. The metrics have different scales, so each is first put in units of its own spread over the pictures
of a warm-up, made with the policy that training starts from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from negopt.errors import OptionError
from negopt.prompt import in_words

from .judge import Judge

Observed = dict[str, torch.Tensor]
"""What each judge saw, by its name: float32 [B, D]."""


@dataclass(frozen=True)
class Reward:
    """The rewards of B pictures."""

    total: torch.Tensor
    """float32 [B]: the weighted sum."""
    parts: Mapping[str, torch.Tensor]
    """Each judge's scores [B], in its own units."""


class WeightedReward:
    """Sums the judges' scores, each normalised by the mean and spread of the warm-up, with its weight."""

    def __init__(
        self,
        judges: Mapping[str, Judge],
        weights: Mapping[str, float],
        origin: str = "",
        embeddings: tuple[str, ...] = (),
    ) -> None:
        """`weights` names the judges that count; `OptionError` if one is not there, or none counts. `origin`: what
        tells these judges from others of the same names. `embeddings`: names in prompts that are no words."""
        if unknown := sorted(set(weights) - set(judges)):
            raise OptionError(f"no judge is called {unknown[0]!r}; there are: {', '.join(judges)}")
        if not any(weights.values()) or any(not 0 <= weight < float("inf") for weight in weights.values()):
            raise OptionError("weights must be 0 or more, and one of them above 0")
        self.judges, self.weights, self.origin = dict(judges), dict(weights), origin
        self._embeddings = embeddings
        self._untaught = {name: judge.state_dict() for name, judge in judges.items()}
        self.normal: dict[str, tuple[float, float]] = {}
        """Mean and standard deviation of each judge's scores over the warm-up."""

    def observe(self, images: torch.Tensor, prompts: Sequence[str]) -> Observed:
        """What all judges see in images (float [B, 3, H, W], 0 to 1), those without weight for the record. They read
        the prompts in plain words: `<lora:ink:0.8>` is nothing that a picture could show."""
        said = [in_words(prompt, self._embeddings) for prompt in prompts]
        return {name: judge.observe(images, said) for name, judge in self.judges.items()}

    def learn(self, observed: Observed) -> None:
        """Let judges that compare with other pictures take note of these."""
        for name, judge in self.judges.items():
            judge.learn(observed[name])

    def warm_up(self, observed: Observed) -> None:
        """Take the units of all scores from these pictures, of at least two."""
        self.learn(observed)
        for name, judge in self.judges.items():
            scores = judge.score(observed[name])
            spread = scores.std().item()
            if not spread > 0 and self.weights.get(name):
                raise OptionError(f"{name} gives all pictures of the warm-up the same score: it cannot be a reward")
            self.normal[name] = scores.mean().item(), spread if spread > 0 else 1.0

    def __call__(self, observed: Observed) -> Reward:
        parts = {name: judge.score(observed[name]) for name, judge in self.judges.items()}
        return Reward(self.combine(parts, self.weights), parts)

    def alone(self, observed: Observed) -> Reward:
        """The rewards of pictures that are compared with each other alone, whatever others were learned: exp of their
        mean fidelity is their own Inception Score."""
        taught = {name: judge.state_dict() for name, judge in self.judges.items()}
        self._teach(self._untaught)
        try:
            return self(observed)
        finally:
            self._teach(taught)

    def _teach(self, states: Mapping[str, dict[str, Any]]) -> None:
        for name, judge in self.judges.items():
            judge.load_state_dict(states[name])

    def combine(self, parts: Mapping[str, torch.Tensor], weights: Mapping[str, float | torch.Tensor]) -> torch.Tensor:
        """The weighted sum [B] of scores in the judges' own units; a weight may be one number a picture, [B]."""
        normal = self.in_units(parts)
        return torch.stack(torch.broadcast_tensors(*(weight * normal[name] for name, weight in weights.items()))).sum(0)

    def in_units(self, parts: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Scores in the judges' own units, less the mean and over the spread of the warm-up."""
        return {name: (part - self.normal[name][0]) / self.normal[name][1] for name, part in parts.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"normal": self.normal, "judges": {name: judge.state_dict() for name, judge in self.judges.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.normal = {name: (mean, spread) for name, (mean, spread) in state["normal"].items()}
        self._teach(state["judges"])
