"""What do algorithms learn from how many pictures? Unless told otherwise: does `group` learn from a fifth what `ppo`
learns from all?

    python -m benchmarks.rl --sampler miniature --model SFT/model --prompts DATA --rates group=0.001 --out DIR
    python -m benchmarks.rl --compare group=1 critic=1 ...

All learn from the same model, prompts and judges, once for each seed; each is given its share of the pictures, those
of its warm-up among them. Then the models write for the same unseen prompts, and their pictures begin in the same
noise.

Runs are processes with one thread each, as many side by side as the machine has cores; one that was killed
goes on from its last checkpoint. DIR gets figures.json and curves.png.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import negopt
from benchmarks.measure import machine
from training.atomic import write_text
from training.data.dataset import load_judged, load_prompts
from training.evaluation.approaches import written
from training.evaluation.intervals import mean_interval
from training.evaluation.outcome import NONE, Outcome, judge
from training.rl.recipe import PRESETS, Recipe
from training.world import METRICS, add_world_arguments, open_world

WEIGHTS = dict.fromkeys(METRICS, 1.0)
RECIPES = {"ppo": "miniature-ppo", "group": "miniature-group", "critic": "miniature"}
"""The preset of each algorithm."""
COLOURS = {"ppo": "#b5651d", "group": "#35689f", "critic": "#3f8f4f"}
SEEDS = 2
"""Pictures of each unseen prompt."""
BEGUN_AS = "what all began as"
SMOOTHED = 512
"""Draws over which a reward is averaged: their mean is known to about 0.08."""


@dataclass(frozen=True)
class Run:
    """One algorithm with one seed."""

    algorithm: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.algorithm}-{self.seed}"


@dataclass(frozen=True)
class Curve:
    """What a run had earned by how many pictures: the mean over the last `SMOOTHED` draws."""

    pictures: Sequence[int]
    reward: Sequence[float]


def main(argv: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    runs = [Run(algorithm, seed) for seed in range(args.seeds) for algorithm in args.compare]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        learned = dict(zip(runs, pool.map(partial(_learn, args), runs), strict=True))
    units = learned[runs[0]]["units"]
    curves = {run: curve_of(result["history"], units, result["draws"]) for run, result in learned.items()}
    _plot(curves, args.out / "curves.png")
    rows = figures_of(_compared(args, runs), {run: result["made"] for run, result in learned.items()})
    write_text(args.out / "figures.json", json.dumps({"rows": rows, "machine": machine()}, indent=1) + "\n")
    for row in rows:
        print(line_of(row))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rl", description=(__doc__ or "").partition("\n\n")[0])
    add_world_arguments(parser)
    parser.add_argument("--model", type=Path, required=True, help="the SFT model's folder")
    parser.add_argument("--prompts", type=Path, required=True, help="a data set folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=8_000, help="for a run with a share of 1 (8000)")
    parser.add_argument(
        "--compare",
        nargs="+",
        action=ByAlgorithm,
        default={"ppo": 1.0, "group": 0.2},
        metavar="ALGORITHM=SHARE",
        help="the share of the pictures that each is given, first what others are compared with (ppo=1 group=0.2)",
    )
    parser.add_argument(
        "--rates",
        nargs="+",
        action=ByAlgorithm,
        default={},
        metavar="ALGORITHM=RATE",
        help="other learning rates than those of the presets: few steps have to be larger ones",
    )
    parser.add_argument("--unseen", type=int, default=150, help="prompts that the models are compared on (150)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    return parser


class ByAlgorithm(argparse.Action):
    """Numbers above 0 for algorithms, each as NAME=NUMBER."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, given: Any, option: str | None = None) -> None:
        numbers = {}
        for text in given:
            name, _, number = text.partition("=")
            try:
                numbers[name] = float(number)
            except ValueError:
                numbers[name] = 0.0
            if name not in RECIPES or not 0 < numbers[name] < float("inf"):
                parser.error(f"{option} {text}: must be one of {', '.join(RECIPES)}, then = and a number above 0")
        setattr(namespace, self.dest, numbers)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _learn(args: argparse.Namespace, run: Run) -> dict[str, Any]:
    """The run's history, the draws of a step, and the mean and spread of each judge's scores in its warm-up."""
    from training.rl.stage import Stage

    recipe = PRESETS[RECIPES[run.algorithm]]
    if rate := args.rates.get(run.algorithm):
        recipe = replace(recipe, learning=replace(recipe.learning, learning_rate=rate))
    draws = recipe.prompts * recipe.copies
    steps = max(1, int(args.pictures * args.compare[run.algorithm]) // draws)
    recipe = replace(recipe, seed=run.seed, steps=steps, weights=WEIGHTS)
    world = open_world(args)
    gallery = world.gallery(WEIGHTS)
    history = Stage(args.model, load_prompts(args.prompts), gallery, recipe, args.out / run.name, world.read).run()
    return {"history": history, "units": gallery.reward.normal, "made": gallery.made, "draws": draws}


def _compared(args: argparse.Namespace, runs: Sequence[Run]) -> dict[str, Outcome]:
    """What all models' negatives make of the same unseen prompts, in units of the pictures without a negative."""
    prompts = list(load_judged(args.prompts, args.unseen)["prompt"])
    models = {BEGUN_AS: args.model, **{run.name: args.out / run.name / "model" for run in runs}}
    approaches: dict[str, Sequence[str]] = {NONE: [""] * len(prompts)}
    for name, model in models.items():
        approaches[name] = written(negopt.load(model), prompts, Recipe.max_terms)
    return judge(open_world(args).gallery(WEIGHTS), prompts, approaches, SEEDS)


def curve_of(history: Sequence[Mapping[str, float]], units: Mapping[str, tuple[float, float]], draws: int) -> Curve:
    """The reward of a history's steps, each of so many draws, in these units."""
    paid = [sum((step[name] - mean) / spread for name, (mean, spread) in units.items()) for step in history]
    last = max(1, SMOOTHED // draws)
    smooth = [statistics.fmean(paid[max(0, end - last) : end]) for end in range(1, len(paid) + 1)]
    return Curve([int(step["pictures"]) for step in history][last - 1 :], smooth[last - 1 :])


def figures_of(outcomes: Mapping[str, Outcome], made: Mapping[Run, int]) -> list[dict[str, Any]]:
    """For each seed the gain in reward over what all began as, and the pictures made, of each algorithm; and what each
    is above the first, with its interval over prompts."""
    rows, begun = [], outcomes[BEGUN_AS].reward
    for seed in sorted({run.seed for run in made}):
        first, *others = (run for run in made if run.seed == seed)
        row: dict[str, Any] = {"seed": seed, "above": {}}
        for run in (first, *others):
            row[run.algorithm] = ((outcomes[run.name].reward - begun).mean().item(), made[run])
        for run in others:
            row["above"][run.algorithm] = tuple(mean_interval(outcomes[run.name].reward - outcomes[first.name].reward))
        rows.append(row)
    return rows


def line_of(row: Mapping[str, Any]) -> str:
    """A seed's figures, to read."""
    first, *others = (name for name in row if name in RECIPES)
    said = [f"{name} {row[name][0]:+.3f} with {row[name][1]:,} pictures" for name in (first, *others)]
    for name in others:
        mean, low, high = row["above"][name]
        said.append(f"{name} above {first} by {mean:+.3f} ({low:+.3f} to {high:+.3f})")
    return f"seed {row['seed']}: {'; '.join(said)}"


def _plot(curves: Mapping[Run, Curve], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=(7, 4))
    for run, curve in curves.items():
        label = run.algorithm if run.seed == 0 else None
        panel.plot(curve.pictures, curve.reward, color=COLOURS[run.algorithm], label=label, alpha=0.8)
    panel.set(xlabel="pictures made", ylabel="reward of the last 512 draws")
    panel.grid(alpha=0.3)
    panel.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
