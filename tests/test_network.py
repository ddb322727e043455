"""The T5 network: equal to transformers' on the same weights, and clear about weights that are not a T5's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from negopt import t5_weights
from negopt.errors import ModelError
from negopt.network import T5, T5Config
from tests.tiny_t5 import config_json, random_prompts, random_t5, random_weights

SHAPES: dict[str, dict[str, Any]] = {
    "T5, relu, tied": {},
    "T5-v1.1, gated gelu, untied": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "heads narrower than the model": {"d_kv": 12, "num_heads": 3, "feed_forward_proj": "gated-silu"},
    "more decoder than encoder": {"num_layers": 1, "num_decoder_layers": 3, "feed_forward_proj": "gelu"},
    "few buckets, short reach": {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 20},
    "coarse epsilon": {"layer_norm_epsilon": 0.5, "feed_forward_proj": "gated-relu"},
}
LENGTH, STEPS = 150, 140  # both beyond the reach of the relative positions, 128


def as_transformers(settings: dict[str, Any], weights: dict[str, Tensor]) -> Any:
    transformers = pytest.importorskip("transformers")
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**settings)).eval()
    if "lm_head.weight" in weights:  # transformers 5 ties the two at first, whatever the config says
        model.lm_head.weight = torch.nn.Parameter(weights["lm_head.weight"].clone())
    missing, surplus = model.load_state_dict(weights, strict=False)
    assert not surplus
    assert {name for name in missing if "embed_tokens" not in name} <= {"lm_head.weight"}
    return model


def padded_batch() -> tuple[Tensor, Tensor]:
    """Prompts without padding, padded at the end, padded at the start, and of one token."""
    mask = torch.ones(4, LENGTH, dtype=torch.bool)
    mask[1, 90:] = False
    mask[2, :70] = False
    mask[3, 1:] = False
    return random_prompts(4, LENGTH), mask


def answers(rows: int, steps: int = STEPS) -> Tensor:
    """Decoder inputs [rows, steps] that begin with the start token."""
    given = random_prompts(rows, steps, seed=2)
    given[:, 0] = 0
    return given


@pytest.mark.parametrize("packed", [False, True], ids=["float32", "stored in float16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_equal_those_of_transformers(shape: str, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config_json(**SHAPES[shape])
    weights = random_weights(settings)
    if packed:
        monkeypatch.setattr(t5_weights, "PACK_FROM", {"encoder": 1, "decoder": 1})
        weights = {name: tensor.half() for name, tensor in weights.items()}
    theirs = as_transformers(settings, {name: tensor.float() for name, tensor in weights.items()})
    ours = T5(T5Config.from_json(settings), weights)
    (input_ids, mask), given = padded_batch(), answers(4)

    with torch.no_grad():
        wanted = theirs(input_ids=input_ids, attention_mask=mask.long(), decoder_input_ids=given).logits

    assert wanted.abs().max() > 1  # else the tolerance would mean nothing
    assert (ours.logits(input_ids, mask, given) - wanted).abs().max() < 1e-4


def test_float16_weights_are_kept_packed_where_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config_json()
    weights = {name: tensor.half() for name, tensor in random_weights(settings).items()}
    calls: list[int] = []
    pack = t5_weights.Weights._packed

    def counted(self: t5_weights.Weights, *arguments: Any) -> object | None:
        result = pack(self, *arguments)
        calls.append(result is not None)
        return result

    monkeypatch.setattr(t5_weights.Weights, "_packed", counted)
    size = settings["vocab_size"] * settings["d_model"]
    monkeypatch.setattr(t5_weights, "PACK_FROM", {"encoder": size, "decoder": size})
    T5(T5Config.from_json(settings), weights)
    T5(T5Config.from_json(settings), random_weights(settings))  # float32 that float16 cannot hold
    assert sum(calls) == int(t5_weights._has_fbgemm())  # the head alone, and only where it is exact


def test_steps_give_the_logits_of_the_whole() -> None:
    net, (input_ids, mask), given = random_t5(), padded_batch(), answers(4)
    whole = net.logits(input_ids, mask, given)

    cache = net.start(net.encode(input_ids, mask), STEPS)
    steps = torch.stack([net.step(given[:, step], cache) for step in range(STEPS)], dim=1)

    assert (steps - whole).abs().max() < 1e-4
    with pytest.raises(IndexError, match="140 steps"):
        net.step(given[:, 0], cache)


@pytest.mark.parametrize("tied", [True, False])
def test_steps_of_a_network_of_few_writable_tokens_give_their_logits(tied: bool) -> None:
    settings = config_json(tie_word_embeddings=tied)
    writable = [1, 250, 17, 99]
    net = T5(T5Config.from_json(settings), random_weights(settings), writable=writable)
    (input_ids, mask), given = padded_batch(), answers(4, 6)
    whole = net.logits(input_ids, mask, given)
    assert whole.shape == (4, 6, 300)
    cache = net.start(net.encode(input_ids, mask), 6)
    for step in range(6):
        if step == 2:
            net.feed(given[:, step], cache)  # for tokens whose successors are known
        else:
            assert (net.step(given[:, step], cache) - whole[:, step, writable]).abs().max() < 1e-4


def test_a_mask_without_padding_and_no_mask_are_the_same() -> None:
    net, input_ids, given = random_t5(), random_prompts(2, 9), answers(2, 5)
    everything = torch.ones(2, 9, dtype=torch.bool)
    assert torch.equal(net.logits(input_ids, everything, given), net.logits(input_ids, None, given))


def test_padding_changes_nothing() -> None:
    net, input_ids, given = random_t5(), random_prompts(1, 9), answers(1, 6)
    longer = torch.cat([input_ids, torch.zeros(1, 30, dtype=torch.long)], dim=1)
    mask = torch.arange(39)[None, :] < 9
    alone, padded = net.logits(input_ids, None, given), net.logits(longer, mask, given)
    assert (alone - padded).abs().max() < 1e-4


def test_a_row_of_nothing_but_padding_gives_numbers() -> None:
    net = random_t5()
    mask = torch.tensor([[True, True], [False, False]])
    assert net.logits(random_prompts(2, 2), mask, answers(2, 3)).isfinite().all()


def test_dropping_and_reordering_rows_changes_nothing() -> None:
    net, (input_ids, mask), given = random_t5(), padded_batch(), answers(4, 12)
    whole = net.logits(input_ids, mask, given)
    cache = net.start(net.encode(input_ids, mask), 12)
    for step in range(5):
        net.step(given[:, step], cache)
    left = torch.tensor([3, 0, 2])
    cache.keep(left)
    for step in range(5, 9):
        assert (net.step(given[left, step], cache) - whole[left, step]).abs().max() < 1e-4
    cache.keep(torch.tensor([1]))  # row 0 of the batch
    for step in range(9, 12):
        assert (net.step(given[:1, step], cache) - whole[:1, step]).abs().max() < 1e-4


def test_copies_of_a_prompt_stand_side_by_side() -> None:
    net, (input_ids, mask) = random_t5(), padded_batch()
    cache = net.start(net.encode(input_ids, mask), 2, copies=3)
    given = answers(12, 2)
    net.step(given[:, 0], cache)
    wanted = net.logits(input_ids.repeat_interleave(3, 0), mask.repeat_interleave(3, 0), given)[:, 1]
    assert (net.step(given[:, 1], cache) - wanted).abs().max() < 1e-4


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("half", [True, False])
def test_a_folder_written_by_transformers_opens(tied: bool, half: bool, tmp_path: Path) -> None:
    settings = config_json(tie_word_embeddings=tied, feed_forward_proj="gated-gelu")
    theirs = as_transformers(settings, random_weights(settings))
    if not tied:
        theirs.config.tie_word_embeddings = False
    theirs = theirs.half() if half else theirs
    theirs.save_pretrained(tmp_path)
    from safetensors.torch import load_file

    config = T5Config.from_json(json.loads((tmp_path / "config.json").read_text()))
    ours = T5(config, load_file(tmp_path / "model.safetensors"))

    input_ids, given = random_prompts(2, 11), answers(2, 7)
    with torch.no_grad():
        wanted = theirs.float()(input_ids=input_ids, decoder_input_ids=given).logits
    assert (ours.logits(input_ids, None, given) - wanted).abs().max() < 1e-4


def test_duplicates_that_older_exports_hold_are_welcome() -> None:
    settings = config_json()
    weights = random_weights(settings)
    plain = T5(T5Config.from_json(settings), weights)
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
        weights[name] = weights["shared.weight"].clone()
    repeated = T5(T5Config.from_json(settings), weights)
    input_ids, given = random_prompts(1, 5), answers(1, 5)
    assert torch.equal(plain.logits(input_ids, None, given), repeated.logits(input_ids, None, given))


def test_the_weights_are_copied() -> None:
    settings = config_json()
    weights = random_weights(settings)
    net = T5(T5Config.from_json(settings), weights)
    input_ids, given = random_prompts(1, 5), answers(1, 5)
    before = net.logits(input_ids, None, given)
    for tensor in weights.values():
        tensor.zero_()
    assert torch.equal(net.logits(input_ids, None, given), before)


def test_bfloat16_computes_and_float16_is_refused() -> None:
    settings = config_json()
    weights, config = random_weights(settings), T5Config.from_json(settings)
    input_ids, given = random_prompts(1, 5), answers(1, 5)
    exact = T5(config, weights).logits(input_ids, None, given)
    rough = T5(config, weights, dtype=torch.bfloat16).logits(input_ids, None, given)
    assert rough.dtype == torch.bfloat16
    assert 0 < (rough.float() - exact).abs().max() < 0.1 * exact.abs().max()
    with pytest.raises(ModelError, match="float16"):
        T5(config, weights, dtype=torch.float16)


def missing(weights: dict[str, Tensor]) -> str:
    del weights["decoder.block.1.layer.1.EncDecAttention.k.weight"]
    return "'decoder.block.1.layer.1.EncDecAttention.k.weight' is missing"


def surplus(weights: dict[str, Tensor]) -> str:
    weights["encoder.block.2.layer.0.layer_norm.weight"] = torch.ones(32)
    return "'encoder.block.2.layer.0.layer_norm.weight' has no place"


def misshapen(weights: dict[str, Tensor]) -> str:
    weights["encoder.block.0.layer.1.DenseReluDense.wo.weight"] = torch.ones(32, 47)
    return r"'encoder.block.0.layer.1.DenseReluDense.wo.weight' has the shape \[32, 47\].*\[32, 48\]"


def short_vocabulary(weights: dict[str, Tensor]) -> str:
    weights["shared.weight"] = torch.ones(299, 32)
    return r"'shared.weight' has the shape \[299, 32\]"


def not_a_number(weights: dict[str, Tensor]) -> str:
    weights["encoder.block.0.layer.0.SelfAttention.q.weight"][3, 3] = float("nan")
    return "encoder.block.0.layer.0.SelfAttention.q.weight.* not finite"


def infinite_norm(weights: dict[str, Tensor]) -> str:
    weights["decoder.final_layer_norm.weight"][0] = float("inf")
    return "'decoder.final_layer_norm.weight' holds numbers that are not finite"


def whole_numbers(weights: dict[str, Tensor]) -> str:
    weights["shared.weight"] = torch.ones(300, 32, dtype=torch.int8)
    return "'shared.weight' holds torch.int8"


@pytest.mark.parametrize(
    "damage",
    [missing, surplus, misshapen, short_vocabulary, not_a_number, infinite_norm, whole_numbers],
)
def test_broken_weights_are_named(damage: Any) -> None:
    settings = config_json()
    weights = random_weights(settings)
    complaint = damage(weights)
    with pytest.raises(ModelError, match=complaint):
        T5(T5Config.from_json(settings), weights)


def test_an_untied_model_without_its_head_is_broken() -> None:
    with pytest.raises(ModelError, match=r"'lm_head\.weight' is missing"):
        T5(T5Config.from_json(config_json(tie_word_embeddings=False)), random_weights(config_json()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_type", "bart"),
        ("model_type", None),
        ("feed_forward_proj", "gated-tanh"),
        ("feed_forward_proj", 7),
        ("d_model", 0),
        ("d_model", "32"),
        ("num_layers", True),
        ("vocab_size", 2.5),
        ("layer_norm_epsilon", -1e-6),
        ("relative_attention_max_distance", 8),
        ("eos_token_id", 300),
        ("pad_token_id", -1),
    ],
)
def test_a_config_that_is_no_t5_is_named(field: str, value: Any) -> None:
    with pytest.raises(ModelError, match=field):
        T5Config.from_json(config_json(**{field: value}))


def test_a_config_says_no_more_than_it_must() -> None:
    assert T5Config.from_json({"model_type": "t5"}) == T5Config(32128, 512, 64, 2048, 6, 6, 8)
