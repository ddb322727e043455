"""Aesthetics: how much people like the look of a picture, whatever it shows.

A small head on CLIP's picture embedding, the form of LAION's aesthetic predictor
(github.com/christophschuhmann/improved-aesthetic-predictor), which the paper uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from .judge import Unlearning


class Aesthetics(Unlearning):
    """About 0 (ugly) to 10 (beautiful), the scale of the ratings that the head learned from."""

    def __init__(
        self, embed: Callable[[torch.Tensor], torch.Tensor], head: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        """`embed`: images [B, 3, H, W], 0 to 1, to embeddings [B, E]; `head`: those to ratings [B]."""
        self._embed, self._head = embed, head

    @torch.no_grad()
    def observe(self, images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        return self._head(self._embed(images)).float().cpu().unsqueeze(1)

    def score(self, observed: torch.Tensor) -> torch.Tensor:
        return observed[:, 0]
