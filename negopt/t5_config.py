"""The shape of a T5, read from the config.json of the Hugging Face layout and checked.

Knows which T5s `network.py` can run and nothing of how it runs them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .errors import ModelError

# The names that `feed_forward_proj` may carry after an optional "gated-". Hugging Face reads the one
# name "gated-gelu" as the tanh approximation ("gelu_new") and every other "gelu" as the exact function.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
}


@dataclass(frozen=True)
class T5Config:
    """The shape of a T5, in the names of Hugging Face's config.json."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_decoder_layers: int
    num_heads: int
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6
    activation: str = "relu"
    gated: bool = False
    scale_decoder_outputs: bool = True
    needs_lm_head: bool = False  # no `lm_head.weight` in the file is an error, not a tie with `shared`
    pad_token_id: int = 0
    eos_token_id: int = 1
    decoder_start_token_id: int = 0

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> T5Config:
        """Reads a parsed config.json.

        Raises ModelError, naming the field, for anything that is not a T5 which this file runs. A field
        that the file leaves out takes the default that transformers' T5Config gives it.
        """
        kind = mapping.get("model_type")
        if kind != "t5":
            raise ModelError(f"config.json: model_type is {kind!r}, but only 't5' can be opened")
        layers = _whole(mapping, "num_layers", 6)
        pad = _whole(mapping, "pad_token_id", 0, least=0)
        buckets = _whole(mapping, "relative_attention_num_buckets", 32, least=4)
        distance = _whole(mapping, "relative_attention_max_distance", 128)
        if distance <= buckets // 2:  # the logarithm of the bucket formula would turn over
            raise ModelError(
                f"config.json: relative_attention_max_distance is {distance}; it must exceed half of "
                f"relative_attention_num_buckets ({buckets})"
            )
        gated, activation = _feed_forward(mapping)
        # transformers before 5 scaled a tied decoder's output and no other; later versions say it.
        tied = mapping.get("tie_word_embeddings", True) is not False
        config = cls(
            vocab_size=_whole(mapping, "vocab_size", 32128),
            d_model=_whole(mapping, "d_model", 512),
            d_kv=_whole(mapping, "d_kv", 64),
            d_ff=_whole(mapping, "d_ff", 2048),
            num_layers=layers,
            num_decoder_layers=_whole(mapping, "num_decoder_layers", layers),
            num_heads=_whole(mapping, "num_heads", 8),
            relative_attention_num_buckets=buckets,
            relative_attention_max_distance=distance,
            layer_norm_epsilon=_positive(mapping, "layer_norm_epsilon", 1e-6),
            activation=activation,
            gated=gated,
            scale_decoder_outputs=bool(mapping.get("scale_decoder_outputs", tied)),
            needs_lm_head=not tied,
            pad_token_id=pad,
            eos_token_id=_whole(mapping, "eos_token_id", 1, least=0),
            decoder_start_token_id=_whole(mapping, "decoder_start_token_id", pad, least=0),
        )
        for name in ("pad_token_id", "eos_token_id", "decoder_start_token_id"):
            if getattr(config, name) >= config.vocab_size:
                raise ModelError(f"config.json: {name} is not below vocab_size ({config.vocab_size})")
        return config

    @property
    def inner(self) -> int:
        """Width of all heads together; not always d_model."""
        return self.num_heads * self.d_kv


def _feed_forward(mapping: Mapping[str, Any]) -> tuple[bool, str]:
    """(gated, activation) of `feed_forward_proj`."""
    name = mapping.get("feed_forward_proj", "relu")
    if name == "gated-gelu":
        return True, "gelu_new"
    gated, activation = str(name).startswith("gated-"), str(name).removeprefix("gated-")
    if activation not in ACTIVATIONS:
        known = ", ".join([*ACTIVATIONS, *(f"gated-{a}" for a in ACTIVATIONS)])
        raise ModelError(f"config.json: feed_forward_proj is {name!r}, which is none of {known}")
    return gated, activation


def _whole(mapping: Mapping[str, Any], name: str, default: int, least: int = 1) -> int:
    value = mapping.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ModelError(f"config.json: {name} is {value!r}, but it must be a whole number from {least}")
    return value


def _positive(mapping: Mapping[str, Any], name: str, default: float) -> float:
    value = mapping.get(name)
    if value is None:
        return default
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ModelError(f"config.json: {name} is {value!r}, but it must be a positive number")
    return float(value)
