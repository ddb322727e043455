"""A whole RL run on pictures that a small stand-in for a checkpoint makes: it learns, resumes, and stops in time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import negopt
from negopt.errors import ModelError, OptionError
from tests.tiny_policy import PROMPTS, read, tiny_policy
from training.rewards import Aesthetics, Fidelity, Judge, WeightedReward
from training.rl.gallery import Gallery
from training.rl.learner import Learning
from training.rl.recipe import Recipe
from training.rl.stage import CLOCKED, Stage
from training.samplers import Picture


class Painting:
    """Noise that darkens with each term but "blurry" and "wilted", which brighten it: a world in which two terms
    are always good. Each picture follows from its own seed."""

    def __init__(self) -> None:
        self.calls = 0

    def sample(self, pictures: Sequence[Picture]) -> torch.Tensor:
        self.calls += 1
        return torch.stack([self._paint(picture) for picture in pictures])

    def _paint(self, picture: Picture) -> torch.Tensor:
        noise = torch.rand((3, 4, 4), generator=torch.Generator().manual_seed(picture.seed))
        terms = picture.negative_prompt.split(", ")
        brightness = sum(1 if term in ("blurry", "wilted") else -1 for term in terms if term) / 8
        return (0.5 + 0.2 * (noise - 0.5) + 0.4 * brightness).clamp(0, 1)

    @property
    def description(self) -> Mapping[str, Any]:
        return {"checkpoint": "stand-in", "size": 4}


def gallery() -> Gallery:
    judges: dict[str, Judge] = {
        "aesthetics": Aesthetics(lambda images: images.mean((1, 2, 3)).unsqueeze(1), lambda x: 10 * x[:, 0]),
        "fidelity": Fidelity(lambda images: (9 * images[:, :, 0, 0]).softmax(-1), window=64),
    }
    return Gallery(Painting(), WeightedReward(judges, {"aesthetics": 1.0}))


GROUP = Recipe(
    steps=12,
    prompts=4,
    copies=8,
    max_terms=5,
    warm_up=2,
    weights={"aesthetics": 1.0},
    learning=Learning(learning_rate=3e-3, kl_weight=0.01),
)
PPO = replace(
    GROUP, algorithm="ppo", copies=1, steps=30, warm_up=6, learning=Learning(learning_rate=3e-3, kl_weight=0.01)
)
CRITIC = replace(GROUP, algorithm="critic", copies=4, learning=Learning(learning_rate=3e-3))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"), anchor=0.0)


def stage(model: Path, out: Path, recipe: Recipe = GROUP) -> Stage:
    return Stage(model, PROMPTS * 2, gallery(), recipe, out, read)


@pytest.mark.parametrize("recipe", [GROUP, CRITIC, PPO], ids=["group", "critic", "ppo"])
def test_the_reward_rises_and_the_model_is_written(model: Path, tmp_path: Path, recipe: Recipe) -> None:
    learned = stage(model, tmp_path, recipe)
    history = learned.run()
    quarter = len(history) // 4
    rewards = torch.tensor([measured["reward"] for measured in history])
    assert rewards[-quarter:].mean() > rewards[:quarter].mean() + 0.5
    assert rewards[:quarter].mean().abs() < 1.5  # in units of the warm-up's spread
    anew = [measured["made_anew"] for measured in history]
    assert not any(anew[: recipe.warm_up])  # these pictures were the warm-up's
    assert any(anew[recipe.warm_up :])
    kept = learned.gallery.state_dict()["pictures"]  # as many as the warm-up had, however long the run
    assert len(kept) <= recipe.warm_up * recipe.prompts * recipe.copies < learned.gallery.made
    taught = negopt.load(tmp_path / "model")
    assert {"blurry", "wilted"} & {term.text for term in taught.generate("a face", max_terms=5).terms}


def test_a_step_may_take_no_time(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Windows' clock stands still for 16 ms
    monkeypatch.setattr("training.rl.stage.time", SimpleNamespace(monotonic=lambda: 1.0))
    (measured,) = stage(model, tmp_path, replace(GROUP, steps=1)).run()
    assert measured["share_not_pictures"] == 1


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "checkpoint" / "weights.safetensors")


@pytest.mark.parametrize("recipe", [GROUP, CRITIC, replace(PPO, steps=6)], ids=["group", "critic", "ppo"])
def test_a_killed_run_goes_on_to_the_same_numbers(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe
) -> None:
    recipe = replace(recipe, steps=6)
    unbroken = stage(model, tmp_path / "unbroken", recipe).run()
    monkeypatch.setattr("training.rl.stage.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    real: Callable[[Stage, int], dict[str, float]] = Stage._step

    def dying(self: Stage, step: int) -> dict[str, float]:
        if step == 4:
            raise KeyboardInterrupt
        return real(self, step)

    monkeypatch.setattr(Stage, "_step", dying)
    with pytest.raises(KeyboardInterrupt):
        stage(model, tmp_path / "killed", recipe).run()
    monkeypatch.setattr(Stage, "_step", real)
    resumed = stage(model, tmp_path / "killed", recipe).run()
    assert len(resumed) == len(unbroken) == 6
    for mine, theirs in zip(resumed, unbroken, strict=True):
        same = [name for name in mine if name not in CLOCKED]
        assert [mine[name] for name in same] == [theirs[name] for name in same]
    expected = weights(tmp_path / "unbroken")
    for name, tensor in weights(tmp_path / "killed").items():
        assert torch.equal(tensor, expected[name]), name


def test_a_run_with_other_settings_is_not_taken_over(model: Path, tmp_path: Path) -> None:
    stage(model, tmp_path, replace(GROUP, steps=1)).run()
    with pytest.raises(OptionError, match=r"other settings \(not the same recipe\)"):
        stage(model, tmp_path, replace(GROUP, steps=1, seed=1)).run()


def test_a_run_goes_on_only_with_the_model_the_prompts_and_the_judges_that_it_began_with(
    model: Path, tmp_path: Path
) -> None:
    recipe, out = replace(GROUP, steps=1), tmp_path / "out"
    stage(model, out, recipe).run()
    moved = shutil.copytree(model, tmp_path / "moved")
    assert len(stage(moved, out, recipe).run()) == 1
    tensors = load_file(moved / "model.safetensors")
    save_file({**tensors, "shared.weight": tensors["shared.weight"] + 0.1}, moved / "model.safetensors")
    with pytest.raises(OptionError, match=r"not the same model\)"):
        stage(moved, out, recipe).run()
    with pytest.raises(OptionError, match=r"not the same model and prompts\)"):
        Stage(moved, PROMPTS, gallery(), recipe, out).run()
    fewer = gallery()
    del fewer.reward.judges["fidelity"]
    with pytest.raises(OptionError, match=r"not the same judges\)"):
        Stage(model, PROMPTS * 2, fewer, recipe, out).run()
    others = gallery()
    others.reward.origin = "others of the same names"
    with pytest.raises(OptionError, match=r"not the same judges\)"):
        Stage(model, PROMPTS * 2, others, recipe, out).run()


def test_another_model_is_named_even_where_its_weights_do_not_fit(model: Path, tmp_path: Path) -> None:
    recipe, out = replace(GROUP, steps=1), tmp_path / "out"
    stage(model, out, recipe).run()
    larger = tiny_policy(tmp_path, anchor=0.0, width=64)
    with pytest.raises(OptionError, match=r"not the same model\)"):
        stage(larger, out, recipe).run()


def test_a_checkpoint_that_does_not_say_what_it_was_begun_with_is_not_taken_over(model: Path, tmp_path: Path) -> None:
    recipe, file = replace(GROUP, steps=1), tmp_path / "checkpoint" / "state.json"
    stage(model, tmp_path, recipe).run()
    state = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in state.items() if name not in ("model", "prompts")}))
    with pytest.raises(OptionError, match="not the same model and prompts"):
        stage(model, tmp_path, recipe).run()
    file.write_text("{")
    with pytest.raises(ModelError, match="cannot resume"):
        stage(model, tmp_path, recipe).run()


def test_a_model_without_settings_learns_to_the_end(model: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(model, tmp_path / "bare")
    (bare / "negopt.json").unlink()
    stage(bare, tmp_path / "out", replace(GROUP, steps=1)).run()
    assert negopt.load(tmp_path / "out" / "model").settings == negopt.load(bare).settings


def test_a_collapsing_policy_stops_and_keeps_the_last_good_checkpoint(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.rl.stage.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    wild = replace(GROUP, steps=40, kl_limit=2.0, learning=Learning(learning_rate=3e-2, kl_weight=0.0))
    with pytest.raises(ModelError, match="collapsed"):
        stage(model, tmp_path, wild).run()
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path).values())


def test_bad_settings_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="2 copies"):
        replace(GROUP, copies=1)
    with pytest.raises(OptionError, match="fewer"):
        Stage(model, PROMPTS[:2], gallery(), GROUP, tmp_path)


def test_a_warm_up_that_is_stopped_makes_no_picture_twice(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(GROUP, warm_up=5, steps=2)  # 160 draws, looked at 64 at a time
    unbroken = stage(model, tmp_path / "unbroken", recipe)
    unbroken.run()
    stopped = stage(model, tmp_path / "stopped", recipe)
    paint = Painting.sample

    def dying(self: Painting, pictures: Sequence[Picture]) -> torch.Tensor:
        if self.calls == 1:
            raise KeyboardInterrupt
        return paint(self, pictures)

    monkeypatch.setattr(Painting, "sample", dying)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    monkeypatch.setattr(Painting, "sample", paint)
    assert stopped.gallery.made == 64
    resumed = stage(model, tmp_path / "stopped", recipe)
    resumed.run()
    assert resumed.gallery.made == unbroken.gallery.made
    assert resumed.gallery.reward.normal == unbroken.gallery.reward.normal
    expected = weights(tmp_path / "unbroken")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(tmp_path / "stopped").items())
