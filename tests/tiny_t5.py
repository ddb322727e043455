"""Small T5s with random weights, made without transformers, for the tests of the network and of decoding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from negopt.network import T5, T5Config


def config_json(**changes: Any) -> dict[str, Any]:
    """A config.json of a T5 with two layers and 300 tokens."""
    return {
        "model_type": "t5",
        "vocab_size": 300,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "feed_forward_proj": "relu",
        "decoder_start_token_id": 0,
        **changes,
    }


def random_weights(settings: dict[str, Any], seed: int = 0, spread: float = 1.0) -> dict[str, Tensor]:
    """Every tensor such a T5 needs, under its Hugging Face name, times `spread`."""
    config = T5Config.from_json(settings)
    generator = torch.Generator().manual_seed(seed)
    width, inner, hidden = config.d_model, config.inner, config.d_ff
    shapes: dict[str, tuple[int, ...]] = {"shared.weight": (config.vocab_size, width)}
    if config.needs_lm_head:
        shapes["lm_head.weight"] = (config.vocab_size, width)
    for side, blocks in (("encoder", config.num_layers), ("decoder", config.num_decoder_layers)):
        attentions = ["SelfAttention"] if side == "encoder" else ["SelfAttention", "EncDecAttention"]
        bias = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        shapes[bias] = (config.relative_attention_num_buckets, config.num_heads)
        shapes[f"{side}.final_layer_norm.weight"] = (width,)
        for block in range(blocks):
            for i, attention in enumerate(attentions):
                layer = f"{side}.block.{block}.layer.{i}"
                shapes |= {f"{layer}.{attention}.{part}.weight": (inner, width) for part in "qkv"}
                shapes[f"{layer}.{attention}.o.weight"] = (width, inner)
                shapes[f"{layer}.layer_norm.weight"] = (width,)
            layer = f"{side}.block.{block}.layer.{len(attentions)}"
            for wi in ("wi_0", "wi_1") if config.gated else ("wi",):
                shapes[f"{layer}.DenseReluDense.{wi}.weight"] = (hidden, width)
            shapes[f"{layer}.DenseReluDense.wo.weight"] = (width, hidden)
            shapes[f"{layer}.layer_norm.weight"] = (width,)
    return {name: _random(name, shape, config, generator) * spread for name, shape in shapes.items()}


def _random(name: str, shape: tuple[int, ...], config: T5Config, generator: torch.Generator) -> Tensor:
    """As T5 begins its training, but for the norms, which are all ones there."""
    if len(shape) == 1:
        return torch.rand(shape, generator=generator) + 0.5
    scale = shape[1] ** -0.5
    if name.endswith(".q.weight"):
        scale *= config.d_kv**-0.5
    if name == "shared.weight" or "bias" in name:
        scale = 1.0
    return torch.randn(shape, generator=generator) * scale


def random_t5(seed: int = 0, spread: float = 1.0, **changes: Any) -> T5:
    """A T5 with random weights."""
    settings = config_json(**changes)
    return T5(T5Config.from_json(settings), random_weights(settings, seed, spread))


def random_prompts(rows: int, length: int, vocab_size: int = 300, seed: int = 1) -> Tensor:
    """Token ids [rows, length] without the special ones."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, vocab_size, (rows, length), generator=generator)
