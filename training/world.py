"""Opening a world: a folder with a checkpoint that paints and judges that look, for every stage that needs pictures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from negopt.errors import OptionError

if TYPE_CHECKING:
    from training.rl.gallery import Gallery


def add_world_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--world", type=Path, required=True, help="folder with checkpoint/ (diffusers) and judges/")
    parser.add_argument("--sampler-steps", type=int, default=8, help="denoising steps of a picture (8)")
    parser.add_argument("--guidance", type=float, default=3.0, help="guidance scale of the pictures (3)")


def open_gallery(args: argparse.Namespace, weights: Mapping[str, float]) -> Gallery:
    """The world of the arguments, with `weights` for its judges; raises `OptionError` or `ModelError`."""
    from training.miniature.pipeline import open_sampler
    from training.miniature.rewards import judges_of
    from training.rewards import WeightedReward
    from training.rl.gallery import Gallery

    for name in ("checkpoint", "judges"):
        if not (args.world / name).is_dir():
            raise OptionError(f"{args.world / name}: no such folder; --world needs checkpoint/ and judges/")
    sampler = open_sampler(args.world / "checkpoint", steps=args.sampler_steps, guidance=args.guidance)
    return Gallery(sampler, WeightedReward(judges_of(args.world / "judges"), weights))
