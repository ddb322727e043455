"""diffusers in this process: single files of each family, one picture for one seed, memory that runs out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.utils import are_progress_bars_disabled
from safetensors.torch import load_file, save_file
from transformers.utils import logging as transformers_logging

from negopt.errors import ModelError, OptionError
from tests.hub_server import COMMIT
from tests.tiny_checkpoints import TELLTALE, write_sd1, write_sd2, write_sdxl, write_tokenizer
from training.digest import digest_of_files
from training.samplers import Picture
from training.samplers.checkpoints import SCHEDULERS, add_loras, quiet, set_scheduler
from training.samplers.in_process import DiffusersSampler

SIZE = (64, 48)
PICTURES = [
    Picture("a red boat at night", "blurry", 1),
    Picture("a blue house", "", 2),
    Picture("a blue house", "low quality", 2),
    Picture("a red boat at night", "blurry", 3),
    Picture("a boat by the sea", "blurry", 4),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def opened(file: Path, tokenizer: Path, scheduler: str | None = None) -> DiffusersSampler:
    return DiffusersSampler.open(
        file, tokenizer=tokenizer, scheduler=scheduler, steps=2, guidance=3.0, size=SIZE, batch=3, device="cpu"
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("checkpoint") / "mine.safetensors"
    write_sd1(file)
    return file


@pytest.fixture
def sampler(file: Path, tokenizer: Path) -> DiffusersSampler:
    return opened(file, tokenizer)


def size_of(tensors: dict[str, torch.Tensor], prefix: str) -> int:
    return sum(tensor.numel() for name, tensor in tensors.items() if name.startswith(prefix))


@pytest.mark.parametrize("write", [write_sd1, write_sd2, write_sdxl])
def test_each_family_opens_from_one_file_with_all_its_weights(
    write: Callable[[Path], None], tmp_path: Path, tokenizer: Path
) -> None:
    write(tmp_path / "mine.safetensors")
    sampler = opened(tmp_path / "mine.safetensors", tokenizer)
    tensors = load_file(tmp_path / "mine.safetensors")
    parts = {"unet": "model.diffusion_model.", "vae": "first_stage_model."}
    for part, prefix in parts.items():
        inside = sum(weight.numel() for weight in getattr(sampler.pipeline, part).parameters())
        assert inside == size_of(tensors, prefix)
    images = sampler.sample(PICTURES[:2])
    assert images.shape == (2, 3, 48, 64)
    assert images.isfinite().all()
    assert 0 <= images.min() <= images.max() <= 1
    assert not torch.equal(sampler.sample([PICTURES[1]])[0], sampler.sample([PICTURES[2]])[0])


@pytest.mark.parametrize("named", ["owner/mine", f"owner/mine@{COMMIT}", f"owner/mine@{COMMIT[:7]}"])
def test_a_checkpoint_from_the_hub_opens_offline_once_it_is_cached(
    named: str, sampler: DiffusersSampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--owner--mine"
    sampler.pipeline.save_pretrained(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = DiffusersSampler.open(named, steps=2, guidance=3.0, size=SIZE, device="cpu")
    assert torch.equal(found.sample(PICTURES[:1]), sampler.sample(PICTURES[:1]))
    with pytest.raises(ModelError, match="owner/other"):
        DiffusersSampler.open("owner/other", device="cpu")


@pytest.mark.parametrize("velocity", [False, True])
def test_sd2_says_what_it_predicts(
    velocity: bool, tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.samplers.single_file.TELLTALE", TELLTALE)
    write_sd2(tmp_path / "mine.safetensors", velocity)
    config = opened(tmp_path / "mine.safetensors", tokenizer).pipeline.scheduler.config
    assert config.prediction_type == ("v_prediction" if velocity else "epsilon")


@pytest.mark.parametrize("scheduler", ["dpm++2m", "lcm"])
def test_a_picture_does_not_depend_on_what_is_made_with_it(scheduler: str, file: Path, tokenizer: Path) -> None:
    sampler = opened(file, tokenizer, scheduler)
    together = sampler.sample(PICTURES)
    assert not torch.equal(together[0], together[3])
    for number, picture in enumerate(PICTURES):
        torch.testing.assert_close(sampler.sample([picture])[0], together[number], atol=1e-5, rtol=0)


@pytest.mark.parametrize("scheduler", ["dpm++2m", "lcm"])
def test_one_at_a_time_it_is_the_same_to_the_bit(scheduler: str, file: Path, tokenizer: Path) -> None:
    sampler = opened(file, tokenizer, scheduler)
    sampler.batch = 1
    together = sampler.sample(PICTURES)
    assert torch.equal(sampler.sample(PICTURES[::-1]).flip(0), together)
    other = opened(file, tokenizer, scheduler)
    other.batch = 1
    assert torch.equal(other.sample(PICTURES[3:]), together[3:])


def test_full_batches_change_nothing_but_the_shape(sampler: DiffusersSampler) -> None:
    expected = sampler.sample(PICTURES)
    whole = DiffusersSampler(sampler.pipeline, steps=2, guidance=3.0, size=SIZE, batch=4, full_batches=True)
    batches: list[int] = []
    whole.pipeline.unet.register_forward_pre_hook(lambda module, inputs: batches.append(len(inputs[0])))
    torch.testing.assert_close(whole.sample(PICTURES), expected, atol=1e-5, rtol=0)
    assert set(batches) == {8}


def test_the_same_seed_is_the_same_noise_on_every_machine(sampler: DiffusersSampler) -> None:
    noise = sampler._noise([torch.Generator().manual_seed(2)])
    assert noise.shape == (1, 4, 6, 8)
    assert noise.flatten()[:3].tolist() == pytest.approx([-1.0408, 0.9166, -1.3042], abs=1e-4)


def test_a_download_shows_its_progress_while_warnings_are_off() -> None:
    before = transformers_logging.get_verbosity(), are_progress_bars_disabled()
    with quiet():
        assert transformers_logging.get_verbosity() == transformers_logging.ERROR
        assert are_progress_bars_disabled() == before[1]
    assert (transformers_logging.get_verbosity(), are_progress_bars_disabled()) == before


def test_pictures_that_are_no_numbers_are_refused(sampler: DiffusersSampler, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = sampler.pipeline.vae.decode

    def overflowing(latents: torch.Tensor) -> Any:
        decoded = decode(latents)
        decoded.sample[-1, 0, 0, 0] = torch.inf - torch.inf
        return decoded

    monkeypatch.setattr(sampler.pipeline.vae, "decode", overflowing)
    with pytest.raises(ModelError, match="--dtype bf16"):
        sampler.sample(PICTURES)


def test_memory_that_runs_out_halves_the_batch_and_says_so(
    sampler: DiffusersSampler, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(torch, "OutOfMemoryError", raising=False)  # a name that torch before 2.5 does not have
    expected = sampler.sample(PICTURES)
    sampler.batch = 5
    make = sampler._sample
    tried: list[int] = []

    def short_of_memory(pictures: Sequence[Picture]) -> torch.Tensor:
        tried.append(len(pictures))
        if len(pictures) > 2:
            raise torch.cuda.OutOfMemoryError
        return make(pictures)

    monkeypatch.setattr(sampler, "_sample", short_of_memory)
    torch.testing.assert_close(sampler.sample(PICTURES), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(sampler.sample(PICTURES[:3]), expected[:3], atol=1e-5, rtol=0)
    assert tried == [5, 2, 2, 1, 2, 1]
    assert capsys.readouterr().err.splitlines() == ["out of memory with 5 pictures together: going on with 2"]
    monkeypatch.setattr(sampler, "_sample", lambda pictures: short_of_memory([*pictures] * 3))
    with pytest.raises(ModelError, match="single picture"):
        sampler.sample(PICTURES)


def test_a_batch_that_was_filled_up_is_halved_as_what_it_was(
    sampler: DiffusersSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sampler.sample(PICTURES[:1])
    sampler._full, sampler.batch = True, 4
    draw = sampler._noise

    def short_of_memory(generators: Sequence[torch.Generator]) -> torch.Tensor:
        if len(generators) > 2:
            raise torch.cuda.OutOfMemoryError
        return draw(generators)

    monkeypatch.setattr(sampler, "_noise", short_of_memory)
    torch.testing.assert_close(sampler.sample(PICTURES[:1]), expected, atol=1e-5, rtol=0)
    assert sampler.batch == 2


def test_each_scheduler_has_a_name(sampler: DiffusersSampler) -> None:
    found, said = {}, {}
    for name in SCHEDULERS:
        set_scheduler(sampler.pipeline, name)
        found[name] = sampler.sample(PICTURES[:1])
        said[name] = sampler.description["scheduler"]
        assert said[name].partition(" (")[0] == SCHEDULERS[name][0]
    assert len(set(said.values())) == len(SCHEDULERS)  # those of one class, too
    assert all(image.isfinite().all() for image in found.values())
    assert not torch.equal(found["ddim"], found["euler"])
    with pytest.raises(OptionError, match=r"dpm\+\+2m"):
        set_scheduler(sampler.pipeline, "heun")


def test_it_says_what_it_is(file: Path, tokenizer: Path) -> None:
    sampler = DiffusersSampler.open(file, tokenizer=tokenizer, size=SIZE, dtype=torch.bfloat16, device="cpu")
    expected = {"checkpoint": str(file), "steps": 20, "guidance": 7.0, "size": "64x48", "dtype": "bfloat16"}
    expected["texts"] = "as a1111 reads them"
    scheduler = "DPMSolverMultistepScheduler (steps_offset=1, timestep_spacing=leading)"
    assert sampler.description == expected | {"scheduler": scheduler}
    set_scheduler(sampler.pipeline, "dpm++2m-karras")
    assert sampler.description["scheduler"] == scheduler.replace(")", ", use_karras_sigmas=True)")
    assert sampler.sample(PICTURES[:1]).dtype == torch.float32


@pytest.mark.parametrize("said", ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "no kernel image"])
def test_memory_runs_out_under_other_names(
    said: str, sampler: DiffusersSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = sampler._sample

    def failing(pictures: Sequence[Picture]) -> torch.Tensor:
        if len(pictures) > 1:
            raise RuntimeError(said)
        return make(pictures)

    monkeypatch.setattr(sampler, "_sample", failing)
    if said == "no kernel image":
        with pytest.raises(RuntimeError, match=said):
            sampler.sample(PICTURES[:2])
    else:
        assert sampler.sample(PICTURES[:2]).shape[0] == 2


def test_a_lora_is_melted_into_the_weights(file: Path, tokenizer: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    down, up = torch.randn(2, 64), torch.randn(64, 2)
    names = {f"unet.{layer}.lora_A.weight": down, f"unet.{layer}.lora_B.weight": up}
    save_file(names, tmp_path / "lora.safetensors")
    settings: dict[str, Any] = {"tokenizer": tokenizer, "size": SIZE, "device": "cpu"}
    before = opened(file, tokenizer).pipeline.unet.get_submodule(layer).weight
    sampler = DiffusersSampler.open(file, loras=[(tmp_path / "lora.safetensors", 0.5)], **settings)
    torch.testing.assert_close(sampler.pipeline.unet.get_submodule(layer).weight, before + 0.5 * up @ down)
    assert sampler.description["loras"] == {"lora.safetensors:0.5": digest_of_files([tmp_path / "lora.safetensors"])}
    with pytest.raises(ModelError, match="no LoRA"):
        DiffusersSampler.open(file, loras=[(tmp_path / "none.safetensors", 1.0)], **settings)


def test_a_lora_without_its_library_is_one_clear_line(
    sampler: DiffusersSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match="pip install peft"):
        add_loras(sampler.pipeline, [(Path("a.safetensors"), 1.0)])


def test_what_cannot_be_opened_is_one_clear_line(file: Path, tokenizer: Path, tmp_path: Path) -> None:
    tensors = load_file(file)
    unet = {name: tensor for name, tensor in tensors.items() if not name.startswith("first_stage_model.")}
    save_file(unet, tmp_path / "half.safetensors")
    tensors["model.diffusion_model.input_blocks.0.0.weight"] = torch.zeros(32, 9, 3, 3)
    save_file(tensors, tmp_path / "inpainting.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:10_000])
    (tmp_path / "pickle.ckpt").write_bytes(b"")
    said = {"half.safetensors": "autoencoder", "inpainting.safetensors": "inpainting", "pickle.ckpt": "can run code"}
    for name, words in {**said, "cut.safetensors": "checkpoint", "none.safetensors": "no such"}.items():
        with pytest.raises(ModelError, match=words) as caught:
            opened(tmp_path / name, tokenizer)
        assert "\n" not in str(caught.value)
    wrong: list[dict[str, Any]] = [{"size": (60, 64)}, {"steps": 0}, {"batch": 0}, {"vram": 4.0}]
    for settings in wrong:
        with pytest.raises(OptionError):
            DiffusersSampler.open(file, tokenizer=tokenizer, device="cpu", **settings)
