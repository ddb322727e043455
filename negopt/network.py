"""The T5 network, for inference only: token numbers in, logits out.

Runs any encoder-decoder in the T5 or T5-v1.1 layout (Raffel et al. 2020, arXiv:1910.10683; Shazeer
2020, arXiv:2002.05202) with the weights and the config of the Hugging Face layout, and gives the
logits of `transformers.T5ForConditionalGeneration`. It knows nothing of files, tokenizers, terms or
of how a token is chosen from its logits (decoding.py does).

One prompt on a laptop's processor is what it is laid out for. There a step costs less arithmetic
than bookkeeping, so the weights are rewritten once, at load time, into what a step wants: one matrix
for queries, keys and values, one for both halves of a gated feed-forward, one for the cross-attention
keys and values of all layers; each stored [in, out], which is the faster layout for a single row; and
every layer norm's scale multiplied into the matrix that follows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import ModelError

__all__ = ["T5", "Cache", "Encoded", "T5Config"]

# The names that `feed_forward_proj` may carry after an optional "gated-". Hugging Face reads the one
# name "gated-gelu" as the tanh approximation ("gelu_new") and every other "gelu" as the exact function.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
}

# Tensors that older exports repeat beside `shared.weight`, or left behind by early T5 code; none is read.
REPEATED = frozenset({"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"})
UNUSED = frozenset({"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"})

DTYPES = (torch.float32, torch.bfloat16, torch.float64)


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


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of a batch of prompts.

    hidden: [B, S, d_model], normalised but for the final norm's scale (which the decoder's weights hold).
    mask:   [B, S] bool, True at real tokens; None when nothing is padding.
    """

    hidden: Tensor
    mask: Tensor | None


@dataclass
class Cache:
    """Everything that the decoder remembers about the sequences of a batch.

    own:    [layers, 2, B, heads, max_steps, d_kv], keys and values of the tokens so far, written in place.
    cross:  [layers, 2, B, heads, S, d_kv], keys and values of the prompt.
    hidden: [B * heads, 1, S], added to the cross-attention scores; None when nothing is padding.
    bias:   [B * heads, 1, max_steps], the relative position bias by distance, the farthest first, so that
            the bias of step t is its last t + 1 columns.
    """

    own: Tensor
    cross: Tensor
    hidden: Tensor | None
    bias: Tensor
    length: int = 0
    layers: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lay_out()

    @property
    def max_steps(self) -> int:
        """How many tokens fit."""
        return self.own.shape[4]

    def keep(self, rows: Tensor) -> None:
        """Keeps the sequences `rows` ([n] int64 positions in the present batch, in this order)."""
        heads = self.own.shape[3]
        self.own = self.own.index_select(2, rows)
        self.cross = self.cross.index_select(2, rows)
        if self.hidden is not None:
            self.hidden = self.hidden.unflatten(0, (-1, heads)).index_select(0, rows).flatten(0, 1)
        self.bias = self.bias[: len(rows) * heads]
        self._lay_out()

    def _lay_out(self) -> None:
        """Cuts the views that every step needs: for each layer where a step's keys and values are
        written, the keys so far (transposed) and values so far, the prompt's keys (transposed) and values.
        """
        self.layers = [
            (
                own.transpose(0, 1),
                own[0].flatten(0, 1).transpose(1, 2),
                own[1].flatten(0, 1),
                cross[0].flatten(0, 1).transpose(1, 2),
                cross[1].flatten(0, 1),
            )
            for own, cross in zip(self.own, self.cross, strict=True)
        ]


@dataclass(frozen=True)
class _EncoderLayer:
    """Matrices of one encoder block, [in, out], the norms' scales multiplied in."""

    qkv: Tensor
    out: Tensor
    wi: Tensor
    wo: Tensor


@dataclass(frozen=True)
class _DecoderLayer:
    """Matrices of one decoder block, [in, out], the norms' scales multiplied in."""

    qkv: Tensor
    out: Tensor
    cross_q: Tensor
    cross_out: Tensor
    wi: Tensor
    wo: Tensor


class T5:
    """A T5 on one device. Holds no state that a call changes, so threads may share it.

    `tensors` are the weights under their Hugging Face names, of any floating type; they are copied, so
    the caller may change or free them. `dtype` is the type to compute in: float32, bfloat16 or float64
    (not float16, in which T5's feed-forward overflows).

    Raises ModelError, naming the tensor, when one is missing, surplus, misshapen or not finite.
    """

    def __init__(
        self,
        config: T5Config,
        tensors: Mapping[str, Tensor],
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if dtype not in DTYPES:
            raise ModelError(f"a T5 is computed in float32, bfloat16 or float64, not in {dtype}")
        self.config = config
        self.device = torch.device(device)
        self.dtype = dtype
        self._act = ACTIVATIONS[config.activation]
        _check_names(config, tensors)
        with torch.inference_mode():
            self._load(_Weights(config, tensors, self.device, dtype))

    def _load(self, weights: _Weights) -> None:
        config = self.config
        # x / |x| differs from T5's norm, x / sqrt(mean(x^2)), by sqrt(d_model): the folded scales carry it.
        self._epsilon = torch.tensor(
            math.sqrt(config.layer_norm_epsilon * config.d_model), device=self.device, dtype=self.dtype
        )
        self._embedding = weights.embedding()
        head = "lm_head.weight" if "lm_head.weight" in weights.tensors else "shared.weight"
        self._head = weights.matrix(
            [head],
            norm="decoder.final_layer_norm",
            rows=config.vocab_size,
            factor=config.d_model**-0.5 if config.scale_decoder_outputs else 1.0,
        )
        self._encoder = [
            _EncoderLayer(
                qkv=weights.attention(f"{block}.0.SelfAttention", "qkv", f"{block}.0"),
                out=weights.attention(f"{block}.0.SelfAttention", "o"),
                wi=weights.feed_forward_in(f"{block}.1"),
                wo=weights.feed_forward_out(f"{block}.1"),
            )
            for block in (f"encoder.block.{i}.layer" for i in range(config.num_layers))
        ]
        decoder = [f"decoder.block.{i}.layer" for i in range(config.num_decoder_layers)]
        self._decoder = [
            _DecoderLayer(
                qkv=weights.attention(f"{block}.0.SelfAttention", "qkv", f"{block}.0"),
                out=weights.attention(f"{block}.0.SelfAttention", "o"),
                cross_q=weights.attention(f"{block}.1.EncDecAttention", "q", f"{block}.1"),
                cross_out=weights.attention(f"{block}.1.EncDecAttention", "o"),
                wi=weights.feed_forward_in(f"{block}.2"),
                wo=weights.feed_forward_out(f"{block}.2"),
            )
            for block in decoder
        ]
        self._cross_kv = weights.matrix(
            [f"{block}.1.EncDecAttention.{part}.weight" for block in decoder for part in "kv"],
            norm="encoder.final_layer_norm",
            rows=config.inner,
        )
        self._encoder_bias = weights.bias_by_distance("encoder", bidirectional=True)
        self._decoder_bias = weights.bias_by_distance("decoder", bidirectional=False)

    @torch.inference_mode()
    def encode(self, input_ids: Tensor, mask: Tensor | None = None) -> Encoded:
        """Runs the encoder over input_ids [B, S] int64; mask [B, S] bool is True at real tokens (None: all
        are). Memory grows with S squared: cut long prompts before."""
        if mask is not None and bool(mask.all()):
            mask = None
        batch, length = input_ids.shape
        bias = self._encoder_bias_of(length)
        if mask is not None:
            bias = bias + self._hide(mask)[:, None, None, :]
        x = F.embedding(input_ids.reshape(-1), self._embedding)
        for layer in self._encoder:
            q, k, v = self._split(torch.mm(self._norm(x), layer.qkv), batch, length)
            x = torch.addmm(x, _attend(q, k, v, bias), layer.out)
            x = self._feed_forward(x, layer.wi, layer.wo)
        return Encoded(self._norm(x).view(batch, length, -1), mask)

    @torch.inference_mode()
    def logits(self, input_ids: Tensor, mask: Tensor | None, decoder_input_ids: Tensor) -> Tensor:
        """Logits [B, T, V] for the token after each of decoder_input_ids [B, T] (which begin with
        `config.decoder_start_token_id`), all at once: for scoring given answers."""
        encoded = self.encode(input_ids, mask)
        batch, length = decoder_input_ids.shape
        cross = self._cross(encoded)
        cross_bias = None if encoded.mask is None else self._hide(encoded.mask)[:, None, None, :]
        own_bias = self._decoder_bias_of(length)
        x = F.embedding(decoder_input_ids.reshape(-1), self._embedding)
        for layer, (cross_k, cross_v) in zip(self._decoder, cross, strict=True):
            q, k, v = self._split(torch.mm(self._norm(x), layer.qkv), batch, length)
            x = torch.addmm(x, _attend(q, k, v, own_bias), layer.out)
            (q,) = self._split(torch.mm(self._norm(x), layer.cross_q), batch, length)
            x = torch.addmm(x, _attend(q, cross_k, cross_v, cross_bias), layer.cross_out)
            x = self._feed_forward(x, layer.wi, layer.wo)
        return torch.mm(self._norm(x), self._head).view(batch, length, -1)

    @torch.inference_mode()
    def start(self, encoded: Encoded, max_steps: int, copies: int = 1) -> Cache:
        """An empty cache for at most `max_steps` tokens; each prompt of `encoded` becomes `copies`
        neighbouring rows of the batch."""
        config = self.config
        heads = config.num_heads
        cross = self._cross(encoded)
        hidden = None if encoded.mask is None else self._hide(encoded.mask)
        if copies > 1:
            cross = cross.repeat_interleave(copies, dim=2)
            hidden = None if hidden is None else hidden.repeat_interleave(copies, dim=0)
        rows = cross.shape[2]
        own = cross.new_empty((len(self._decoder), 2, rows, heads, max_steps, config.d_kv))
        # Distances max_steps - 1 down to 0; all beyond the table share the bias of its last column.
        distance = torch.arange(max_steps - 1, -1, -1, device=self.device)
        bias = self._decoder_bias[:, distance.clamp_(max=self._decoder_bias.shape[1] - 1)]
        return Cache(
            own=own,
            cross=cross,
            hidden=None if hidden is None else hidden.repeat_interleave(heads, dim=0).unsqueeze(1),
            bias=bias.unsqueeze(1).repeat(rows, 1, 1),
        )

    @torch.inference_mode()
    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Feeds tokens [B] int64, one per sequence of `cache`; returns the logits [B, V] of the next
        ones. The first tokens are `config.decoder_start_token_id`. IndexError when the cache is full."""
        config = self.config
        heads, width, inner = config.num_heads, config.d_kv, config.inner
        seen = cache.length
        if seen >= cache.max_steps:
            raise IndexError(f"the cache holds {cache.max_steps} steps and all are taken")
        batch = len(tokens)
        now = seen + 1
        bias = cache.bias.narrow(2, cache.max_steps - now, now)
        x = F.embedding(tokens, self._embedding)
        for layer, (own, keys, values, cross_keys, cross_values) in zip(
            self._decoder, cache.layers, strict=True
        ):
            qkv = torch.mm(self._norm(x), layer.qkv).view(batch, 3, heads, width)
            own.select(3, seen).copy_(qkv.narrow(1, 1, 2))
            q = qkv.select(1, 0).reshape(-1, 1, width)
            scores = torch.baddbmm(bias, q, keys.narrow(2, 0, now))
            mixed = torch.bmm(scores.softmax(-1), values.narrow(1, 0, now))
            x = torch.addmm(x, mixed.view(batch, inner), layer.out)

            q = torch.mm(self._norm(x), layer.cross_q).view(-1, 1, width)
            if cache.hidden is None:
                scores = torch.bmm(q, cross_keys)
            else:
                scores = torch.baddbmm(cache.hidden, q, cross_keys)
            mixed = torch.bmm(scores.softmax(-1), cross_values)
            x = torch.addmm(x, mixed.view(batch, inner), layer.cross_out)

            x = self._feed_forward(x, layer.wi, layer.wo)
        cache.length = now
        return torch.mm(self._norm(x), self._head)

    def _norm(self, x: Tensor) -> Tensor:
        """x [N, d] / sqrt(|x|^2 + d * eps), the norm without its scale, in three operations."""
        return x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), self._epsilon)

    def _feed_forward(self, x: Tensor, wi: Tensor, wo: Tensor) -> Tensor:
        h = torch.mm(self._norm(x), wi)
        if self.config.gated:
            width = self.config.d_ff
            h = self._act(h.narrow(1, 0, width)).mul_(h.narrow(1, width, width))
        else:
            h = self._act(h)
        return torch.addmm(x, h, wo)

    def _split(self, projected: Tensor, batch: int, length: int) -> tuple[Tensor, ...]:
        """[B * T, parts * inner] -> one [B, heads, T, d_kv] for each part."""
        config = self.config
        parts = projected.view(batch, length, -1, config.num_heads, config.d_kv)
        return parts.permute(2, 0, 3, 1, 4).unbind(0)

    def _cross(self, encoded: Encoded) -> Tensor:
        """Keys and values of the prompts for all decoder layers: [layers, 2, B, heads, S, d_kv]."""
        config = self.config
        batch, length, width = encoded.hidden.shape
        both = torch.mm(encoded.hidden.view(-1, width), self._cross_kv)
        both = both.view(batch, length, config.num_decoder_layers, 2, config.num_heads, config.d_kv)
        return both.permute(2, 3, 0, 4, 1, 5).contiguous()

    def _hide(self, mask: Tensor) -> Tensor:
        """[B, S]: 0 at real tokens and the least finite number at padding. Finite, so that a row without
        a single real token gives numbers (as transformers does) and not NaN."""
        zeros = torch.zeros(mask.shape, device=self.device, dtype=self.dtype)
        return zeros.masked_fill_(~mask.to(self.device), torch.finfo(self.dtype).min)

    def _encoder_bias_of(self, length: int) -> Tensor:
        """[1, heads, S, S] from the table [heads, 2 * reach + 1] by key position - query position."""
        reach = self._encoder_bias.shape[1] // 2
        position = torch.arange(length, device=self.device)
        distance = (position[None, :] - position[:, None]).clamp_(-reach, reach).add_(reach)
        return self._encoder_bias[:, distance].unsqueeze(0)

    def _decoder_bias_of(self, length: int) -> Tensor:
        """[1, heads, T, T] from the table [heads, reach + 1] by query position - key position; later keys
        are hidden."""
        position = torch.arange(length, device=self.device)
        distance = position[:, None] - position[None, :]
        bias = self._decoder_bias[:, distance.clamp(0, self._decoder_bias.shape[1] - 1)]
        return bias.masked_fill_(distance < 0, -math.inf).unsqueeze(0)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Attention without T5's missing 1/sqrt(d): [B, heads, T, d_kv] -> [B * T, inner]."""
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1)


class _Weights:
    """Reads tensors by name, checks their shapes, and lays them out as the network wants them."""

    def __init__(
        self, config: T5Config, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
    ) -> None:
        self.config = config
        self.tensors = tensors
        self.device = device
        self.dtype = dtype

    def get(self, name: str, *shape: int) -> Tensor:
        """The tensor `name`, in its own type and place, once its shape is what the config says."""
        tensor = self.tensors[name]
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"tensor {name!r} has the shape {list(tensor.shape)}, but config.json asks for {list(shape)}"
            )
        if not tensor.is_floating_point():
            raise ModelError(f"tensor {name!r} holds {tensor.dtype}, not floating-point numbers")
        return tensor.detach()

    def moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype)

    def embedding(self) -> Tensor:
        tensor = self.get("shared.weight", self.config.vocab_size, self.config.d_model)
        return self.finite(["shared.weight"], tensor.to(self.device, self.dtype, copy=True).contiguous())

    def matrix(
        self, names: list[str], rows: int, norm: str | None = None, columns: int = 0, factor: float = 1.0
    ) -> Tensor:
        """[in, all outs] from the tensors `names` ([rows, in] each), times `factor` and, for the output of
        the layer norm `norm`, that norm's scale and sqrt(d_model)."""
        columns = columns or self.config.d_model
        joined = torch.empty((columns, rows * len(names)), device=self.device, dtype=self.dtype)
        for i, name in enumerate(names):
            joined[:, i * rows : (i + 1) * rows] = self.get(name, rows, columns).t()
        if norm is not None:
            name = f"{norm}.weight"
            scale = self.finite([name], self.moved(self.get(name, columns)))
            joined.mul_((scale * (factor * math.sqrt(columns))).unsqueeze(1))
        return self.finite(names, joined)

    def attention(self, name: str, parts: str, norm: str | None = None) -> Tensor:
        """[d_model, len(parts) * inner] for some of "qkv", or [inner, d_model] for "o"."""
        config = self.config
        if parts == "o":
            return self.matrix([f"{name}.o.weight"], config.d_model, columns=config.inner)
        names = [f"{name}.{part}.weight" for part in parts]
        return self.matrix(names, config.inner, norm=f"{norm}.layer_norm")

    def feed_forward_in(self, name: str) -> Tensor:
        parts = ["wi_0", "wi_1"] if self.config.gated else ["wi"]
        names = [f"{name}.DenseReluDense.{part}.weight" for part in parts]
        return self.matrix(names, self.config.d_ff, norm=f"{name}.layer_norm")

    def feed_forward_out(self, name: str) -> Tensor:
        config = self.config
        return self.matrix([f"{name}.DenseReluDense.wo.weight"], config.d_model, columns=config.d_ff)

    def bias_by_distance(self, side: str, bidirectional: bool) -> Tensor:
        """Relative position bias as a table: [heads, 2 * reach + 1] for distances -reach..reach, or
        [heads, reach + 1] for how far back, 0..reach; distances beyond reach share the last bucket."""
        config = self.config
        reach = config.relative_attention_max_distance
        name = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        table = self.get(name, config.relative_attention_num_buckets, config.num_heads)
        distance = torch.arange(-reach, reach + 1) if bidirectional else -torch.arange(reach + 1)
        buckets = _bucket(distance, bidirectional, config.relative_attention_num_buckets, reach)
        return self.finite([name], self.moved(table)[buckets.to(self.device)].t().contiguous())

    def finite(self, names: list[str], tensor: Tensor) -> Tensor:
        # A sum is finite only when every addend is, and it is one pass without a temporary.
        if not math.isfinite(float(tensor.sum())) and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"tensor {' or '.join(map(repr, names))} holds numbers that are not finite")
        return tensor


def _bucket(distance: Tensor, bidirectional: bool, buckets: int, max_distance: int) -> Tensor:
    """The bucket of each distance (key position - query position), as in Mesh TensorFlow's T5: half of
    the buckets are exact, the rest grow logarithmically up to max_distance. In float32, as transformers
    does, since a rounding decides the bucket at the edges."""
    first = torch.zeros_like(distance)
    if bidirectional:
        buckets //= 2
        first = (distance > 0).long() * buckets
        distance = distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    exact = buckets // 2
    far = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    far = (exact + (far * (buckets - exact)).long()).clamp(max=buckets - 1)
    return first + torch.where(distance < exact, distance, far)


def _expected_names(config: T5Config) -> set[str]:
    """Every tensor that a T5 of this config is made of, without those that may be left out."""
    wi = ("wi_0", "wi_1") if config.gated else ("wi",)
    names = {"shared.weight"}
    for side, blocks in (("encoder", config.num_layers), ("decoder", config.num_decoder_layers)):
        names.add(f"{side}.final_layer_norm.weight")
        names.add(f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
        for i in range(blocks):
            parts = ["SelfAttention"] if side == "encoder" else ["SelfAttention", "EncDecAttention"]
            for j, part in enumerate(parts):
                block = f"{side}.block.{i}.layer.{j}"
                names |= {f"{block}.{part}.{letter}.weight" for letter in "qkvo"}
                names.add(f"{block}.layer_norm.weight")
            block = f"{side}.block.{i}.layer.{len(parts)}"
            names |= {f"{block}.DenseReluDense.{matrix}.weight" for matrix in (*wi, "wo")}
            names.add(f"{block}.layer_norm.weight")
    return names


def _check_names(config: T5Config, tensors: Mapping[str, Tensor]) -> None:
    expected = _expected_names(config)
    if config.needs_lm_head:
        expected.add("lm_head.weight")
    missing = sorted(expected - tensors.keys())
    if missing:
        raise ModelError(f"tensor {missing[0]!r} is missing{_others(missing)}")
    surplus = sorted(tensors.keys() - expected - REPEATED - UNUSED - {"lm_head.weight"})
    if surplus:
        raise ModelError(f"tensor {surplus[0]!r} has no place in a T5 of this config{_others(surplus)}")


def _others(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


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
