"""A model that can be told what shall count how much."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from negopt.locate import CONFIG, PREFERENCE, SETTINGS


def give_preferences(folder: Path, metrics: Sequence[str]) -> None:
    """Give the model in `folder` random vectors for the metrics, far apart."""
    width = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["d_model"]
    generator = torch.Generator().manual_seed(1)
    save_file({name: 3 * torch.randn(width, generator=generator) for name in metrics}, folder / PREFERENCE)
    set_metrics(folder, metrics)


def set_metrics(folder: Path, metrics: object) -> None:
    """What the model's settings say that it can prefer."""
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    (folder / SETTINGS).write_text(json.dumps({**settings, "metrics": metrics}), encoding="utf-8")
