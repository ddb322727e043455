"""What is seen of a run: figures and sheets in TensorBoard and as PNG, and that looking changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import negopt
from negopt.generator import NegativePrompt, WrittenTerm
from negopt.rollout import Rollout
from tests.test_rl_stage import GROUP, Painting, stage
from tests.tiny_policy import TERMS, tiny_policy
from training.rl.logbook import Logbook, known_terms, written
from training.samplers import Picture
from training.sheet import SIDE, Cell, enlarged, sheet


def rollout(*terms: str, asked: str = "") -> Rollout:
    listed = [WrittenTerm(asked, 1.0, 1.0, "prompt")] if asked else []
    listed += [WrittenTerm(term, 1.0, 0.5, "model") for term in terms]
    answer = NegativePrompt(", ".join(term.text for term in listed), tuple(listed))
    return Rollout((), (), (), (), torch.empty(0), answer)


def test_signs_of_degeneration_are_counted() -> None:
    known = frozenset({"blurry", "text"})
    healthy = written([rollout("blurry", "text"), rollout("text", asked="people")], known)
    assert healthy == {"terms": 2, "longest": 2, "different": 1, "repeats": 0, "unseen": 0}
    sick = written([rollout("text", "blurry", "texts", "qzx"), rollout("text", "blurry", "texts", "qzx")], known)
    assert sick["different"] == 0.5
    assert sick["repeats"] == 0.25  # "texts" is "text" again
    assert sick["unseen"] == 0.5
    assert "unseen" not in written([rollout("blurry")], frozenset())
    assert written([rollout(), rollout()], known)["terms"] == 0


def test_a_model_says_which_terms_it_knows(tmp_path: Path) -> None:
    assert known_terms(negopt.load(tiny_policy(tmp_path, anchor=0.0))) == frozenset(TERMS)


class Remembering(Painting):
    """The stand-in, and what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[Picture]] = []

    def sample(self, pictures: Sequence[Picture]) -> torch.Tensor:
        self.asked.append(list(pictures))
        return super().sample(pictures)


def test_a_sheet_compares_with_no_negative_on_the_same_noise(tmp_path: Path) -> None:
    sampler = Remembering()
    figures = {"reward": 0.5, "pictures_a_second": 20.0}
    with Logbook(tmp_path, sampler, [f"prompt {n}" for n in range(9)], total=41, done=0) as log:
        for step in range(1, 42):
            log.step(step, figures, lambda prompts: ["blurry" for _ in prompts])
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "step-000020.png",
        "step-000040.png",
        "step-000041.png",
    ]
    plain, *negated = sampler.asked
    assert len(negated) == 3, "pictures without a negative are made once"
    assert {picture.negative_prompt for picture in plain} == {""}
    for pictures in negated:
        assert [(p.prompt, p.seed) for p in pictures] == [(p.prompt, p.seed) for p in plain]
        assert {p.negative_prompt for p in pictures} == {"blurry"}


def test_steps_that_are_done_again_are_seen_once(tmp_path: Path) -> None:
    for done, steps in ((0, [1, 2, 3]), (2, [3, 4])):  # killed after step 3, with a checkpoint of step 2
        with Logbook(tmp_path, Painting(), ["a"], total=9, done=done) as log:
            for step in steps:
                log.step(step, {"reward": step + done / 10, "pictures_a_second": 1.0}, lambda prompts: [""])
    log_of_all = EventAccumulator(str(tmp_path / "logs"))
    log_of_all.Reload()
    events = [(event.step, round(event.value, 1)) for event in log_of_all.Scalars("rl/reward")]
    assert events == [(1, 1.0), (2, 2.0), (3, 3.2), (4, 4.2)]


def test_a_run_is_seen_and_learns_nothing_from_its_sheets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_policy(tmp_path, anchor=0.0)
    recipe = replace(GROUP, steps=2)
    rare = stage(model, tmp_path / "rare", recipe).run()
    shown = capsys.readouterr().err
    assert "pictures/s" in shown
    assert "reward" in shown
    monkeypatch.setattr("training.rl.logbook.STEPS_BETWEEN_SHEETS", 1)
    often = stage(model, tmp_path / "often", recipe).run()
    assert [step["reward"] for step in rare] == [step["reward"] for step in often]
    assert [step["pictures"] for step in rare] == [step["pictures"] for step in often]
    assert len(list((tmp_path / "rare" / "samples").iterdir())) == 2
    assert len(list((tmp_path / "often" / "samples").iterdir())) == 3
    log = EventAccumulator(str(tmp_path / "often" / "logs"))
    log.Reload()
    wanted = "reward aesthetics fidelity terms longest different repeats unseen entropy kl pictures pictures_a_second"
    assert {f"rl/{name}" for name in f"{wanted} share_not_pictures made_anew".split()} <= set(log.Tags()["scalars"])
    assert [event.step for event in log.Scalars("rl/reward")] == [1, 2]
    assert log.Tags()["images"] == ["samples"]
    assert all(0 < event.value < 1 for event in log.Scalars("rl/share_not_pictures"))


def test_a_sheet_shows_pictures_in_their_places_and_words_below() -> None:
    red, blue = torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)
    red[0], blue[2] = 1.0, 1.0
    long = "blurry, watermark, " * 40 + "supercalifragilistic" * 9
    page = np.asarray(
        sheet(["left", "right"], [("first", [Cell(red), Cell(blue, long)]), ("", [Cell(blue, "x", True), Cell(red)])])
    )
    is_red, is_blue = (page == [255, 0, 0]).all(2), (page == [0, 0, 255]).all(2)
    assert is_red.sum() == is_blue.sum() == 2 * SIDE * SIDE
    middle = page.shape[1] // 2
    assert is_red[:, :middle].sum() == is_blue[:, middle:].sum() == SIDE * SIDE
    assert np.argwhere(is_red[:, :middle])[:, 0].max() < np.argwhere(is_red[:, middle:])[:, 0].min()
    assert ((page == [46, 125, 79]).all(2)).any(), "the marked picture has a frame"


@pytest.mark.parametrize(("size", "shown"), [((48, 48), (192, 192)), ((512, 768), (192, 288)), ((1, 2), (192, 384))])
def test_pictures_are_shown_at_a_readable_size(size: tuple[int, int], shown: tuple[int, int]) -> None:
    width, height = size
    image: Image.Image = enlarged(torch.rand(3, height, width))
    assert image.size == shown
