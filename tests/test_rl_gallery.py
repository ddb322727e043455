"""Pictures are made once, looked at once, and remembered across a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch

from negopt.errors import ModelError
from training.rewards import Aesthetics, WeightedReward
from training.rl.gallery import Gallery
from training.samplers import Picture


class Counting:
    """Makes plain pictures, as bright as the negative prompt is long, and counts them."""

    def __init__(self) -> None:
        self.asked: list[Picture] = []

    def sample(self, pictures: Sequence[Picture]) -> torch.Tensor:
        self.asked += pictures
        return torch.stack([torch.full((3, 2, 2), len(picture.negative_prompt) / 100) for picture in pictures])

    @property
    def description(self) -> Mapping[str, Any]:
        return {"checkpoint": "none"}


def gallery() -> tuple[Gallery, Counting]:
    sampler = Counting()
    judge = Aesthetics(lambda images: images.mean((1, 2, 3)).unsqueeze(1), lambda embedding: embedding[:, 0])
    return Gallery(sampler, WeightedReward({"aesthetics": judge}, {"aesthetics": 1.0})), sampler


WANTED = [Picture("a", "xx", 1), Picture("a", "xxx", 1), Picture("a", "xx", 1), Picture("a", "xx", 2)]


def test_each_picture_is_made_once_and_answers_are_in_order() -> None:
    made, sampler = gallery()
    observed = made.observe(WANTED)["aesthetics"].squeeze(1)
    torch.testing.assert_close(observed, torch.tensor([0.02, 0.03, 0.02, 0.02]))
    assert sampler.asked == [WANTED[0], WANTED[1], WANTED[3]]
    assert torch.equal(made.observe(WANTED[::-1])["aesthetics"].squeeze(1), observed.flip(0))
    assert (len(sampler.asked), made.made) == (3, 3)


def test_judges_that_run_out_of_memory_say_so_as_a_run_can_be_ended_with() -> None:
    def short_of_memory(images: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    judge = Aesthetics(short_of_memory, lambda embedding: embedding[:, 0])
    made = Gallery(Counting(), WeightedReward({"aesthetics": judge}, {"aesthetics": 1.0}))
    with pytest.raises(ModelError, match="too little for the judges"):
        made.observe(WANTED)


def test_it_forgets_the_oldest() -> None:
    made, sampler = gallery()
    made.observe(WANTED)
    made.forget(1)
    made.observe([WANTED[3]])
    assert len(sampler.asked) == 3
    made.observe([WANTED[0]])
    assert len(sampler.asked) == 4


def test_it_remembers_across_a_checkpoint() -> None:
    made, _ = gallery()
    observed = made.observe(WANTED)
    fresh, sampler = gallery()
    fresh.load_state_dict(made.state_dict())
    assert torch.equal(fresh.observe(WANTED)["aesthetics"], observed["aesthetics"])
    assert (sampler.asked, fresh.made) == ([], 3)
    empty, _ = gallery()
    empty.load_state_dict(gallery()[0].state_dict())
    assert empty.observe(WANTED[:1])["aesthetics"].shape == (1, 1)


def test_a_bar_shows_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.rl.gallery.AT_ONCE", 2)
    made, sampler = gallery()
    plain, _ = gallery()
    assert torch.equal(made.observe(WANTED, "looking")["aesthetics"], plain.observe(WANTED)["aesthetics"])
    assert sampler.asked == [WANTED[0], WANTED[1], WANTED[3]]
    shown = capsys.readouterr().err
    assert "looking" in shown
    assert "0/3" in shown, "three pictures are to be made"
