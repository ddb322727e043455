"""`python -m training run --preset NAME --out DIR`: from your pictures to a model that learned from your checkpoint.

A preset is a YAML file, of `training/presets/` or your own: for each stage the options of its command, by the names
that they have there. What a stage's own presets say (`preset: group`) is not said again. A stage that is left out is
not run. Stages are steps (see `steps`): their commands are printed, and the same command goes on where it was.

    data build -> OUT/data    sft -> OUT/sft/model    rl -> OUT/rl/model    evaluate -> OUT/report
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from negopt.errors import DataError, OptionError
from negopt.locate import BUNDLED
from training.steps import Step, can_launch_several, run_all

FOLDER = Path(__file__).parent / "presets"
PICTURES, STAGES = "pictures", ("people", "data", "sft", "rl", "evaluate")
"""The options that rl and evaluate share, and the stages in their order."""
Options = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
    parser.add_argument("--preset", required=True, help=f"{names}, or a YAML file of your own")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run's folder")
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="what `data build` takes, or a data set that it made (without: what the preset makes, or else what "
        "`data build` takes without a source)",
    )
    parser.add_argument("--checkpoint", metavar="FILE", help="who paints: a .safetensors file, a folder, a Hub id")
    parser.add_argument("--workflow", metavar="FILE", help="comfyui: your workflow in API format")
    parser.add_argument("--server", nargs="+", metavar="URL", help="comfyui, a1111: one or several running servers")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="STAGE.OPTION=VALUE",
        help=f"another value, as in rl.steps=100 or {PICTURES}.vram=null; may be repeated",
    )
    parser.add_argument("--processes", type=int, default=1, help="GPUs that sft, rl and evaluate use (1)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")


def run(args: argparse.Namespace) -> int:
    if args.processes > 1 and not can_launch_several():
        raise OptionError("--processes: PyTorch starts several processes on Linux and macOS only; on Windows use WSL")
    given = {"sampler": args.checkpoint, "workflow": args.workflow, "server": args.server}
    preset = Preset.read(args.preset).changed(args.changes, {k: v for k, v in given.items() if v is not None})
    steps = preset.steps(args.out, args.data, args.processes)
    for step in steps:
        _check(step)
    if args.dry_run:
        print("\n".join(step.typed for step in steps))
        return 0
    run_all(steps, args.out, jobs=1, watched=True)
    model = next((args.out / stage / "model" for stage in ("rl", "sft") if stage in preset.stages), None)
    if model:
        export = f"python -m training export {model} --name {args.out.name}"
        print(f"into your ComfyUI: {export} --to comfyui DIR; into your web UI: --to a1111 DIR")
    return 0


@dataclass(frozen=True)
class Preset:
    """Options by stage."""

    pictures: Options
    stages: Mapping[str, Options]

    @classmethod
    def read(cls, name: str) -> Preset:
        """The preset of this name, or in this file; raises `OptionError` or `DataError`."""
        file = FOLDER / f"{name}.yaml"
        if not file.is_file():
            file = Path(name)
        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8"))
        except OSError as error:
            there = ", ".join(sorted(found.stem for found in FOLDER.glob("*.yaml")))
            raise OptionError(f"{name}: no preset and no file that can be read; there are {there}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DataError(f"{file}: not YAML ({' '.join(str(error).split())})") from error
        if not isinstance(values, dict) or not all(
            isinstance(part, dict) for k, part in values.items() if k != "about"
        ):
            raise DataError(f"{file}: a preset has a table of options for each stage")
        if unknown := sorted(set(values) - {"about", PICTURES, *STAGES}):
            raise DataError(f"{file}: no stage is called {unknown[0]!r}; there are {', '.join((PICTURES, *STAGES))}")
        return cls(values.get(PICTURES, {}), {name: values[name] for name in STAGES if name in values})

    def changed(self, changes: Sequence[str], pictures: Mapping[str, Any]) -> Preset:
        """With "STAGE.OPTION=VALUE" for each change, and these options for the pictures; raises `OptionError`."""
        tables = {PICTURES: {**self.pictures, **pictures}, **{name: dict(own) for name, own in self.stages.items()}}
        for change in changes:
            place, equals, value = change.partition("=")
            stage, _, option = place.partition(".")
            if not equals or not option or stage not in tables:
                raise OptionError(f"--set takes STAGE.OPTION=VALUE with a stage among {', '.join(tables)}: {change!r}")
            try:
                tables[stage][option.removeprefix("--")] = yaml.safe_load(value)
            except yaml.YAMLError as error:
                raise OptionError(f"--set {change}: the value is not YAML") from error
        return Preset(tables.pop(PICTURES), tables)

    def steps(self, out: Path, sources: Sequence[str], processes: int = 1) -> list[Step]:
        """The commands, each with what those before it made; raises `OptionError` for what is missing."""
        if "rl" in self.stages or "evaluate" in self.stages:
            _check_pictures(self.pictures)
        pairs, data = out / "pairs.jsonl", out / "data"
        if len(sources) == 1 and (Path(sources[0]) / "build.json").is_file():
            data, skipped = Path(sources[0]), {"people", "data"}
        else:
            skipped = {"people"} if sources else set()
            sources = sources or ([str(pairs)] if "people" in self.stages else [])
        models = {stage: out / stage / "model" for stage in ("sft", "rl") if stage in self.stages}
        compared = [f"{name}={models[stage]}" for stage, name in (("sft", "SFT"), ("rl", "SFT+RL")) if stage in models]
        # what each command is told by default; a preset may say otherwise
        wired: dict[str, tuple[tuple[str, ...], Options]] = {
            "people": (("miniature", "people"), {"out": pairs}),
            "data": (("data", "build", *sources), {"out": data}),
            "sft": (("sft",), {"data": data, "out": out / "sft"}),
            "rl": (
                ("rl",),
                {"model": models.get("sft", BUNDLED.name), "prompts": data, "out": out / "rl", **self.pictures},
            ),
            "evaluate": (("evaluate",), {"data": data, "out": out / "report", "models": compared, **self.pictures}),
        }
        steps: list[Step] = []
        for stage in STAGES:
            if stage in self.stages and stage not in skipped:
                command, options = wired[stage]
                after = (steps[-1].name,) if steps else ()
                count = processes if stage in ("sft", "rl", "evaluate") else 1
                steps.append(Step(stage, (*command, *_flags({**options, **self.stages[stage]})), after, count))
        return steps


def _flags(options: Mapping[str, Any]) -> list[str]:
    """As on a command line: {"vram": 11, "server": [a, b], "compile": True} is --vram 11 --server a b --compile."""
    words: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        values = [] if value is True else value if isinstance(value, list) else [value]
        words += [f"--{name}", *map(str, values)]
    return words


def _check_pictures(pictures: Mapping[str, Any]) -> None:
    """What can be known before hours of other stages: raises `OptionError`."""
    sampler = pictures.get("sampler")
    if sampler is None:
        raise OptionError("this preset needs --checkpoint: a .safetensors file, a diffusers folder or a Hub id")
    if sampler == "comfyui" and "workflow" not in pictures:
        raise OptionError("this preset needs --workflow FILE: your workflow, exported in API format")
    if str(sampler).endswith(".ckpt"):
        raise OptionError(f"{sampler}: a .ckpt is never opened, since it can run code; give a .safetensors file")
    files = [str(value) for name, value in pictures.items() if name in ("sampler", "workflow", "settings")]
    for file in files:
        if file.endswith((".safetensors", ".json", ".png")) and not Path(file).is_file():
            raise OptionError(f"{file}: no such file")


def _check(step: Step) -> None:
    """Options that a command does not have end the run (exit code 2) before it begins."""
    from training.__main__ import COMMANDS

    parser = argparse.ArgumentParser(prog=f"python -m training {step.command[0]}")
    importlib.import_module(COMMANDS[step.command[0]][0]).add_arguments(parser)
    parser.parse_args(step.command[1:])
