"""Tiny checkpoints of random weights in one file each, in the layouts that SD1, SD2 and SDXL were released in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.hosts.checkpoints import TINY, Shape, _draw, _layer, _unet, write_tiny
from tests.tiny_clip import WORDS
from training.miniature.tokenizer import learn_tokenizer

Tensors = dict[str, torch.Tensor]
POOLED, TIMES = 64, 16
CLIP = "cond_stage_model.transformer."
TELLTALE = "model.diffusion_model.output_blocks.0.1.transformer_blocks.0.norm1.bias"
"""What the full size has in output block 11 and tells by what it predicts."""


def write_sd1(file: Path) -> None:
    write_tiny(file)


def write_sd2(file: Path, velocity: bool = False) -> None:
    """open_clip's text encoder of 24 layers, of which the last is not used; linear layers around the attention."""
    tensors = _linear(_without(_sd1(file), CLIP)) | _open_clip("cond_stage_model.model.", TINY.text_width, layers=24)
    tensors[TELLTALE] = torch.linspace(-1, 1, len(tensors[TELLTALE])) * (1.0 if velocity else 0.05)
    save_file(_whole(tensors), file)


def write_sdxl(file: Path) -> None:
    """Both text encoders side by side, the second's pooled text and six numbers beside the time."""
    tensors = _sd1(file)
    text = {
        n.replace(CLIP, "conditioner.embedders.0.transformer."): t for n, t in tensors.items() if n.startswith(CLIP)
    }
    unet = _drawn(_unet(replace(TINY, text_width=TINY.text_width + POOLED)), "model.diffusion_model.")
    time = 4 * TINY.channels
    added = [*_layer("label_emb.0.0", time, POOLED + 6 * TIMES), *_layer("label_emb.0.2", time, time)]
    unet |= _drawn(added, "model.diffusion_model.")
    vae = {name: tensor for name, tensor in tensors.items() if name.startswith("first_stage_model.")}
    second = _open_clip("conditioner.embedders.1.model.", POOLED, layers=3)
    save_file(_whole(_linear(unet) | vae | text | second), file)


def write_tokenizer(folder: Path) -> Path:
    """CLIP's kind, with "!" among its pieces as CLIP has it."""
    learn_tokenizer([*WORDS, "!"]).save_pretrained(folder)
    return folder


def _sd1(file: Path) -> Tensors:
    write_tiny(file)
    return load_file(file)


def _without(tensors: Tensors, prefix: str) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}


def _linear(tensors: Tensors) -> Tensors:
    around = (".proj_in.weight", ".proj_out.weight")
    vae = "first_stage_model."
    return {
        name: tensor[:, :, 0, 0] if name.endswith(around) and not name.startswith(vae) else tensor
        for name, tensor in tensors.items()
    }


def _open_clip(prefix: str, width: int, layers: int) -> Tensors:
    shapes: list[tuple[str, Shape]] = [
        ("token_embedding.weight", (49408, width)),
        ("positional_embedding", (77, width)),
        ("text_projection", (width, width)),
        *_layer("ln_final", width),
    ]
    for number in range(layers):
        block = f"transformer.resblocks.{number}"
        shapes += [(f"{block}.attn.in_proj_weight", (3 * width, width)), (f"{block}.attn.in_proj_bias", (3 * width,))]
        shapes += [*_layer(f"{block}.attn.out_proj", width, width), *_layer(f"{block}.ln_1", width)]
        shapes += [*_layer(f"{block}.mlp.c_fc", 2 * width, width), *_layer(f"{block}.mlp.c_proj", width, 2 * width)]
        shapes += [*_layer(f"{block}.ln_2", width)]
    return _drawn(shapes, prefix) | {prefix + "logit_scale": torch.tensor(1.0)}


def _drawn(shapes: Iterable[tuple[str, Shape]], prefix: str) -> Tensors:
    random = torch.Generator().manual_seed(0)
    return {prefix + name: _draw(name, shape, random) for name, shape in shapes}


def _whole(tensors: Tensors) -> Tensors:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}
