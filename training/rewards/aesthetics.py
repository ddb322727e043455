"""Aesthetics: how much people like the look of a picture, whatever it shows.

A small head on CLIP's picture embedding, the form of LAION's aesthetic predictor
(github.com/christophschuhmann/improved-aesthetic-predictor), which the paper uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from negopt.errors import ModelError

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


def read_head(file: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """LAION's predictor from a safetensors file: embeddings [B, E] of any length to ratings [B].

    Accepts the first version (one linear layer) and the improved one (several, as layers.0.weight, layers.2.weight...):
    a chain of linear layers under any names that count upwards, each with weight and bias. There is no activation
    between them (the original code has its ReLUs commented out), so they are multiplied into one. Raises `ModelError`.
    """
    try:
        tensors = {name: tensor.double() for name, tensor in load_file(file).items()}
        layers = sorted({name.rpartition(".")[0] for name in tensors}, key=_number)
        weight, bias = torch.eye(tensors[_join(layers[0], "weight")].shape[1], dtype=torch.float64), torch.zeros(())
        for layer in layers:
            own = tensors[_join(layer, "weight")]
            weight, bias = own @ weight, own @ bias.expand(own.shape[1]).double() + tensors[_join(layer, "bias")]
        if weight.shape[0] != 1:
            raise ValueError(f"it ends in {weight.shape[0]} numbers, not one")
    except (OSError, ValueError, KeyError, IndexError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{file}: not an aesthetics head of linear layers ({error})") from error

    def rate(embedded: torch.Tensor) -> torch.Tensor:
        exact = embedded.cpu().double()  # there are devices without double precision: MPS
        unit = exact / exact.norm(dim=-1, keepdim=True)
        rated: torch.Tensor = (unit @ weight.T + bias)[:, 0].float()
        return rated

    return rate


def _number(layer: str) -> tuple[int, ...]:
    return tuple(int(part) for part in layer.split(".") if part.isdigit())


def _join(layer: str, part: str) -> str:
    return f"{layer}.{part}" if layer else part
