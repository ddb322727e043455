"""CLIP as the judges use it: pictures and texts into one space, each picture once.

Any CLIP in transformers' layout (config.json, model.safetensors), of which PickScore is one, and those in
open_clip's layout. Knows nothing of rewards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.functional import interpolate
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from negopt.errors import ModelError

from .once import Look, once

MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures that CLIP learned from, by colour."""
FILES = ("config.json", "model.safetensors")
BATCH = 32
"""Pictures that go through the network at a time: the most memory the judges take beside their weights."""


class Clip:
    """A CLIP on one device, in one precision."""

    def __init__(self, model: CLIPModel, tokenizer: CLIPTokenizer, *, batch: int = BATCH) -> None:
        self._model: Any = model.eval().requires_grad_(False)
        self._tokenizer, self._batch = tokenizer, batch
        self.embed_images: Look = once(self._embed_images)
        """float32 [B, E] of images [B, 3, H, W], 0 to 1; one look serves all judges that ask of the same tensor."""

    @classmethod
    def open(cls, folder: Path, tokenizer: Path, device: torch.device, dtype: torch.dtype) -> Clip:
        """The model in `folder` and the tokenizer in that of its name; raises `ModelError`."""
        try:
            model, words = _whole(folder, dtype=dtype, use_safetensors=True), CLIPTokenizer.from_pretrained(tokenizer)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder}: not a CLIP that transformers opens ({_line(error)})") from error
        return cls(model.to(device), words)

    @classmethod
    def open_open_clip(
        cls, file: Path, tokenizer: Path, device: torch.device, dtype: torch.dtype, config: CLIPConfig | None = None
    ) -> Clip:
        """The model in a safetensors file with open_clip's names, of the sizes in `config` (ViT-H/14's); raises
        `ModelError`."""
        try:
            weights = from_open_clip(load_file(file))
            model = _whole(None, config=config or huge(), state_dict=weights, dtype=dtype)
            words = CLIPTokenizer.from_pretrained(tokenizer)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{file}: not a CLIP in open_clip's layout of this size ({_line(error)})") from error
        return cls(model.to(device), words)

    @property
    def scale(self) -> float:
        """What the model multiplies cosines by."""
        return float(self._model.logit_scale.exp())

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 [B, E]; each distinct text goes through the network once. Texts are cut at CLIP's length."""
        distinct = list(dict.fromkeys(texts))
        parts = [self._read(distinct[start : start + self._batch]) for start in range(0, len(distinct), self._batch)]
        places = {text: row for row, text in enumerate(distinct)}
        return torch.cat(parts)[[places[text] for text in texts]]

    @torch.no_grad()
    def _embed_images(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._embed(part) for part in images.split(self._batch)])

    def _embed(self, images: torch.Tensor) -> torch.Tensor:
        prepared = prepare(images.to(self._model.device), self._model.config.vision_config.image_size)
        seen = self._model.vision_model(pixel_values=prepared.to(self._model.dtype)).pooler_output
        embedded: torch.Tensor = self._model.visual_projection(seen).float()
        return embedded

    def _read(self, texts: list[str]) -> torch.Tensor:
        length = self._model.config.text_config.max_position_embeddings
        encoded: Any = self._tokenizer(
            texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        read = self._model.text_model(input_ids=encoded.input_ids.to(self._model.device)).pooler_output
        embedded: torch.Tensor = self._model.text_projection(read).float()
        return embedded


def prepare(images: torch.Tensor, side: int) -> torch.Tensor:
    """Images [B, 3, H, W], 0 to 1, as CLIP takes them, [B, 3, side, side]: the shorter side resized to `side`
    (bicubic, antialiased), the middle cut out, colours normalised. What transformers' CLIPImageProcessor does, but
    that it rounds to whole bytes."""
    height, width = images.shape[-2:]
    short = min(height, width)
    size = (side * height // short, side * width // short)
    resized = interpolate(images.float(), size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    middle = resized[..., top : top + side, left : left + side]
    mean, spread = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (MEAN, SPREAD))
    return (middle - mean) / spread


def huge() -> CLIPConfig:
    """ViT-H/14 as LAION trained it, which HPSv2 began as."""
    sides: dict[str, dict[str, Any]] = {
        "text": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24},
        "vision": {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "patch_size": 14},
    }
    same: dict[str, Any] = {"num_attention_heads": 16, "projection_dim": 1024, "hidden_act": "gelu"}
    return CLIPConfig(
        text_config=sides["text"] | same, vision_config=sides["vision"] | same, projection_dim=same["projection_dim"]
    )


def _whole(folder: Path | None, **settings: Any) -> Any:
    """The model, every tensor of it from the file: transformers would fill gaps with random numbers."""
    loaded: Any = CLIPModel.from_pretrained(folder, output_loading_info=True, **settings)
    model, report = loaded
    if gaps := sorted([*report["missing_keys"], *map(str, report["mismatched_keys"])]):
        raise ValueError(f"{len(gaps)} tensors are missing or of another size, {gaps[0]} among them")
    return model


_OPEN_CLIP = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1": "vision_model.embeddings.patch_embedding",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "visual.proj": "visual_projection.weight",
    "visual.transformer.resblocks": "vision_model.encoder.layers",
    "token_embedding": "text_model.embeddings.token_embedding",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "transformer.resblocks": "text_model.encoder.layers",
    "ln_final": "text_model.final_layer_norm",
    "text_projection": "text_projection.weight",
}
_IN_A_LAYER = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
_TRANSPOSED = ("visual.proj", "text_projection")


def from_open_clip(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """open_clip's names for transformers' names; a common prefix "model." is dropped."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        old = name.removeprefix("model.")
        new = next((new + old[len(prefix) :] for prefix, new in _OPEN_CLIP.items() if old.startswith(prefix)), old)
        for inner, outer in _IN_A_LAYER.items():
            new = new.replace(f".{inner}.", f".{outer}.")
        new = new.replace(".attn.out_proj.", ".self_attn.out_proj.")
        if ".attn.in_proj_" in new:
            layer, kind = new.split(".attn.in_proj_")
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                found[f"{layer}.self_attn.{part}_proj.{kind}"] = rows
        else:
            found[new] = tensor.T if old in _TRANSPOSED else tensor
    return found


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
