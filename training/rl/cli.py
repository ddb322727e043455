"""`python -m training rl`: arguments in, a run out. On several GPUs: `accelerate launch -m training rl ...`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from negopt.errors import DataError, OptionError
from negopt.locate import locate
from negopt.preference import read_preference
from training.world import METRICS, MORE, add_world_arguments, check_for_several, open_world

from .recipe import PRESETS, Recipe

BY_ALGORITHM = {"group": "group", "critic": "critic", "ppo": "paper"}
"""The preset of each algorithm where none is named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "What is not given is the preset's: training/rl/recipe.py."
    parser.add_argument("--model", required=True, help="the SFT model to begin from: a folder, a name or a Hub id")
    add_world_arguments(parser)
    parser.add_argument("--prompts", type=Path, required=True, help="a data set folder, or a text file, one a line")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder; the model goes to OUT/model")
    parser.add_argument(
        "--reward",
        type=_weights,
        help=f"what counts how much ({','.join(f'{name}=1' for name in METRICS)}); real judges: also {', '.join(MORE)}",
    )
    parser.add_argument(
        "--prefer-any",
        action="store_true",
        default=None,
        dest="preferences",
        help="one model for every weighting of the metrics in --reward: weights are drawn for each prompt and told to "
        "the network; its user says which by prefer",
    )
    parser.add_argument(
        "--algorithm", choices=sorted(BY_ALGORITHM), help="group, critic, or the paper's ppo (the preset's)"
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), help="set of defaults (the algorithm's; of ppo: paper)")
    parser.add_argument("--steps", type=int, help="steps of drawing, looking and learning")
    parser.add_argument("--prompts-per-step", type=int, dest="per_step", help="each with --copies draws")
    parser.add_argument("--copies", type=int, help="draws for each prompt, compared with each other")
    parser.add_argument("--max-terms", type=int, help="the most terms of a negative prompt")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument(
        "--kl-weight", type=float, help="price of a nat of divergence from the first policy (critic: none)"
    )
    parser.add_argument("--seed", type=int)


def run(args: argparse.Namespace) -> int:
    from training.allocator import keep_freed_memory
    from training.processes import join

    from .stage import Stage

    keep_freed_memory()
    recipe = recipe_of(args)
    with join() as crew:
        if crew.size > 1:
            check_for_several(args)
        prompts = _prompts(args.prompts) if crew.leads else []  # before what takes minutes to load
        world = open_world(args, list(recipe.weights))
        gallery = world.gallery(recipe.weights)
        with crew.sharing(gallery):
            if not crew.leads:
                return 0
            history = Stage(locate(args.model), prompts, gallery, recipe, args.out, world.read).run()
    quarter = max(1, len(history) // 4)
    first, last = (sum(step["reward"] for step in part) / quarter for part in (history[:quarter], history[-quarter:]))
    print(f"reward {first:.3f} at first, {last:.3f} at last, with {gallery.made} pictures; {args.out / 'model'}")
    return 0


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The preset with what was given in its place; raises `OptionError`."""
    preset = args.preset or BY_ALGORITHM[args.algorithm or "group"]
    recipe = PRESETS[preset]
    if args.algorithm not in (None, recipe.algorithm):
        raise OptionError(f"--preset {preset} is for --algorithm {recipe.algorithm}, not {args.algorithm}")
    changes = {"steps": args.steps, "prompts": args.per_step, "copies": args.copies, "max_terms": args.max_terms}
    changes |= {"weights": args.reward, "preferences": args.preferences, "seed": args.seed}
    learning = {"learning_rate": args.learning_rate, "kl_weight": args.kl_weight}
    learned = replace(recipe.learning, **_given(learning))
    return replace(recipe, learning=learned, **_given(changes))


def _given(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if value is not None}


def _weights(text: str) -> dict[str, float]:
    try:
        return read_preference(text)
    except OptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _prompts(source: Path) -> list[str]:
    """Those of a data set to learn from, or the lines of a text file in UTF-8; raises `DataError`."""
    if source.is_dir():
        from training.data.dataset import load_prompts

        return load_prompts(source)
    try:
        lines = source.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: not a text file in UTF-8 (byte {error.start}); save it as one") from error
    return [line.strip() for line in lines if line.strip()]
