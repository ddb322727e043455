"""A gallery that outlives its process: an evaluation that was killed goes on, and another model costs only its own
pictures.

The file holds what the judges saw (safetensors), and which pictures those were. It serves only who has the same
sampler and judges: some pictures are made again, and must look as they did.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from negopt.errors import DataError
from training.rewards import WeightedReward
from training.rl.gallery import Gallery
from training.samplers import Picture, Sampler

SECONDS_BETWEEN_SAVES = 60.0
TRIED_AGAIN = 4
"""Kept pictures that are made once more to see whether the file fits."""


class KeptGallery(Gallery):
    """A `Gallery` that begins with what `file` holds, and writes it now and then."""

    def __init__(self, sampler: Sampler, reward: WeightedReward, file: Path) -> None:
        """Raises `DataError` where the file is damaged; one of another world is not used, and later overwritten."""
        super().__init__(sampler, reward)
        self._file, self._saved = file, time.monotonic()
        if file.exists():
            state = _read(file)
            if self._fits(state):
                self.load_state_dict(state)

    def save(self) -> None:
        """Write the file, whole or not at all."""
        state = self.state_dict()
        if not state["pictures"]:
            return
        facts = {"made": state["made"], "sampler": dict(self.sampler.description), "pictures": state["pictures"]}
        fresh = self._file.with_name(f".{self._file.name}.new-{os.getpid()}")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        save_file(state["seen"], fresh, {name: json.dumps(value) for name, value in facts.items()})
        fresh.replace(self._file)
        self._saved = time.monotonic()

    def _make(self, pictures: list[Picture]) -> None:
        super()._make(pictures)
        if time.monotonic() - self._saved > SECONDS_BETWEEN_SAVES:
            self.save()

    def _fits(self, state: dict[str, Any]) -> bool:
        """Are the judges and the sampler those that the file comes from?"""
        same = state["sampler"] == json.loads(json.dumps(dict(self.sampler.description)))
        if not same or set(state["seen"]) != set(self.reward.judges):
            return False
        places = range(0, len(state["pictures"]), -(-len(state["pictures"]) // TRIED_AGAIN))
        pictures = [Picture(*state["pictures"][place]) for place in places]
        observed = self.reward.observe(self.sampler.sample(pictures), [picture.prompt for picture in pictures])
        kept = {name: rows[list(places)] for name, rows in state["seen"].items()}
        return all(
            kept[name].shape == rows.shape and torch.allclose(kept[name], rows, rtol=0.05, atol=0.05)
            for name, rows in observed.items()
        )


def _read(file: Path) -> dict[str, Any]:
    try:
        with safe_open(file, "pt") as opened:
            facts = {name: json.loads(value) for name, value in (opened.metadata() or {}).items()}
            seen = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (no dict)
        return {"made": facts["made"], "sampler": facts["sampler"], "pictures": facts["pictures"], "seen": seen}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataError(f"{file}: damaged ({error}); delete it, and its pictures are made again") from error
