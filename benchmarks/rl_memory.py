"""Does the memory of a reinforcement learning run stay flat?

    python -m benchmarks.rl_memory [--algorithm group|critic] [--steps 1000]

The bundled model learns with the stage's own recipe in a toy world, built on the spot, whose pictures are noise and
cost next to nothing: what is watched is the loop. Resident memory after a tenth of the steps is set against that at
the end; more than a twentieth on top is a leak, and the exit code 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from benchmarks.measure import machine, table
from benchmarks.prompts import PROMPTS
from negopt.locate import locate
from training.allocator import keep_freed_memory
from training.miniature.build import Build
from training.miniature.judges import open_judges
from training.miniature.pipeline import open_sampler
from training.miniature.plan import TINY
from training.miniature.rewards import judges_of, reader_of
from training.rewards import WeightedReward
from training.rl.gallery import Gallery
from training.rl.recipe import PRESETS, Algorithm
from training.rl.stage import Stage

ALLOWED = 0.05


class Watched(Stage):
    """A stage that notes its resident memory after each step, in MB."""

    resident: list[float]

    def _step(self, step: int) -> dict[str, float]:
        measured = super()._step(step)
        self.resident.append(psutil.Process().memory_info().rss / 1e6)
        return measured


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rl_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--algorithm", choices=("group", "critic"), default="group")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--prompts-per-step", type=int, default=8)
    parser.add_argument("--copies", type=int, default=8)
    args = parser.parse_args(argv)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        resident = watch(Path(folder), args.algorithm, args.steps, args.prompts_per_step, args.copies)
    early, late = resident[len(resident) // 10], resident[-1]
    print(machine())
    places = sorted({1, *(len(resident) * tenth // 10 for tenth in (1, 2, 5, 10))} - {0})
    print(table(["step", "resident memory"], [[f"{step:,}", f"{resident[step - 1]:.0f} MB"] for step in places]))
    print(f"grown by {late - early:+.1f} MB, {late / early - 1:+.1%}")
    return 0 if late <= (1 + ALLOWED) * early else 1


def watch(folder: Path, algorithm: Algorithm, steps: int, prompts: int, copies: int) -> list[float]:
    """MB after each step of a run of its own."""
    Build(folder / "world", TINY).run()
    sampler = open_sampler(folder / "world" / "checkpoint", steps=1)
    recipe = replace(PRESETS[algorithm], steps=steps, prompts=prompts, copies=copies, warm_up=2)
    judges = open_judges(folder / "world" / "judges")
    gallery = Gallery(sampler, WeightedReward(judges_of(judges), recipe.weights))
    stage = Watched(locate(None), PROMPTS, gallery, recipe, folder / "run", reader_of(judges))
    stage.resident = []
    stage.run()
    return stage.resident


if __name__ == "__main__":
    sys.exit(main())
