"""What the benchmark of few denoising steps makes of differences, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.sketches import _parser, main, pictures_of, told, worlds_of
from training.samplers import in_process


def test_a_pair_is_compared_with_what_other_noises_show() -> None:
    wanted = torch.tensor([[1.0, 3.0], [-2.0, 2.0]])
    found = torch.tensor([[2.0, 1.0], [1.0, -1.0]])
    # what the other noise shows: 3, 1, 2, -2; beside 2, 1, 1, -1
    expected = (6 + 1 + 2 + 2) / (7 * 18) ** 0.5
    assert told(found, wanted, torch.arange(2)) == pytest.approx(expected)
    assert told(found, wanted, torch.tensor([0, 0])) == pytest.approx((6 + 1) / (5 * 10) ** 0.5)
    steady = torch.tensor([[1.0, 1.0], [-3.0, -3.0]])
    assert told(steady, steady, torch.arange(2)) == pytest.approx(1)
    assert told(-steady, steady, torch.arange(2)) == pytest.approx(-1)


def test_both_negatives_of_a_pair_have_the_same_noises_and_no_other_pair_has_them() -> None:
    one, other = (pictures_of(row, "a face", "blurry", "text", 3) for row in (0, 1))
    assert [(p.negative_prompt, p.seed) for p in one] == [
        ("blurry", 0), ("blurry", 1), ("blurry", 2), ("text", 0), ("text", 1), ("text", 2)
    ]  # fmt: skip
    assert not {p.seed for p in one} & {p.seed for p in other}


@pytest.mark.parametrize(
    "wrong", [["--noises", "1"], ["--steps", "8", "0"], ["--pairs", "0"], ["--sampler-steps", "4"]]
)
def test_what_makes_no_comparison_is_refused_in_one_line(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--sampler", "miniature", "--model", "m", "--prompts", "p", *wrong])
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err.splitlines()[-1]


def test_all_numbers_of_steps_share_one_checkpoint_and_its_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    open_pipeline = in_process.open_pipeline

    def counted(*args: Any, **settings: Any) -> Any:
        opened.append(args)
        return open_pipeline(*args, **settings)

    monkeypatch.setattr(in_process, "open_pipeline", counted)
    command = "--sampler miniature --model m --prompts p --steps 8 5 4"
    worlds = list(worlds_of(_parser().parse_args(command.split())))
    assert len(opened) == 1
    assert [world.sampler.description["steps"] for world in worlds] == [8, 5, 4]
    first, second, _ = (world.gallery({"fidelity": 1.0}).reward.judges["fidelity"] for world in worlds)
    first.learn(torch.ones(1, 3))
    assert len(first.state_dict()["last"]) == 1
    assert len(second.state_dict()["last"]) == 0


def test_a_data_set_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sampler", "miniature", "--model", "m", "--prompts", str(tmp_path / "none")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "none") in line
