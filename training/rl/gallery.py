"""Pictures that were asked for, each made once and looked at once.

What the judges saw of a picture takes a few numbers, and is kept; the picture itself is not. A policy that
comes to like a negative prompt asks for it again and again: those draws cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from training.memory import enough_for
from training.rewards import WeightedReward
from training.rewards.weighted import Observed
from training.samplers import Picture, Sampler

AT_ONCE = 64
"""Pictures between two moves of the progress bar."""
Look = Callable[[Sequence[Picture]], Observed]
"""Makes pictures, and says what the judges saw in each."""


class Gallery:
    """Makes pictures with `sampler` and shows them to the judges of `reward`."""

    def __init__(self, sampler: Sampler, reward: WeightedReward) -> None:
        self.sampler, self.reward = sampler, reward
        self.look: Look = self._look
        """How new pictures are made and looked at: here, unless others help (see `training.processes`)."""
        self.made = 0
        """Pictures made so far, in this process and those it resumed from."""
        self._widths: list[int] = []
        self._seen: dict[Picture, NDArray[np.float32]] = {}
        """What all judges saw, side by side in the order of `reward.judges`; arrays, since small tensors take several
        times the memory of their numbers."""

    def observe(self, pictures: Sequence[Picture], title: str | None = None) -> Observed:
        """What the judges see, in order; each judge float32 [B, D]. With a `title`, a bar shows how far it is."""
        new = [picture for picture in dict.fromkeys(pictures) if picture not in self._seen]
        if title is None:
            self._make(new)
        else:
            with tqdm(total=len(new), desc=title, unit="picture", mininterval=2.0, leave=False, disable=not new) as bar:
                for start in range(0, len(new), AT_ONCE):
                    self._make(new[start : start + AT_ONCE])
                    bar.update(len(new[start : start + AT_ONCE]))
        return self._split([self._seen[picture] for picture in pictures])

    def _make(self, pictures: list[Picture]) -> None:
        if not pictures:
            return
        self._keep(pictures, self.look(pictures))
        self.made += len(pictures)

    def _look(self, pictures: Sequence[Picture]) -> Observed:
        images = self.sampler.sample(pictures)
        with enough_for("the judges beside the checkpoint"):
            return self.reward.observe(images, [picture.prompt for picture in pictures])

    def _keep(self, pictures: Sequence[Picture], observed: Mapping[str, torch.Tensor]) -> None:
        parts = [observed[name] for name in self.reward.judges]
        self._widths = [part.shape[1] for part in parts]
        rows = torch.cat(parts, dim=1).numpy()
        self._seen.update((picture, row.copy()) for picture, row in zip(pictures, rows, strict=True))

    def _split(self, rows: Sequence[NDArray[np.float32]]) -> Observed:
        parts = torch.from_numpy(np.stack(rows)).split(self._widths, dim=1)
        return dict(zip(self.reward.judges, (part.contiguous() for part in parts), strict=True))

    def forget(self, keep: int) -> None:
        """Let all but the last `keep` pictures go, so that memory stays flat."""
        for picture in list(self._seen)[: max(0, len(self._seen) - keep)]:
            del self._seen[picture]

    def state_dict(self) -> dict[str, Any]:
        """JSON values, and tensors under "seen"."""
        seen = self._split(list(self._seen.values())) if self._seen else {}
        return {"made": self.made, "pictures": [list(picture) for picture in self._seen], "seen": seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.made = state["made"]
        self._seen = {}
        if state["pictures"]:
            self._keep([Picture(*picture) for picture in state["pictures"]], state["seen"])
