"""Alignment: how well a picture shows what its prompt says (CLIPScore, Hessel et al. 2021, arXiv:2104.08718)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from .judge import Unlearning

SCALE = 2.5
"""w in CLIPScore's equation (1), so that scores spread over about 0 to 1."""


class Alignment(Unlearning):
    """CLIPScore = 2.5 max(cos(picture, prompt), 0), from 0 to 2.5."""

    def __init__(
        self,
        embed_images: Callable[[torch.Tensor], torch.Tensor],
        embed_texts: Callable[[Sequence[str]], torch.Tensor],
    ) -> None:
        """Both give embeddings [B, E], of any length: one of images [B, 3, H, W], 0 to 1, the other of texts."""
        self._embed_images, self._embed_texts = embed_images, embed_texts

    @torch.no_grad()
    def observe(self, images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        cosine = torch.cosine_similarity(self._embed_images(images).float(), self._embed_texts(prompts).float())
        return SCALE * cosine.clamp(min=0).cpu().unsqueeze(1)

    def score(self, observed: torch.Tensor) -> torch.Tensor:
        return observed[:, 0]
