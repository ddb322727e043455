"""The build at tiny sizes: all stages, resuming, and folders that the standard libraries open."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from safetensors.torch import load_file
from transformers import CLIPModel, CLIPTokenizer

from negopt.errors import ModelError, OptionError
from training.evaluation.search import beam_search
from training.miniature import stage as stages
from training.miniature.album import Album, as_bytes, as_tensor
from training.miniature.build import Build
from training.miniature.captions import all_words, caption
from training.miniature.check import ALL_DEFECTS, Arena
from training.miniature.judges import CLASSES, open_judges
from training.miniature.pipeline import make_pictures, open_sampler
from training.miniature.plan import TINY
from training.miniature.stage import Stage, rng_of
from training.miniature.tokenizer import LENGTH, learn_merges, learn_tokenizer
from training.miniature.world import DEFECTS, SIZE, draw_scene

WEIGHTS = (
    "checkpoint/vae/diffusion_pytorch_model.safetensors",
    "checkpoint/unet/diffusion_pytorch_model.safetensors",
    "checkpoint/text_encoder/model.safetensors",
    "judges/clip/model.safetensors",
    "judges/clip/aesthetics.safetensors",
    "judges/classifier/model.safetensors",
    "judges/defect-classifier/model.safetensors",
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    """Sums in one order, and no time lost on tiny tensors."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("miniature")
    Build(out, TINY).run()
    return out


class Killed(BaseException):
    """Stands for the kill: nothing catches it."""


@pytest.mark.parametrize("fatal", [2, 5, 8, 12])
def test_a_killed_build_ends_with_the_same_weights(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fatal: int
) -> None:
    """Killed in its step number `fatal`, counted over all stages, with a checkpoint after each step."""
    monkeypatch.setattr(stages, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole, count = Stage._step, 0

    def step(self: Stage, loss: Any) -> float:
        nonlocal count
        count += 1
        if count == fatal:
            raise Killed
        return whole(self, loss)

    monkeypatch.setattr(Stage, "_step", step)
    with pytest.raises(Killed):
        Build(tmp_path, TINY).run()
    Build(tmp_path, TINY).run()
    for name in WEIGHTS:
        expected, found = load_file(built / name), load_file(tmp_path / name)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected), name


def test_what_was_measured_is_noted(built: Path) -> None:
    notes = json.loads((built / "build.json").read_text())
    assert notes["vae"]["latent_channels"] == 4
    assert notes["vae"]["encoder_steps"] == TINY.vae_steps
    assert 0 < notes["vae"]["psnr"] < 99
    assert notes["unet"]["step"] == TINY.unet_steps + TINY.fine_steps
    assert 0 <= notes["classifiers"]["classifier"]["painted_subject"] <= 1


def test_diffusers_opens_the_checkpoint(built: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(built / "checkpoint")
    pipeline.set_progress_bar_config(disable=True)
    assert next(pipeline.unet.parameters()).dtype in (torch.float16, torch.float32)
    pipeline.to(torch.float32)
    images = pipeline("a red cat", negative_prompt="blurry", num_inference_steps=2).images
    assert images[0].size == (SIZE, SIZE)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"


def test_weights_are_small_and_half_precise(built: Path) -> None:
    for name in WEIGHTS:
        assert {tensor.dtype for tensor in load_file(built / name).values()} <= {torch.float16, torch.int64}


def test_a_picture_follows_from_prompt_negative_and_seed(built: Path) -> None:
    """Whatever else is in the batch; and the negative matters."""
    sampler = open_sampler(built / "checkpoint", bf16=False)
    both = make_pictures(sampler, ["a cat", "a red fish"], ["", "blurry"], [1, 2])
    alone = make_pictures(sampler, ["a red fish"], ["blurry"], [2])
    other = make_pictures(sampler, ["a red fish"], ["text"], [2])
    assert both.shape == (2, SIZE, SIZE, 3)
    assert np.abs(both[1].astype(int) - alone[0].astype(int)).max() <= 1
    assert not np.array_equal(other, alone)


def test_transformers_opens_the_judges(built: Path) -> None:
    clip = CLIPModel.from_pretrained(built / "judges" / "clip")
    assert clip.config.projection_dim == TINY.embedding
    judges = open_judges(built / "judges")
    assert judges.classifier.config.id2label == dict(enumerate(CLASSES))
    assert judges.defects.config.id2label == dict(enumerate(DEFECTS))
    pictures = np.random.default_rng(0).integers(0, 256, size=(5, SIZE, SIZE, 3), dtype=np.uint8)
    assert judges.aesthetics(pictures).shape == (5,)
    assert np.abs(judges.alignment(pictures, ["a cat"] * 5)).max() <= 1 + 1e-6
    assert np.allclose(judges.classes(pictures).sum(1), 1)
    assert judges.defect_rates(pictures).shape == (5, len(DEFECTS))


def test_rewards_of_the_warm_up_have_mean_zero(built: Path) -> None:
    arena = Arena(built)
    prompts, seeds = ["a cat", "a red fish", "a tree at night", "mountains"], list(range(4))
    arena.calibrate(prompts, seeds)
    assert arena.rewards(prompts, [""] * 4, seeds).mean() == pytest.approx(0, abs=1e-6)
    by_prompt = arena.mean_rewards(["a cat", "mountains"], ["", "text"], [1, 2, 3])
    one_by_one = arena.rewards(["mountains"] * 3, ["text"] * 3, [1, 2, 3]).mean()
    assert by_prompt.shape == (2,)
    assert by_prompt[1] == pytest.approx(one_by_one, abs=0.15)  # bf16, in another batch


def test_an_encoder_changed_under_the_unet_is_noticed(built: Path, tmp_path: Path) -> None:
    build = Build(tmp_path, TINY)
    build.run(["vae", "unet"])
    later = Build(tmp_path, replace(TINY, unet_steps=8))
    torch.nn.init.zeros_(later.vae.encoder.conv_in.weight)
    with pytest.raises(ModelError, match="other settings or data"):
        later.run(["unet"])


def test_stages_in_the_wrong_order_say_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="stage vae first"):
        Build(tmp_path, TINY).run(["unet"])
    with pytest.raises(OptionError, match="no stage 'bogus'"):
        Build(tmp_path, TINY).run(["bogus"])


def test_a_build_that_begins_as_another_trains_only_what_it_is_told_to(built: Path, tmp_path: Path) -> None:
    build = Build(tmp_path / "later", TINY)
    build.begin(built)
    build.run(["unet", "aesthetics"])
    learned = {"checkpoint/unet", "checkpoint/text_encoder", "judges/clip/aesthetics"}
    for name in WEIGHTS:
        before, after = load_file(built / name), load_file(tmp_path / "later" / name)
        same = all(torch.equal(before[key], after[key]) for key in before)
        assert same is not any(name.startswith(part) for part in learned), name
    notes = build.notes()
    assert notes["unet"]["step"] == TINY.unet_steps + 2 * TINY.fine_steps
    assert notes["classifiers"] == json.loads((built / "build.json").read_text())["classifiers"]
    again = Build(tmp_path / "later", TINY)
    again.begin(tmp_path / "nowhere")  # it has begun long ago
    assert again.run(["unet"])["unet"]["step"] == notes["unet"]["step"]
    with pytest.raises(ModelError, match="no finished miniature"):
        Build(tmp_path / "other", TINY).begin(tmp_path / "nowhere")


def test_a_goal_ends_the_encoder_and_the_clock_ends_a_stage(tmp_path: Path) -> None:
    Build(tmp_path / "easy", TINY).run(["vae"])
    easy = Build(tmp_path / "easy", replace(TINY, psnr=1.0, vae_steps=500)).run(["vae"])
    assert easy["vae"]["encoder_steps"] == TINY.vae_steps  # what was measured last is above the new goal
    hurried = Build(tmp_path / "hurried", TINY, minutes=0.0).run(["vae"])
    assert hurried["vae"] == {**hurried["vae"], "encoder_steps": 0, "finished": False}


def test_a_broken_loss_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 1)
    stage = Stage(tmp_path / "s", layer, steps=3, learning_rate=1e-3)
    stage._save()
    with pytest.raises(ModelError, match="loss is nan at step 0"):
        stage.run(lambda step: layer(torch.full((1, 2), float("nan"))).sum())
    assert (tmp_path / "s" / "live" / "weights.safetensors").exists()


def test_the_average_follows_the_weights() -> None:
    """After two steps with weights w1, w2: the average begins as a tenth of the start."""
    layer = torch.nn.Linear(1, 1, bias=False)
    stage = Stage(Path("unused"), layer, steps=2, learning_rate=0.1)
    start = layer.weight.item()
    stage._step(lambda step: layer(torch.ones(1, 1)).sum())
    first = layer.weight.item()
    average = 0.1 * start + 0.9 * first
    assert stage.average["weight"].item() == pytest.approx(average, abs=1e-6)
    stage._step(lambda step: layer(torch.ones(1, 1)).sum())
    average = 2 / 11 * average + 9 / 11 * layer.weight.item()
    assert stage.average["weight"].item() == pytest.approx(average, abs=1e-6)


def test_the_tokenizer_has_the_worlds_words_whole(tmp_path: Path) -> None:
    scenes = [draw_scene(0, index) for index in range(2000)]
    texts = [caption(scene, rng_of(index)) for index, scene in enumerate(scenes)]
    tokenizer = learn_tokenizer(texts)
    assert learn_merges(texts) == learn_merges(reversed(texts))
    assert len(tokenizer) > 600
    for word in all_words() - {"8-bit"}:
        assert len(tokenizer.tokenize(word)) == 1, word
    assert tokenizer.decode(tokenizer("Quixotic zebra").input_ids, skip_special_tokens=True) == "quixotic zebra"
    ids = tokenizer(ALL_DEFECTS).input_ids
    assert ids[0] == tokenizer.bos_token_id != ids[-1] == tokenizer.eos_token_id
    assert len(ids) <= LENGTH
    assert len(set(ids)) > len(DEFECTS)
    tokenizer.save_pretrained(tmp_path)
    assert CLIPTokenizer.from_pretrained(tmp_path)(ALL_DEFECTS).input_ids == ids


def test_an_album_is_painted_once(tmp_path: Path) -> None:
    first = Album(tmp_path, 3, 10)
    paths = list(tmp_path.iterdir())
    stamps = [path.stat().st_mtime_ns for path in paths]
    again = Album(tmp_path, 3, 10)
    assert [path.stat().st_mtime_ns for path in paths] == stamps
    assert np.array_equal(first.pictures, again.pictures)
    assert np.array_equal(as_bytes(as_tensor(first.pictures)), first.pictures)
    assert first.batch(np.array([4])).shape == (1, 3, SIZE, SIZE)


def test_the_most_frequent_pair_merges_first() -> None:
    """By hand: "aab" three times, "ab" twice: a+b</w> 5 times, a+a 3 times, then a+ab</w>."""
    assert learn_merges(["aab aab ab", "aab ab"]) == [("a", "b</w>"), ("a", "ab</w>")]


def test_beam_search_finds_a_set_that_no_single_step_shows() -> None:
    """Worth: a alone 2, b alone 1, c nothing; b with c 5. A beam of one takes a; of two finds b and c."""
    worth = {"": 0.0, "a": 2.0, "b": 1.0, "c": 0.0, "ab": 2.5, "ac": 1.0, "bc": 5.0, "abc": 3.0}
    asked: list[str] = []

    def score(lists: list[tuple[str, ...]]) -> Any:
        asked.extend("".join(sorted(terms)) for terms in lists)
        return np.array([worth["".join(sorted(terms))] for terms in lists])

    best = beam_search(score, ["a", "b", "c"], width=2, depth=3)
    assert best[0] == (5.0, ("b", "c"))
    assert len(asked) == len(set(asked)) == 8
    assert beam_search(score, ["a", "b", "c"], width=1, depth=1)[0] == (2.0, ("a",))
    asked.clear()
    assert beam_search(score, ["a", "b", "c"], width=2, depth=2, shortlist=2)[0] == (2.5, ("a", "b"))
    assert asked == ["", "a", "b", "c", "ab"]
