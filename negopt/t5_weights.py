"""The weights of a T5 under their Hugging Face names: checked, and laid out for `network.py` to run.

One prompt is bound by how fast weights can be read: every step reads the whole decoder once. So the
matrices are rewritten at load time into what a step wants: one for queries, keys and values, one for
both halves of a gated feed-forward, and each in one of two layouts, whichever reads less.

* A plain matrix, [in, out] (for one row twice as fast as torch's usual [out, in]), with the scale of
  the layer norm before it multiplied in.
* A large matrix of a model that was stored in float16 stays in float16: FBGEMM multiplies it with
  float32 rows and sums up in float32, so the numbers are those of float32 and the bytes half as many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from .errors import ModelError
from .t5_config import T5Config

__all__ = ["Add", "Project", "Weights", "check_names"]

Project = Callable[[Tensor], Tensor]
"""rows [N, in] -> [N, out]; of normalised rows where the matrix follows a layer norm."""
Add = Callable[[Tensor, Tensor], Tensor]
"""(x [N, out], rows [N, in]) -> x plus the projected rows."""

# Tensors that older exports repeat beside `shared.weight`, or left behind by early T5 code; none is read.
REPEATED = frozenset({"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"})
UNUSED = frozenset({"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"})

PACK_FROM = {"encoder": 50_000, "decoder": 1_000_000}
"""Elements from which a matrix is worth FBGEMM's call, which costs 10 us more than a plain product: soon
where it meets all tokens of a prompt at once, late where it meets one."""


class Weights:
    """Reads tensors by name and lays them out; raises ModelError, naming the tensor, for bad ones."""

    def __init__(
        self, config: T5Config, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
    ) -> None:
        check_names(config, tensors)
        self.config = config
        self.device = device
        self.dtype = dtype
        self._tensors = tensors
        self._can_pack = device.type == "cpu" and dtype == torch.float32 and _has_fbgemm()

    def embedding(self) -> Tensor:
        """[vocab_size, d_model], a copy."""
        tensor = self._get("shared.weight", self.config.vocab_size, self.config.d_model)
        return _finite(["shared.weight"], tensor.to(self.device, self.dtype, copy=True).contiguous())

    def head(self, rows: Sequence[int] | None) -> Project:
        """From the decoder's output, normalised, to the logits of the tokens `rows` (None: of all)."""
        name = self._head_name
        matrix = self._get(name, self.config.vocab_size, self.config.d_model)
        return self._product([name], [matrix if rows is None else matrix[list(rows)]], self._head_norm())

    def whole_head(self, embedding: Tensor) -> Project:
        """The same for all tokens, without memory of its own where the head is the embedding."""
        name, norm, matrix = self._head_name, self._head_norm(), embedding
        if name != "shared.weight":
            matrix = _finite([name], self._get(name, *embedding.shape).to(self.device, self.dtype, copy=True))
        return lambda x: torch.mm(x * norm, matrix.t())

    def attention_in(self, name: str, parts: str, norm: str) -> Project:
        """To some of "qkv" of one attention, side by side: [N, len(parts) * inner]."""
        names = [f"{name}.{part}.weight" for part in parts]
        return self._project(names, self.config.inner, self._norm_scale(norm))

    def cross_keys_values(self) -> Project:
        """From the encoder's output, normalised, to keys and values of all decoder layers, side by side."""
        blocks = range(self.config.num_decoder_layers)
        names = [f"decoder.block.{i}.layer.1.EncDecAttention.{part}.weight" for i in blocks for part in "kv"]
        return self._project(names, self.config.inner, self._norm_scale("encoder.final_layer_norm"), "encoder")

    def attention_out(self, name: str) -> Add:
        """From the mixed values of one attention back to d_model."""
        return self._add(f"{name}.o.weight", self.config.inner)

    def feed_forward_in(self, layer: str) -> Project:
        """To the hidden units; to those of the gate and then those it opens, side by side, if gated."""
        parts = ["wi_0", "wi_1"] if self.config.gated else ["wi"]
        names = [f"{layer}.DenseReluDense.{part}.weight" for part in parts]
        return self._project(names, self.config.d_ff, self._norm_scale(f"{layer}.layer_norm"))

    def feed_forward_out(self, layer: str) -> Add:
        """From the hidden units back to d_model."""
        return self._add(f"{layer}.DenseReluDense.wo.weight", self.config.d_ff)

    def bias_by_distance(self, side: str, bidirectional: bool) -> Tensor:
        """Relative position bias as a table: [heads, 2 * reach + 1] for distances -reach..reach, or
        [heads, reach + 1] for how far back, 0..reach; distances beyond reach share the last bucket."""
        config = self.config
        reach = config.relative_attention_max_distance
        name = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        table = self._get(name, config.relative_attention_num_buckets, config.num_heads)
        distance = torch.arange(-reach, reach + 1) if bidirectional else -torch.arange(reach + 1)
        buckets = _bucket(distance, bidirectional, config.relative_attention_num_buckets, reach)
        table = _finite([name], table.to(self.device, self.dtype))
        return table[buckets.to(self.device)].t().contiguous()

    def _get(self, name: str, *shape: int) -> Tensor:
        """The tensor `name` as it is, once its shape is what the config says."""
        tensor = self._tensors[name]
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"tensor {name!r} has the shape {list(tensor.shape)}, but config.json asks for {list(shape)}"
            )
        if not tensor.is_floating_point():
            raise ModelError(f"tensor {name!r} holds {tensor.dtype}, not floating-point numbers")
        return tensor.detach()

    @property
    def _head_name(self) -> str:
        return "lm_head.weight" if "lm_head.weight" in self._tensors else "shared.weight"

    def _head_norm(self) -> Tensor:
        factor = self.config.d_model**-0.5 if self.config.scale_decoder_outputs else 1.0
        return self._norm_scale("decoder.final_layer_norm", factor)

    def _norm_scale(self, name: str, factor: float = 1.0) -> Tensor:
        """[d_model], the scale of a layer norm times `factor`, for rows that have the length 1 and not,
        as the norm makes them, sqrt(d_model)."""
        width = self.config.d_model
        name = f"{name}.weight"
        scale = _finite([name], self._get(name, width).to(self.device, self.dtype))
        return scale * (factor * math.sqrt(width))

    def _project(self, names: Sequence[str], rows: int, norm: Tensor, side: str = "") -> Project:
        """The matrices `names` ([rows, d_model] each) side by side."""
        return self._product(names, [self._get(name, rows, self.config.d_model) for name in names], norm, side)

    def _product(self, names: Sequence[str], matrices: Sequence[Tensor], norm: Tensor, side: str = "") -> Project:
        """The product with `matrices` ([rows, d_model] each, of these names) of rows that `norm` scales first."""
        packed = self._packed(names, matrices, side)
        if packed is not None:
            multiply = torch.ops.quantized.linear_dynamic_fp16.default
            return lambda x: multiply(x * norm, packed)
        matrix = self._matrix(names, matrices).mul_(norm.unsqueeze(1))
        return lambda x: torch.mm(x, matrix)

    def _add(self, name: str, columns: int) -> Add:
        """The matrix `name` ([d_model, columns]), its product to be added to the residual stream."""
        matrices = [self._get(name, self.config.d_model, columns)]
        packed = self._packed([name], matrices)
        if packed is not None:
            multiply = torch.ops.quantized.linear_dynamic_fp16.default
            return lambda x, rows: multiply(rows, packed).add_(x)
        matrix = self._matrix([name], matrices)
        return lambda x, rows: torch.addmm(x, rows, matrix)

    def _matrix(self, names: Sequence[str], matrices: Sequence[Tensor]) -> Tensor:
        """[in, all outs]."""
        rows, columns = matrices[0].shape
        joined = torch.empty((columns, rows * len(matrices)), device=self.device, dtype=self.dtype)
        for i, matrix in enumerate(matrices):
            joined[:, i * rows : (i + 1) * rows] = matrix.t()
        return _finite(names, joined)

    def _packed(self, names: Sequence[str], matrices: Sequence[Tensor], side: str = "") -> object | None:
        """The matrices for FBGEMM; None where it cannot be had, would not be exact, or would not pay on
        this `side`: that of its name if not said."""
        side = side or ("encoder" if names[0].startswith("encoder.") else "decoder")
        if not self._can_pack or sum(matrix.numel() for matrix in matrices) < PACK_FROM[side]:
            return None
        if not all(_fits_half(matrix) for matrix in matrices):
            return None
        joined = _finite(names, torch.cat([matrix.float() for matrix in matrices]))
        packed: object = torch.ops.quantized.linear_prepack_fp16(joined, None)
        return packed


def check_names(config: T5Config, tensors: Mapping[str, Tensor]) -> None:
    """Raises ModelError, naming the first, when tensors are missing or surplus."""
    expected = _expected_names(config)
    if config.needs_lm_head:
        expected.add("lm_head.weight")
    missing = sorted(expected - tensors.keys())
    if missing:
        raise ModelError(f"tensor {missing[0]!r} is missing{_others(missing)}")
    surplus = sorted(tensors.keys() - expected - REPEATED - UNUSED - {"lm_head.weight"})
    if surplus:
        raise ModelError(f"tensor {surplus[0]!r} has no place in a T5 of this config{_others(surplus)}")


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
                layer = f"{side}.block.{i}.layer.{j}"
                names |= {f"{layer}.{part}.{letter}.weight" for letter in "qkvo"}
                names.add(f"{layer}.layer_norm.weight")
            layer = f"{side}.block.{i}.layer.{len(parts)}"
            names |= {f"{layer}.DenseReluDense.{matrix}.weight" for matrix in (*wi, "wo")}
            names.add(f"{layer}.layer_norm.weight")
    return names


def _others(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _has_fbgemm() -> bool:
    """Whether this processor and this build of torch have the product of float32 with packed float16."""
    try:
        packed = torch.ops.quantized.linear_prepack_fp16(torch.ones(1, 2), None)
        product = torch.ops.quantized.linear_dynamic_fp16.default(torch.ones(1, 2), packed)
    except (AttributeError, RuntimeError):
        return False
    return product.tolist() == [[2.0]]


def _fits_half(matrix: Tensor) -> bool:
    """Whether float16 holds every number of the matrix exactly."""
    return matrix.dtype == torch.float16 or torch.equal(matrix.half().to(matrix.dtype), matrix)


def _finite(names: Sequence[str], tensor: Tensor) -> Tensor:
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
