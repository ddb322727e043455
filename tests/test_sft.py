"""The whole training on a tiny world: data set -> vocabulary -> network -> model folder; resume after a kill."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import negopt
from training.__main__ import main
from training.sft import _precision

TINY = [
    "--d-model", "64", "--d-ff", "96", "--heads", "4", "--d-kv", "16", "--encoder-layers", "1",
    "--decoder-layers", "1", "--batch-size", "16", "--piece-embeddings", "random", "--precision", "fp32",
    "--learning-rate", "0.005",
]  # fmt: skip


def train(data: Path, out: Path, *more: str) -> int:
    return main(["sft", "--data", str(data), "--out", str(out), *TINY, *more])


@pytest.fixture(scope="module")
def unbroken(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    assert train(data_folder, out, "--epochs", "10") == 0
    return out


def test_the_likelihood_rises_and_the_best_weights_are_exported(unbroken: Path) -> None:
    state = json.loads((unbroken / "checkpoint" / "state.json").read_text())
    nats = [measured["nats_per_term"] for measured in state["history"]]
    assert len(nats) == 10
    assert nats[-1] < nats[0] - 1.0
    assert state["best"] == min(nats)
    best = load_file(unbroken / "best" / "weights.safetensors")
    shipped = load_file(unbroken / "model" / "model.safetensors")
    assert torch.equal(shipped["shared.weight"], best["shared.weight"].half())


def test_it_learns_which_terms_go_with_which_prompt(unbroken: Path) -> None:
    generator = negopt.load(unbroken / "model")
    written = generator.generate("photo of a red car in the rain, neon light", max_terms=5)
    car = {"cartoon", "drawing", "blurry", "license plate"}
    other = {"bad hands", "extra digits", "cloned face", "oversaturated", "frame", "signature"}
    terms = {term.text for term in written.terms}
    assert len(terms & car) >= 2
    assert not terms & other


def test_the_export_opens_in_transformers_with_the_same_logits(unbroken: Path) -> None:
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    folder = unbroken / "model"
    theirs = T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    ours = negopt.load(folder)
    ids = AutoTokenizer.from_pretrained(folder)("photo of a red car at dawn").input_ids
    assert ids == ours.tokenizer.encode("photo of a red car at dawn")
    source, target = torch.tensor([ids]), torch.tensor([[0, 3, 12, 13]])
    with torch.no_grad():
        expected = theirs(input_ids=source, decoder_input_ids=target).logits
    assert (ours.network.logits(source, None, target) - expected).abs().max() < 1e-4


def test_the_card_says_what_was_measured(unbroken: Path) -> None:
    state = json.loads((unbroken / "checkpoint" / "state.json").read_text())
    card = (unbroken / "model" / "README.md").read_text()
    assert f"{state['best']:.4f}" in card
    assert "no picture was looked at" in card
    assert "licen" in card


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.mark.parametrize("steps", [5, 31])
def test_a_killed_run_resumes_to_the_same_weights(
    steps: int, data_folder: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import sft

    out, step = tmp_path / "broken", sft.Training._step
    taken = 0

    def counted(self: sft.Training, *args: int | list[int]) -> float:
        nonlocal taken
        if taken == steps:
            raise Killed
        taken += 1
        return step(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(sft, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        patch.setattr(sft.Training, "_step", counted)
        with pytest.raises(Killed):
            train(data_folder, out, "--epochs", "10")
    assert json.loads((out / "checkpoint" / "state.json").read_text())["step"] == steps
    assert train(data_folder, out, "--epochs", "10") == 0
    one, two = (load_file(run / "model" / "model.safetensors") for run in (unbroken, out))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_accumulating_in_parts_gives_the_same_step(data_folder: Path, tmp_path: Path) -> None:
    more = ["--epochs", "1", "--dropout", "0", "--limit", "64", "--learning-rate", "0.001"]
    assert train(data_folder, tmp_path / "whole", *more) == 0
    assert train(data_folder, tmp_path / "parts", *more, "--accumulate", "4") == 0
    one, two = (load_file(tmp_path / run / "best" / "weights.safetensors") for run in ("whole", "parts"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=2e-5, rtol=1e-4)


def test_a_run_with_other_settings_is_not_taken_over(
    data_folder: Path, unbroken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data_folder, unbroken, "--epochs", "7") == 2
    assert "other settings" in capsys.readouterr().err


def other_data(out: Path) -> Path:
    """As many pairs as in `data_folder`, of other prompts and terms."""
    pairs = [
        {"prompt": f"a green boat, number {i}", "negative_prompt": f"fog, rust {i % 9}, oars", "page": f"p{i}"}
        for i in range(480)
    ]
    out.with_suffix(".jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    command = f"data build {out.with_suffix('.jsonl')} --out {out} --near 1 --cap-per-negative 0 --quiet"
    assert main([*command.split(), "--validation", "0.1", "--test", "0.1"]) == 0
    return out


def test_a_run_on_other_data_is_not_taken_over_and_begins_with_a_vocabulary_of_its_own(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--epochs", "1", "--limit", "64"]
    other = other_data(tmp_path / "other")
    run, kept = tmp_path / "run", tmp_path / "run" / "tokenizer.json"
    assert train(data_folder, run, *more) == 0
    vocabulary = kept.read_text()
    assert "watermark" in vocabulary
    assert train(other, run, *more) == 2
    assert "other settings, base or data" in capsys.readouterr().err
    assert kept.read_text() == vocabulary
    shutil.rmtree(run / "checkpoint")
    assert train(other, run, *more) == 0
    for file in (kept, run / "model" / "tokenizer.json"):
        assert "oars" in file.read_text()
        assert "watermark" not in file.read_text()


def test_a_run_from_another_base_is_not_taken_over(
    unbroken: Path, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = shutil.copytree(unbroken / "model", tmp_path / "base")
    more = ["--base", str(base), "--epochs", "1", "--limit", "32"]
    assert train(data_folder, tmp_path / "run", *more) == 0
    (base / "README.md").write_text("A card says nothing of the weights.")
    assert train(data_folder, tmp_path / "run", *more) == 0
    tensors = load_file(base / "model.safetensors")
    save_file({**tensors, "shared.weight": tensors["shared.weight"] * 0.5}, base / "model.safetensors")
    assert train(data_folder, tmp_path / "run", *more) == 2
    assert "other settings, base or data" in capsys.readouterr().err


def test_a_checkpoint_that_stands_aside_keeps_its_vocabulary(data_folder: Path, tmp_path: Path) -> None:
    more = ["--epochs", "1", "--limit", "64"]
    assert train(data_folder, tmp_path / "run", *more) == 0
    file = tmp_path / "run" / "tokenizer.json"
    (tmp_path / "run" / "checkpoint").rename(tmp_path / "run" / ".checkpoint.old")  # killed while it was replaced
    written = file.stat().st_mtime_ns
    assert train(data_folder, tmp_path / "run", *more) == 0
    assert file.stat().st_mtime_ns == written


def test_a_torch_that_does_not_say_whether_it_has_bf16_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.delattr("torch.cpu._is_avx512_bf16_supported", raising=False)
    assert _precision("auto") == "no"


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "no"), ((8, 0), "bf16"), ((12, 0), "bf16")])
def test_a_gpu_that_only_emulates_bf16_has_none(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)  # torch's answer on all three
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: capability)
    assert _precision("auto") == expected


def test_early_stopping_ends_before_the_last_epoch(data_folder: Path, tmp_path: Path) -> None:
    more = ["--epochs", "50", "--patience", "1", "--limit", "32", "--learning-rate", "0.05", "--weight-decay", "0"]
    assert train(data_folder, tmp_path / "run", *more) == 0
    state = json.loads((tmp_path / "run" / "checkpoint" / "state.json").read_text())
    assert state["step"] < 50 * 2
    assert state["best_step"] < state["step"]


def test_a_model_of_no_epochs_opens_and_says_itself_when_it_has_enough(data_folder: Path, tmp_path: Path) -> None:
    """The beginning of RL without SFT; the preset has no plans of how long a list will be."""
    assert train(data_folder, tmp_path / "new", "--preset", "miniature", "--epochs", "0") == 0
    generator = negopt.load(tmp_path / "new" / "model")
    assert not generator.tokenizer.plans
    drawn = generator.draw(["a cat"], [list(range(40))], max_terms=12, max_tokens=0)[0]
    assert len({len(rollout.answer.terms) for rollout in drawn}) > 2


def test_a_fine_tuned_model_keeps_its_own_tokenizer(data_folder: Path, unbroken: Path, tmp_path: Path) -> None:
    more = ["--base", str(unbroken / "model"), "--epochs", "1", "--limit", "32"]
    assert train(data_folder, tmp_path / "tuned", *more) == 0
    before, after = (f / "model" / "tokenizer.json" for f in (unbroken, tmp_path / "tuned"))
    assert before.read_bytes() == after.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--epochs", "-1"], 2, "--epochs"),
        (["--accumulate", "3"], 2, "--accumulate"),
        (["--dropout", "1"], 2, "--dropout"),
        (["--base", "no-such-model"], 1, "no-such-model"),
    ],
)
def test_bad_settings_are_one_clear_line(
    arguments: list[str], code: int, says: str, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data_folder, tmp_path / "run", *arguments) == code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert says in error


def test_a_folder_without_a_data_set_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "nothing", tmp_path / "run") == 1
    assert "data build" in capsys.readouterr().err
