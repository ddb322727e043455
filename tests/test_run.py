"""`run`: presets are commands that there are, in their order, with what was changed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from training.__main__ import COMMANDS, main
from training.rl.cli import add_arguments
from training.run import FOLDER, Preset, _check
from training.steps import Step

PRESETS = sorted(file.stem for file in FOLDER.glob("*.yaml"))
FOUND = {"checkpoint": "my.safetensors", "workflow": "mine.json"}


def steps_of(name: str, tmp_path: Path, *changes: str, **given: Any) -> list[Step]:
    for file in FOUND.values():
        (tmp_path / file).touch()
    preset = Preset.read(name)
    files: dict[str, Any] = {"workflow": str(tmp_path / "mine.json")} if name == "comfyui" else {}
    if "sampler" not in preset.pictures:
        files["sampler"] = str(tmp_path / "my.safetensors")
    return preset.changed(changes, files).steps(tmp_path / "out", **{"sources": ["mypictures"], **given})


def option(step: Step, name: str) -> str:
    return step.command[step.command.index(f"--{name}") + 1]


def test_there_are_the_presets_that_the_guide_names() -> None:
    assert PRESETS == ["a1111", "comfyui", "miniature", "paper", "sd15-12gb", "sdxl-24gb"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_commands_that_are_understood(name: str, tmp_path: Path) -> None:
    steps = steps_of(name, tmp_path)
    assert [step.name for step in steps] == ["data", "sft", "rl", "evaluate"]
    for step, before in zip(steps[1:], steps, strict=False):
        assert step.after == (before.name,)
    for step in steps:
        _check(step)


def test_each_stage_takes_what_the_one_before_made(tmp_path: Path) -> None:
    data, sft, rl, evaluate = steps_of("sd15-12gb", tmp_path)
    out = tmp_path / "out"
    assert data.command[:3] == ("data", "build", "mypictures")
    assert option(data, "out") == option(sft, "data") == option(rl, "prompts") == option(evaluate, "data")
    assert option(rl, "model") == str(out / "sft" / "model")
    assert f"SFT+RL={out / 'rl' / 'model'}" in evaluate.command
    assert option(rl, "sampler") == option(evaluate, "sampler") == str(tmp_path / "my.safetensors")
    assert option(rl, "vram") == "11"


def test_the_miniature_needs_nothing_and_people_stand_back_for_data(tmp_path: Path) -> None:
    people, data, *_ = steps_of("miniature", tmp_path, sources=[])
    assert people.command[:2] == ("miniature", "people")
    assert option(people, "out") == data.command[2]
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "build.json").write_text("{}")
    sft, *_ = steps_of("miniature", tmp_path, sources=[str(tmp_path / "set")])
    assert (sft.name, option(sft, "data")) == ("sft", str(tmp_path / "set"))


def test_values_are_changed_from_the_command_line(tmp_path: Path) -> None:
    steps = steps_of("sd15-12gb", tmp_path, "rl.steps=7", "pictures.vram=5", "rl.model=mine", processes=2)
    _, sft, rl, evaluate = steps
    assert (option(rl, "steps"), option(rl, "vram"), option(rl, "model")) == ("7", "5", "mine")
    assert option(evaluate, "vram") == "5"
    assert rl.typed.startswith("torchrun --standalone --nproc_per_node 2 -m training rl ")
    assert sft.processes == 2
    assert evaluate.typed.startswith("torchrun --standalone --nproc_per_node 2 -m training evaluate ")


def test_what_is_printed_can_be_typed_on_windows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step("sft", ("sft", "--data", "my data", "--out", "o"))
    assert step.typed == "python -m training sft --data 'my data' --out o"
    monkeypatch.setattr("sys.platform", "win32")
    assert step.typed == 'python -m training sft --data "my data" --out o'


def test_an_option_is_left_out_or_given_without_a_value(tmp_path: Path) -> None:
    _, _, rl, _ = steps_of("sd15-12gb", tmp_path, "pictures.vram=null", "rl.prefer-any=true", "rl.seed=[1, 2]")
    assert "--vram" not in rl.command
    assert rl.command[-4:] == ("--prefer-any", "--seed", "1", "2")


def test_a_preset_may_name_several_loras(tmp_path: Path) -> None:
    _, _, rl, _ = steps_of("sd15-12gb", tmp_path, "pictures.lora=[ink.safetensors:0.8, b.safetensors]")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    wanted = [(Path("ink.safetensors"), 0.8), (Path("b.safetensors"), 1.0)]
    assert parser.parse_args(rl.command[1:]).lora == wanted
    typed = "--model m --sampler s --prompts p --out o --lora ink.safetensors:0.8 --lora b.safetensors"
    assert parser.parse_args(typed.split()).lora == wanted


def test_a_preset_may_name_embeddings(tmp_path: Path) -> None:
    _, _, rl, evaluate = steps_of("sd15-12gb", tmp_path, "pictures.embedding=[embeddings, Easy.safetensors]")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert parser.parse_args(rl.command[1:]).embedding == [Path("embeddings"), Path("Easy.safetensors")]
    assert "--embedding" in evaluate.command


def test_a_preset_of_ones_own_may_leave_stages_out(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("pictures: {sampler: a1111, server: ['http://a', 'http://b']}\nrl: {prefer-any: true, node: null}\n")
    (rl,) = Preset.read(str(own)).steps(tmp_path, ["x"])
    assert option(rl, "model") == "negopt-mini"
    assert rl.command[-6:] == ("--sampler", "a1111", "--server", "http://a", "http://b", "--prefer-any")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--preset", "nothing"], "there are a1111, comfyui, miniature, paper"),
        (["--preset", "sd15-12gb"], "needs --checkpoint"),
        (["--preset", "sd15-12gb", "--checkpoint", "no.safetensors"], "no.safetensors: no such file"),
        (["--preset", "sd15-12gb", "--checkpoint", "old.ckpt"], "old.ckpt: a .ckpt is never opened"),
        (["--preset", "comfyui"], "--workflow"),
        (["--preset", "a1111", "--set", "pictures.settings=no.json"], "no.json: no such file"),
        (["--preset", "miniature", "--set", "rl=3"], "STAGE.OPTION=VALUE"),
        (["--preset", "miniature", "--set", "taste.x=3"], "a stage among"),
        (["--preset", "miniature", "--set", "rl.steps={"], "not YAML"),
    ],
)
def test_what_is_wrong_is_one_clear_line(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["rl: 3", "- rl", "taste: {}", "rl: {"])
def test_a_file_that_is_no_preset_is_named(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.yaml").write_text(text)
    assert main(["run", "--out", str(tmp_path / "out"), "--preset", str(tmp_path / "own.yaml")]) == 1
    assert "own.yaml: " in capsys.readouterr().err


def test_an_option_that_a_command_lacks_ends_it_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--out", str(tmp_path / "out"), "--preset", "miniature", "--set", "rl.taste=3"])
    assert ended.value.code == 2
    assert not (tmp_path / "out").exists()


def test_the_commands_can_be_seen_beforehand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--preset", "miniature", "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[3] for line in printed] == ["miniature", "data", "sft", "rl", "evaluate"]
    assert not (tmp_path / "out").exists()


def test_a_library_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "needy.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "sft", ("needy", ""))
    assert main(["sft"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: no_such_library is not installed; ")
    assert 'pip install -e ".[train,judges]"' in said


def test_windows_has_one_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--preset", "miniature", "--out", "runs", "--processes", "2", "--dry-run"]
    assert main(command) == 0
    monkeypatch.setattr("sys.platform", "win32")
    assert main(command) == 2
    assert "--processes" in capsys.readouterr().err
