"""Opening a world: who makes the pictures (`--sampler`) and who judges them (`--judges`), for every command that
needs pictures. The only place that knows all of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from negopt.errors import OptionError
from training.miniature import BUNDLED

if TYPE_CHECKING:
    from training.rewards import Judge
    from training.rl.gallery import Gallery
    from training.samplers import Sampler

MINIATURE = "miniature"


@dataclass(frozen=True)
class World:
    """Pictures and those who look at them."""

    sampler: Sampler
    judges: Mapping[str, Judge]
    """Who can be paid for."""
    reporters: Mapping[str, Judge] = field(default_factory=dict)
    """Who only reports: never a reward."""

    def gallery(self, weights: Mapping[str, float], report: bool = False) -> Gallery:
        """Where pictures are made and judged, with `weights` for the judges; `report`: the reporters look, too."""
        from training.rewards import WeightedReward
        from training.rl.gallery import Gallery

        judges = {**self.judges, **self.reporters} if report else self.judges
        return Gallery(self.sampler, WeightedReward(judges, weights))


def add_world_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures", "who makes them, and who judges them")
    group.add_argument(
        "--sampler", required=True, help="miniature: the bundled small world; miniature:DIR: one that you built"
    )
    group.add_argument("--sampler-steps", type=int, help="denoising steps of a picture (miniature: 5)")
    group.add_argument("--guidance", type=float, help="guidance scale of the pictures (miniature: 3)")


def open_world(args: argparse.Namespace) -> World:
    """The world of the arguments; raises `OptionError` or `ModelError`."""
    kind, _, folder = args.sampler.partition(":")
    if kind != MINIATURE:
        raise OptionError(f"there is no sampler {args.sampler!r}; there is {MINIATURE}")
    return _open_miniature(Path(folder) if folder else BUNDLED, args)


def _open_miniature(folder: Path, args: argparse.Namespace) -> World:
    from training.miniature.pipeline import open_sampler
    from training.miniature.rewards import judges_of, reporters_of

    for name in ("checkpoint", "judges"):
        if not (folder / name).is_dir():
            raise OptionError(f"{folder / name}: no such folder; a miniature has checkpoint/ and judges/")
    settings = {"steps": args.sampler_steps, "guidance": args.guidance}
    given = {name: value for name, value in settings.items() if value is not None}
    sampler = open_sampler(folder / "checkpoint", **given)
    return World(sampler, judges_of(folder / "judges"), reporters_of(folder / "judges"))


def open_gallery(args: argparse.Namespace, weights: Mapping[str, float]) -> Gallery:
    return open_world(args).gallery(weights)
