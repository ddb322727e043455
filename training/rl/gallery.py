"""Pictures that were asked for, each made once and looked at once.

What the judges saw of a picture takes a few numbers, and is kept; the picture itself is not. A policy that
comes to like a negative prompt asks for it again and again: those draws cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from training.rewards import WeightedReward
from training.rewards.weighted import Observed
from training.samplers import Picture, Sampler


class Gallery:
    """Makes pictures with `sampler` and shows them to the judges of `reward`."""

    def __init__(self, sampler: Sampler, reward: WeightedReward) -> None:
        self.sampler, self.reward = sampler, reward
        self.made = 0
        """Pictures made so far, in this process and those it resumed from."""
        self._seen: dict[Picture, dict[str, torch.Tensor]] = {}

    def observe(self, pictures: Sequence[Picture]) -> Observed:
        """What the judges see, in order; each judge float32 [B, D]."""
        self._make([picture for picture in dict.fromkeys(pictures) if picture not in self._seen])
        return {name: torch.stack([self._seen[p][name] for p in pictures]) for name in self.reward.judges}

    def _make(self, pictures: list[Picture]) -> None:
        if not pictures:
            return
        images = self.sampler.sample(pictures)
        observed = self.reward.observe(images, [picture.prompt for picture in pictures])
        for row, picture in enumerate(pictures):
            self._seen[picture] = {name: values[row].clone() for name, values in observed.items()}
        self.made += len(pictures)

    def forget(self, keep: int) -> None:
        """Let all but the last `keep` pictures go, so that memory stays flat."""
        for picture in list(self._seen)[: max(0, len(self._seen) - keep)]:
            del self._seen[picture]

    def state_dict(self) -> dict[str, Any]:
        """JSON values, and tensors under "seen"."""
        names = list(self.reward.judges)
        seen = {name: torch.stack([s[name] for s in self._seen.values()]) for name in names} if self._seen else {}
        return {"made": self.made, "pictures": [list(picture) for picture in self._seen], "seen": seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.made = state["made"]
        pictures = [Picture(*picture) for picture in state["pictures"]]
        self._seen = {
            p: {name: rows[i].clone() for name, rows in state["seen"].items()} for i, p in enumerate(pictures)
        }
