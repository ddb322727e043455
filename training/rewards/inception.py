"""Inception-v3 (Szegedy et al. 2015, arXiv:1512.00567) as a classifier of pictures, for the Inception Score.

The architecture is torchvision's, the weights are a safetensors file with its names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.functional import interpolate

from negopt.errors import ModelError

SIDE = 299
BATCH = 32


class Inception:
    """1,000 classes of ImageNet, with their probabilities."""

    def __init__(self, model: Any, device: torch.device, dtype: torch.dtype) -> None:
        self._model = model.eval().requires_grad_(False).to(device, dtype).to(memory_format=torch.channels_last)
        self._device, self._dtype = device, dtype

    @classmethod
    def open(cls, file: Path, device: torch.device, dtype: torch.dtype) -> Inception:
        """Raises `ModelError`, also where torchvision is missing or belongs to another torch."""
        try:
            from torchvision.models import inception_v3
        except (ImportError, RuntimeError) as error:
            raise ModelError(
                "fidelity needs the torchvision that goes with the installed torch: pip install torchvision "
                f"({str(error).splitlines()[0]})"
            ) from error
        model: Any = inception_v3(weights=None, init_weights=False, aux_logits=False, transform_input=False)
        try:
            weights = load_file(file)
            # a second head that only training uses
            model.load_state_dict({k: v for k, v in weights.items() if not k.startswith("AuxLogits.")})
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{file}: not Inception-v3 ({str(error).strip().splitlines()[0]})") from error
        return cls(model, device, dtype)

    @torch.no_grad()
    def classify(self, images: torch.Tensor) -> torch.Tensor:
        """float32 [B, 1000] of images [B, 3, H, W], 0 to 1, resized to a square as the Inception Score does."""
        return torch.cat([self._classify(part) for part in images.split(BATCH)])

    def _classify(self, images: torch.Tensor) -> torch.Tensor:
        moved = images.to(self._device).float()
        resized = interpolate(moved, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        logits: torch.Tensor = self._model((resized * 2 - 1).to(self._dtype))
        return logits.float().softmax(-1)
