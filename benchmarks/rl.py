"""How many pictures do `group` and `ppo` need for the same reward?

    python -m benchmarks.rl --sampler miniature --model SFT/model --prompts DATA --out DIR

Both learn from the same model, prompts and judges, once for each seed. Asked is after how many pictures
`group` has for the first time the reward at which `ppo` ends; the reward being that of the last few hundred
draws, in one unit for all runs, and the pictures all that were made, those of the warm-up among them.

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

from training.atomic import write_text
from training.world import METRICS, add_world_arguments

WEIGHTS = dict.fromkeys(METRICS, 1.0)
SMOOTHED = 512
"""Draws over which a reward is averaged: their mean is known to about 0.08."""
DRAWS = 64
"""Pictures that a step asks for, in both algorithms; in `group` half of them are the policy's own draws."""


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

    def reaches(self, reward: float) -> int | None:
        """The pictures made when it first had this reward."""
        return next((made for made, has in zip(self.pictures, self.reward, strict=True) if has >= reward), None)


def main(argv: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    runs = [Run(algorithm, seed) for seed in range(args.seeds) for algorithm in ("ppo", "group")]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        learned = dict(zip(runs, pool.map(partial(_learn, args), runs), strict=True))
    units = learned[runs[0]]["units"]
    curves = {run: curve_of(result["history"], units, result["draws"]) for run, result in learned.items()}
    figures = figures_of(curves)
    write_text(args.out / "figures.json", json.dumps(figures, indent=1) + "\n")
    _plot(curves, args.out / "curves.png")
    for row in figures["seeds"]:
        print("seed {seed}: ppo ends at {reward:.3f} with {ppo:,} pictures; group is there with {group}".format(**row))
    print(f"share of the pictures, median: {figures['median_share']}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rl", description=(__doc__ or "").splitlines()[0])
    add_world_arguments(parser)
    parser.add_argument("--model", type=Path, required=True, help="the SFT model's folder")
    parser.add_argument("--prompts", type=Path, required=True, help="a data set folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ppo-pictures", type=int, default=10_000)
    parser.add_argument("--group-pictures", type=int, default=3_000)
    parser.add_argument("--ppo-rate", type=float, help="PPO's learning rate (that of the preset miniature-ppo)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    return parser


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _learn(args: argparse.Namespace, run: Run) -> dict[str, Any]:
    """The run's history, and the mean and spread of each judge's scores in its warm-up."""
    from training.data.dataset import load_split
    from training.rl.recipe import PRESETS
    from training.rl.stage import Stage
    from training.world import open_world

    recipe = PRESETS["miniature" if run.algorithm == "group" else "miniature-ppo"]
    if run.algorithm == "ppo" and args.ppo_rate:
        recipe = replace(recipe, learning=replace(recipe.learning, learning_rate=args.ppo_rate))
    pictures = args.group_pictures if run.algorithm == "group" else args.ppo_pictures
    recipe = replace(recipe, seed=run.seed, steps=pictures // DRAWS, weights=WEIGHTS)
    gallery = open_world(args).gallery(WEIGHTS)
    prompts = list(load_split(args.prompts, "train")["prompt"])
    history = Stage(args.model, prompts, gallery, recipe, args.out / run.name).run()
    return {"history": history, "units": gallery.reward.normal, "draws": recipe.prompts * recipe.own}


def curve_of(
    history: Sequence[Mapping[str, float]], units: Mapping[str, tuple[float, float]], draws: int = DRAWS
) -> Curve:
    """The reward of a history's steps, of so many draws of the policy each, in these units."""
    paid = [sum((step[name] - mean) / spread for name, (mean, spread) in units.items()) for step in history]
    last = SMOOTHED // draws
    smooth = [statistics.fmean(paid[max(0, end - last) : end]) for end in range(1, len(paid) + 1)]
    return Curve([int(step["pictures"]) for step in history][last - 1 :], smooth[last - 1 :])


def figures_of(curves: Mapping[Run, Curve]) -> dict[str, Any]:
    """For each seed where ppo ends, and when group is there; and what share of the pictures that is."""
    rows = []
    for seed in sorted({run.seed for run in curves}):
        ppo, group = curves[Run("ppo", seed)], curves[Run("group", seed)]
        reached = group.reaches(ppo.reward[-1])
        share = None if reached is None else reached / ppo.pictures[-1]
        rows.append({"seed": seed, "reward": ppo.reward[-1], "ppo": ppo.pictures[-1], "group": reached, "share": share})
    shares = [row["share"] for row in rows if row["share"] is not None]
    return {"seeds": rows, "median_share": statistics.median(shares) if len(shares) == len(rows) else None}


def _plot(curves: Mapping[Run, Curve], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    colours = {"ppo": "#b5651d", "group": "#35689f"}
    figure, panel = pyplot.subplots(figsize=(7, 4))
    for run, curve in curves.items():
        label = run.algorithm if run.seed == 0 else None
        panel.plot(curve.pictures, curve.reward, color=colours[run.algorithm], label=label, alpha=0.8)
    panel.set(xlabel="pictures made", ylabel="reward of the last 512 draws")
    panel.grid(alpha=0.3)
    panel.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
