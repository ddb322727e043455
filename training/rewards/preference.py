"""Preference: which picture of a prompt people would take, by models that learned it from their choices.

PickScore (Kirstain et al. 2023, arXiv:2305.01569) and HPSv2 (Wu et al. 2023, arXiv:2306.09341) are CLIPs that went on
learning; ImageReward (Xu et al. 2023, arXiv:2304.05977) is a BLIP with a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from negopt.errors import ModelError

from .clip import BATCH, Clip
from .judge import Unlearning


class Preference(Unlearning):
    """Cosine of picture and prompt in a CLIP that learned from people's choices, times its scale."""

    def __init__(self, clip: Clip, scale: float = 1.0) -> None:
        self._clip, self._scale = clip, scale

    @torch.no_grad()
    def observe(self, images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        cosine = torch.cosine_similarity(self._clip.embed_images(images), self._clip.embed_texts(prompts))
        return self._scale * cosine.cpu().unsqueeze(1)

    def score(self, observed: torch.Tensor) -> torch.Tensor:
        return observed[:, 0]


class ImageReward(Unlearning):
    """About -2 to 2, as its authors scaled it. The network is the library imscore's."""

    def __init__(self, file: Path, device: torch.device, dtype: torch.dtype) -> None:
        """`file`: safetensors with imscore's names; raises `ModelError`, also where imscore is missing."""
        try:
            from imscore.imreward.model import ImageReward as Network
        except (ImportError, RuntimeError) as error:
            line = str(error).splitlines()[0]
            raise ModelError(f"imagereward needs the library imscore: pip install imscore ({line})") from error
        try:
            network: Any = Network()
            network.load_state_dict(load_file(file))
        except (OSError, RuntimeError, SafetensorError) as error:
            line = str(error).strip().splitlines()[0]
            raise ModelError(f"{file}: not an ImageReward that imscore opens ({line})") from error
        self._network = network.eval().requires_grad_(False).to(device, dtype)
        self._device, self._dtype = device, dtype

    @torch.no_grad()
    def observe(self, images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        scores = [
            self._network.score(part.to(self._device, self._dtype), list(prompts[start : start + BATCH])).float().cpu()
            for start, part in zip(range(0, len(images), BATCH), images.split(BATCH), strict=True)
        ]
        return torch.cat(scores).view(-1, 1)

    def score(self, observed: torch.Tensor) -> torch.Tensor:
        return observed[:, 0]
