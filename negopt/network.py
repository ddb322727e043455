"""The T5 network, for inference only: token numbers in, logits out.

Runs any encoder-decoder in the T5 or T5-v1.1 layout (Raffel et al. 2020, arXiv:1910.10683; Shazeer
2020, arXiv:2002.05202) with the weights and the config of the Hugging Face layout, and gives the
logits of `transformers.T5ForConditionalGeneration`. It knows nothing of files, tokenizers, terms or
of how a token is chosen from its logits (decoding.py does).

It is laid out for one prompt on a laptop's processor, where a step is a few dozen operations of a
microsecond each around one reading of the weights: `t5_weights.py` makes them few and short to read,
and nothing here is computed in a step that could be computed before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import ModelError
from .t5_config import ACTIVATIONS, T5Config
from .t5_weights import Add, Project, Weights

__all__ = ["T5", "Cache", "Encoded", "T5Config"]

DTYPES = (torch.float32, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of a batch of prompts.

    hidden: [B, S, d_model], normalised but for the final norm's scale (which the decoder's weights hold).
    mask:   [B, S] bool, True at real tokens; None when nothing is padding.
    """

    hidden: Tensor
    mask: Tensor | None


@dataclass(frozen=True)
class _Slots:
    """One decoder layer's views of the cache.

    now:     [max_steps, 3, B, inner], where a step writes its queries, keys and values.
    queries: [max_steps, B * heads, 1, d_kv], the same memory, as attention reads it.
    keys, values:             [B * heads, d_kv, max_steps] and [B * heads, max_steps, d_kv].
    cross_keys, cross_values: [B * heads, d_kv, S] and [B * heads, S, d_kv], the prompt's.
    """

    now: Tensor
    queries: Tensor
    keys: Tensor
    values: Tensor
    cross_keys: Tensor
    cross_values: Tensor


@dataclass
class Cache:
    """Everything that the decoder remembers about the sequences of a batch.

    own:    [layers, max_steps, 3, B, heads, d_kv], queries, keys and values of the tokens so far.
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
    layers: list[_Slots] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lay_out()

    @property
    def max_steps(self) -> int:
        """How many tokens fit."""
        return self.own.shape[1]

    @torch.inference_mode()
    def keep(self, rows: Tensor) -> None:
        """Keeps the sequences `rows` ([n] int64 positions in the present batch, in this order)."""
        heads, written = self.own.shape[4], slice(None, self.length)
        kept = self.own.new_empty((*self.own.shape[:3], len(rows), *self.own.shape[4:]))
        kept[:, written] = self.own[:, written].index_select(3, rows)
        self.own = kept
        self.cross = self.cross.index_select(2, rows)
        if self.hidden is not None:
            self.hidden = self.hidden.unflatten(0, (-1, heads)).index_select(0, rows).flatten(0, 1)
        self.bias = self.bias[: len(rows) * heads]
        self._lay_out()

    def _lay_out(self) -> None:
        self.layers = []
        for own, cross in zip(self.own, self.cross, strict=True):
            queries, keys, values = own.flatten(2, 3).unbind(1)
            self.layers.append(
                _Slots(
                    now=own.flatten(3),
                    queries=queries.unsqueeze(2),
                    keys=keys.permute(1, 2, 0),
                    values=values.transpose(0, 1),
                    cross_keys=cross[0].flatten(0, 1).transpose(1, 2),
                    cross_values=cross[1].flatten(0, 1),
                )
            )


@dataclass(frozen=True)
class _EncoderLayer:
    qkv: Project
    out: Add
    wi: Project
    wo: Add


@dataclass(frozen=True)
class _DecoderLayer:
    qkv: Project
    out: Add
    cross_q: Project
    cross_out: Add
    wi: Project
    wo: Add


class T5:
    """A T5 on one device. Holds no state that a call changes, so threads may share it.

    `tensors` are the weights under their Hugging Face names, of any floating type; they are copied, so
    the caller may change or free them. `dtype` is the type to compute in: float32, bfloat16 or float64
    (not float16, in which T5's feed-forward overflows). `writable` are the only tokens whose logits a
    step computes, where not all can be written: the vocabulary is the largest matrix that it reads.

    Raises ModelError, naming the tensor, when one is missing, surplus, misshapen or not finite.
    """

    def __init__(
        self,
        config: T5Config,
        tensors: Mapping[str, Tensor],
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        writable: Sequence[int] | None = None,
    ) -> None:
        if dtype not in DTYPES:
            raise ModelError(f"a T5 is computed in float32, bfloat16 or float64, not in {dtype}")
        self.config = config
        self.device = torch.device(device)
        self.dtype = dtype
        self._act = ACTIVATIONS[config.activation]
        with torch.inference_mode():
            self.writable = None if writable is None else torch.tensor(writable, device=self.device)
            self._load(Weights(config, tensors, self.device, dtype), writable)

    def _load(self, weights: Weights, writable: Sequence[int] | None) -> None:
        config = self.config
        self._epsilon = torch.tensor(
            math.sqrt(config.layer_norm_epsilon * config.d_model), device=self.device, dtype=self.dtype
        )
        self._embedding = weights.embedding()
        self._head = weights.head(writable)
        self._whole_head = weights.whole_head(self._embedding)
        self._encoder = [
            _EncoderLayer(
                qkv=weights.attention_in(f"{block}.0.SelfAttention", "qkv", f"{block}.0.layer_norm"),
                out=weights.attention_out(f"{block}.0.SelfAttention"),
                wi=weights.feed_forward_in(f"{block}.1"),
                wo=weights.feed_forward_out(f"{block}.1"),
            )
            for block in (f"encoder.block.{i}.layer" for i in range(config.num_layers))
        ]
        self._cross_keys_values = weights.cross_keys_values()
        self._decoder = [
            _DecoderLayer(
                qkv=weights.attention_in(f"{block}.0.SelfAttention", "qkv", f"{block}.0.layer_norm"),
                out=weights.attention_out(f"{block}.0.SelfAttention"),
                cross_q=weights.attention_in(f"{block}.1.EncDecAttention", "q", f"{block}.1.layer_norm"),
                cross_out=weights.attention_out(f"{block}.1.EncDecAttention"),
                wi=weights.feed_forward_in(f"{block}.2"),
                wo=weights.feed_forward_out(f"{block}.2"),
            )
            for block in (f"decoder.block.{i}.layer" for i in range(config.num_decoder_layers))
        ]
        self._encoder_bias = weights.bias_by_distance("encoder", bidirectional=True)
        self._decoder_bias = weights.bias_by_distance("decoder", bidirectional=False)

    @torch.inference_mode()
    def encode(self, input_ids: Tensor, mask: Tensor | None = None, shift: Tensor | None = None) -> Encoded:
        """Runs the encoder over input_ids [B, S] int64; mask [B, S] bool is True at real tokens (None: all
        are). `shift` [B, d_model], if given, is added to the embedding of every token of its row. Memory grows
        with S squared: cut long prompts before."""
        if mask is not None and bool(mask.all()):
            mask = None
        batch, length = input_ids.shape
        x = F.embedding(input_ids.reshape(-1), self._embedding)
        if shift is not None:
            x = x + shift.repeat_interleave(length, dim=0)
        bias = self._encoder_bias_of(length)
        if mask is not None:
            bias = bias + self._hide(mask)[:, None, None, :]
        for layer in self._encoder:
            q, k, v = self._split(layer.qkv(self._norm(x)), batch, length)
            x = layer.out(x, _attend(q, k, v, bias))
            x = self._feed_forward(x, layer.wi, layer.wo)
        return Encoded(self._norm(x).view(batch, length, -1), mask)

    @torch.inference_mode()
    def logits(
        self, input_ids: Tensor, mask: Tensor | None, decoder_input_ids: Tensor, shift: Tensor | None = None
    ) -> Tensor:
        """Logits [B, T, V] for the token after each of decoder_input_ids [B, T] (which begin with
        `config.decoder_start_token_id`), all at once: for scoring given answers. The rest as in `encode`."""
        encoded = self.encode(input_ids, mask, shift)
        batch, length = decoder_input_ids.shape
        cross = self._cross(encoded)
        cross_bias = None if encoded.mask is None else self._hide(encoded.mask)[:, None, None, :]
        own_bias = self._decoder_bias_of(length)
        x = F.embedding(decoder_input_ids.reshape(-1), self._embedding)
        for layer, (cross_k, cross_v) in zip(self._decoder, cross, strict=True):
            q, k, v = self._split(layer.qkv(self._norm(x)), batch, length)
            x = layer.out(x, _attend(q, k, v, own_bias))
            (q,) = self._split(layer.cross_q(self._norm(x)), batch, length)
            x = layer.cross_out(x, _attend(q, cross_k, cross_v, cross_bias))
            x = self._feed_forward(x, layer.wi, layer.wo)
        return self._whole_head(self._norm(x)).view(batch, length, -1)

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
        # Distances max_steps - 1 down to 0; all beyond the table share the bias of its last column.
        distance = torch.arange(max_steps - 1, -1, -1, device=self.device)
        bias = self._decoder_bias[:, distance.clamp_(max=self._decoder_bias.shape[1] - 1)]
        return Cache(
            own=cross.new_empty((len(self._decoder), max_steps, 3, rows, heads, config.d_kv)),
            cross=cross,
            hidden=None if hidden is None else hidden.repeat_interleave(heads, dim=0).unsqueeze(1),
            bias=bias.unsqueeze(1).repeat(rows, 1, 1),
        )

    @torch.inference_mode()
    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Feeds tokens [B] int64, one per sequence of `cache`; returns the logits [B, V] of the next ones, or
        [B, len(writable)] if not all are. The first tokens are `config.decoder_start_token_id`. IndexError
        when the cache is full."""
        return self._head(self._norm(self._fed(tokens, cache)))

    @torch.inference_mode()
    def feed(self, tokens: Tensor, cache: Cache) -> None:
        """As `step`, for tokens whose successors are known."""
        self._fed(tokens, cache)

    def _fed(self, tokens: Tensor, cache: Cache) -> Tensor:
        seen, now = cache.length, cache.length + 1
        if now > cache.max_steps:
            raise IndexError(f"the cache holds {cache.max_steps} steps and all are taken")
        batch, inner, width = len(tokens), self.config.inner, self.config.d_kv
        bias = cache.bias.narrow(2, cache.max_steps - now, now)
        x = torch.embedding(self._embedding, tokens)
        for layer, slots in zip(self._decoder, cache.layers, strict=True):
            slots.now[seen].copy_(layer.qkv(self._norm(x)).view(batch, 3, inner).transpose(0, 1))
            scores = torch.baddbmm(bias, slots.queries[seen], slots.keys.narrow(2, 0, now)).softmax(-1)
            x = layer.out(x, torch.bmm(scores, slots.values.narrow(1, 0, now)).view(batch, inner))

            q = layer.cross_q(self._norm(x)).view(-1, 1, width)
            if cache.hidden is None:
                scores = torch.bmm(q, slots.cross_keys).softmax(-1)
            else:
                scores = torch.baddbmm(cache.hidden, q, slots.cross_keys).softmax(-1)
            x = layer.cross_out(x, torch.bmm(scores, slots.cross_values).view(batch, inner))

            x = self._feed_forward(x, layer.wi, layer.wo)
        cache.length = now
        return x

    def _norm(self, x: Tensor) -> Tensor:
        """x [N, d] / sqrt(|x|^2 + d * eps): T5's norm, x / sqrt(mean(x^2) + eps), without its scale and
        without sqrt(d), which the weights that follow hold; so it takes three operations."""
        return x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), self._epsilon)

    def _feed_forward(self, x: Tensor, wi: Project, wo: Add) -> Tensor:
        hidden = wi(self._norm(x))
        if self.config.gated:
            gate, hidden = hidden.chunk(2, 1)
            return wo(x, self._act(gate).mul_(hidden))
        return wo(x, self._act(hidden))

    def _split(self, projected: Tensor, batch: int, length: int) -> tuple[Tensor, ...]:
        """[B * T, parts * inner] -> one [B, heads, T, d_kv] for each part."""
        config = self.config
        parts = projected.view(batch, length, -1, config.num_heads, config.d_kv)
        return parts.permute(2, 0, 3, 1, 4).unbind(0)

    def _cross(self, encoded: Encoded) -> Tensor:
        """Keys and values of the prompts for all decoder layers: [layers, 2, B, heads, S, d_kv]."""
        config = self.config
        batch, length, width = encoded.hidden.shape
        both = self._cross_keys_values(encoded.hidden.view(-1, width))
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
    """Attention without the usual 1 / sqrt(d_kv), which T5 does not have: q, k, v [B, heads, T, d_kv] and
    a bias that broadcasts to [B, heads, T, S] -> [B * T, inner]."""
    scores = torch.matmul(q, k.transpose(2, 3))
    if bias is not None:
        scores += bias
    mixed = torch.matmul(scores.softmax(-1), v)
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1)
