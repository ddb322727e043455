"""The RL command on a whole world of real parts, at tiny sizes: pipeline, judges, policy."""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import negopt
from negopt.errors import OptionError
from tests.preferring import give_preferences
from tests.tiny_policy import PROMPTS, tiny_policy
from training.__main__ import main
from training.data.dataset import load_split
from training.evaluation.cli import ways_told
from training.evaluation.kept import TRIED_AGAIN
from training.miniature.build import Build
from training.miniature.plan import TINY
from training.rl.cli import _prompts, add_arguments, recipe_of
from training.rl.recipe import PRESETS, Recipe
from training.samplers import Picture
from training.samplers.in_process import DiffusersSampler


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world")
    Build(out, TINY).run()
    return out


@pytest.fixture(scope="module")
def sampler(world: Path) -> DiffusersSampler:
    return DiffusersSampler.open(world / "checkpoint", steps=2, guidance=3.0, batch=3)


PICTURES = [Picture("a red house", "blurry", 1), Picture("a cat", "", 2), Picture("a cat", "text", 2)]


def test_a_picture_does_not_depend_on_what_is_made_with_it(sampler: DiffusersSampler) -> None:
    together = sampler.sample([*PICTURES, *PICTURES[::-1]])
    assert together.shape[1] == 3
    assert 0 <= together.min() <= together.max() <= 1
    for number, picture in enumerate(PICTURES):
        torch.testing.assert_close(sampler.sample([picture])[0], together[number], atol=2e-3, rtol=0)
        torch.testing.assert_close(together[5 - number], together[number], atol=2e-3, rtol=0)
    assert (together[0] - together[1]).abs().max() > 0.05


def test_the_negative_prompt_and_the_seed_decide(sampler: DiffusersSampler) -> None:
    plain, negated, reseeded = sampler.sample(
        [Picture("a cat", "", 2), Picture("a cat", "blurry, text, cropped", 2), Picture("a cat", "", 3)]
    )
    assert (plain - negated).abs().max() > 1e-4
    assert (plain - reseeded).abs().max() > 0.05


def test_the_sampler_says_what_it_is(sampler: DiffusersSampler) -> None:
    assert json.loads(json.dumps(dict(sampler.description)))["steps"] == 2


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(negopt.ModelError, match=r"Stable Diffusion checkpoint"):
            DiffusersSampler.open(folder)


def arguments(world: Path, tmp_path: Path, *more: str) -> list[str]:
    model = tmp_path / "policy"
    if not model.exists():
        model.mkdir()
        tiny_policy(model, anchor=0.0)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS) + "\n\n")
    given: dict[str, Any] = {
        "--model": model / "model",
        "--sampler": f"miniature:{world}",
        "--prompts": prompts,
        "--out": tmp_path / "out",
    }
    return ["rl", *(str(part) for pair in given.items() for part in pair), *more]


def test_the_command_runs_from_sft_model_to_model(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = "--steps 2 --prompts-per-step 2 --copies 2 --sampler-steps 1 --max-terms 3".split()
    assert main(arguments(world, tmp_path, *sizes, "--reward", "aesthetics=1,fidelity=0.5")) == 0
    assert "pictures" in capsys.readouterr().out
    assert negopt.load(tmp_path / "out" / "model").generate("a cat", max_terms=3).terms
    state = json.loads((tmp_path / "out" / "checkpoint" / "state.json").read_text())
    assert state["step"] == 2
    assert {"aesthetics", "alignment", "fidelity", "kl", "reward"} <= set(state["history"][0])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--reward", "beauty=1"], "no judge is called 'beauty'"),
        (["--copies", "1"], "at least 2 copies"),
        (["--prompts-per-step", "9"], "fewer than the 9"),
        (["--sampler", "miniature:/no/such/world"], "has checkpoint/ and judges/"),
        (["--judges", "no-such"], "there are no judges called"),
        (["--server", "http://127.0.0.1:1"], "--server is for comfyui or a1111"),
        (["--prompts", "/no/such/file"], "cannot be read"),
    ],
)
def test_what_is_wrong_is_one_clear_line(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(arguments(world, tmp_path, *more)) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error


def test_prompts_are_read_in_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    for start in (b"", b"\xef\xbb\xbf"):
        file.write_bytes(start + "a café\r\n\nа дом\n".encode())
        assert _prompts(file) == ["a café", "а дом"]


def test_a_prompt_that_several_wrote_is_learned_from_as_often_as_any_other(tmp_path: Path) -> None:
    pairs = [
        {"prompt": f"a boat, number {n % 40}", "negative_prompt": f"fog, rust {n}, oars", "page": f"p{n}"}
        for n in range(120)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    command = f"data build {tmp_path / 'pairs.jsonl'} --out {tmp_path / 'data'} --near 1 --cap-per-negative 0 --quiet"
    assert main([*command.split(), "--validation", "0.1", "--test", "0.1"]) == 0
    rows = list(load_split(tmp_path / "data", "train")["prompt"])
    assert _prompts(tmp_path / "data") == list(dict.fromkeys(rows))
    assert len(_prompts(tmp_path / "data")) < len(rows)


def test_prompts_that_cannot_be_read_are_named_before_anything_is_loaded(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments(world, tmp_path, "--sampler", "miniature:/no/such/world")
    file = tmp_path / "prompts.txt"
    file.write_bytes("a café".encode("latin-1"))
    assert main(given) == 1
    assert capsys.readouterr().err == f"error: {file}: not a text file in UTF-8 (byte 5); save it as one\n"


def recipe(text: str) -> Recipe:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return recipe_of(
        parser.parse_args(["--model", "m", "--sampler", "s", "--prompts", "p", "--out", "o", *text.split()])
    )


def test_an_algorithm_has_its_preset() -> None:
    assert recipe("") == recipe("--algorithm group") == PRESETS["group"]
    assert recipe("--algorithm critic") == recipe("--preset critic") == PRESETS["critic"]
    assert recipe("--algorithm ppo") == recipe("--preset paper") == PRESETS["paper"]
    assert recipe("--preset miniature-ppo --algorithm ppo").algorithm == "ppo"
    with pytest.raises(OptionError, match="--preset miniature is for --algorithm critic, not ppo"):
        recipe("--preset miniature --algorithm ppo")


def test_the_evaluation_writes_its_page(
    world: Path,
    tmp_path: Path,
    data_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, fewer in (("TERMS", 3), ("LONGEST", 2), ("LISTS", 2), ("ROUNDS", (1, 2))):
        monkeypatch.setattr(f"training.evaluation.approaches.{name}", fewer)
    monkeypatch.setattr("training.evaluation.cli.TERMS", 3)
    arguments(world, tmp_path)
    out = tmp_path / "report"
    command = f"evaluate --sampler miniature:{world} --data {data_folder} --out {out} --list-prompts 2 --search 2"
    command += f" --prompts 3 --seeds 1 --sampler-steps 1 --max-terms 3 --models SFT={tmp_path / 'policy' / 'model'}"
    give_preferences(tmp_path / "policy" / "model", ["aesthetics", "fidelity"])
    command += " --prefer SFT SFT:fidelity=1,aesthetics=0.5"
    assert main([*command.split(), "--kinds", "of one=a"]) == 0
    told = ["SFT, all aesthetics", "SFT, all fidelity", "SFT, fidelity 1, aesthetics 0.5"]
    names = ["no negative", "best fixed list", "people", "nearest neighbour", "SFT", *told]
    page = (out / "report.html").read_text(encoding="utf-8")
    for name in [*names, "search for each prompt"]:
        assert f"<td>{name}</td>" in page
    assert "http" not in page
    figures = "inception score,aesthetics,alignment,fidelity,defects,reward,wins against none".split(",")
    for file, approaches in (("table.csv", names), ("ceiling.csv", [*names, "search for each prompt"])):
        rows = list(csv.DictReader((out / file).open()))
        assert [(row["approach"], row["figure"]) for row in rows] == [(a, f) for a in approaches for f in figures]
    rows = list(csv.DictReader((out / "gains.csv").open()))
    judged = ["aesthetics", "alignment", "fidelity", "defects", "reward"]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    assert kinds[0] == "all prompts"
    assert "of one" in kinds
    assert [(row["kind"], row["approach"], row["figure"]) for row in rows] == [
        (kind, name, figure) for kind in kinds for name in names[1:] for figure in judged
    ]
    report = json.loads((out / "report.json").read_text())
    assert [comparison["prompts"] for comparison in report["comparisons"]] == [3, 2]
    assert len(report["comparisons"][0]["rates"]["defects"]["people"]) == 16
    assert report["facts"]["pictures for each prompt"] == 1
    assert {name: len(negatives) for name, negatives in report["negatives"].items()} == {
        **dict.fromkeys(names, 3),
        "search for each prompt": 2,
    }
    for name in ("plot.png", "pictures.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert "report.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("RL", "--prefer RL: no model of --models"),
        ("RL:fidelity=1", "--prefer RL:fidelity=1: no model of --models"),
        ("plain", "by that name that has preferences"),
        ("SFT:beauty=1", "no metric is called 'beauty'"),
        ("SFT:fidelity", "'fidelity' is not METRIC=NUMBER"),
        ("SFT:fidelity=0", "at least one weight must be above 0"),
    ],
)
def test_what_no_model_can_be_told_is_refused(tmp_path: Path, given: str, says: str) -> None:
    folder = tiny_policy(tmp_path, anchor=0.0)
    models = {"plain": negopt.load(folder)}
    give_preferences(folder, ["aesthetics", "fidelity"])
    models["SFT"] = negopt.load(folder)
    with pytest.raises(OptionError, match=re.escape(says)):
        ways_told(given, models)


def test_preferences_are_measured_and_what_was_seen_is_kept(
    world: Path,
    tmp_path: Path,
    data_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments(world, tmp_path)
    model, out = tmp_path / "policy" / "model", tmp_path / "curves"
    give_preferences(model, ["aesthetics", "fidelity"])
    command = f"preference --sampler miniature:{world} --data {data_folder} --model {model} --out {out}"
    command += f" --prompts 2 --seeds 2 --sampler-steps 1 --max-terms 3 --before {model} --specialists fidelity={model}"
    assert main(command.split()) == 0
    assert "kept of the specialist's gain" in capsys.readouterr().out
    curves = (out / "curves.csv").read_bytes()
    sample, made = DiffusersSampler.sample, list[Picture]()

    def counted(sampler: DiffusersSampler, pictures: Sequence[Picture]) -> torch.Tensor:
        made.extend(pictures)
        return sample(sampler, pictures)

    monkeypatch.setattr(DiffusersSampler, "sample", counted)
    assert main(command.split()) == 0
    assert (out / "curves.csv").read_bytes() == curves
    assert len(made) <= TRIED_AGAIN
