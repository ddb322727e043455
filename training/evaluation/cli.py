"""`python -m training evaluate`: which negatives make the best pictures, as a table with intervals and as a page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset

import negopt
from negopt.errors import OptionError
from training.data.dataset import load_split
from training.evaluation.approaches import best_fixed, copied, written
from training.evaluation.outcome import NONE, judge, table
from training.evaluation.report import write_report
from training.rl.gallery import Gallery
from training.samplers import Picture
from training.world import add_world_arguments, open_gallery

SHOWN = 8
"""Prompts whose pictures are shown side by side."""
PROMPTS_FOR_THE_LIST = 48
"""Training prompts on which the best fixed list is chosen."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_world_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="a data set folder; its test split is judged")
    parser.add_argument("--models", nargs="*", default=[], metavar="NAME=MODEL", help="models to compare, by name")
    parser.add_argument("--out", type=Path, required=True, help="the report's folder")
    parser.add_argument("--prompts", type=int, default=200, help="prompts of the test split (200)")
    parser.add_argument("--seeds", type=int, default=2, help="pictures for each prompt (2)")
    parser.add_argument("--max-terms", type=int, default=12, help="the most terms a model writes (12)")


def run(args: argparse.Namespace) -> int:
    if args.prompts < 2 or args.seeds < 1:
        raise OptionError("an evaluation needs at least two prompts and one seed")
    test, train = load_split(args.data, "test"), load_split(args.data, "train")
    test = test.select(range(min(args.prompts, len(test))))
    gallery = open_gallery(args, {"aesthetics": 1.0, "alignment": 1.0, "fidelity": 1.0})
    approaches = _approaches(args, gallery, train, test)
    seeds = list(range(args.seeds))
    figures = table(judge(gallery, test["prompt"], approaches, seeds))
    shown = [
        [Picture(test["prompt"][row], negatives[row], 0) for negatives in approaches.values()]
        for row in range(min(SHOWN, len(test)))
    ]
    facts = {**gallery.sampler.description, "prompts": len(test), "pictures each": args.seeds}
    write_report(args.out, "Negative prompts, judged by their pictures", facts, figures, shown, gallery.sampler)
    for name, row in figures.items():
        print(f"{name:24}" + "  ".join(f"{figure} {interval}" for figure, interval in row.items()))
    print(args.out / "report.html")
    return 0


def _approaches(args: argparse.Namespace, gallery: Gallery, train: Dataset, test: Dataset) -> dict[str, Sequence[str]]:
    """Each way's negative for each test prompt."""
    prompts = test["prompt"]
    some = train.select(range(min(PROMPTS_FOR_THE_LIST, len(train))))
    fixed = best_fixed(gallery, some["prompt"], train["negative_prompt"], train["terms"], [101, 102])
    found: dict[str, Sequence[str]] = {
        NONE: [""] * len(test),
        "best fixed list": [fixed] * len(test),
        "people": list(test["negative_prompt"]),
        "nearest neighbour": copied(train["prompt"], train["negative_prompt"], prompts),
    }
    for given in args.models:
        name, _, model = given.partition("=")
        if not model:
            raise OptionError(f"--models takes NAME=MODEL, not {given!r}")
        found[name] = written(negopt.load(model), prompts, args.max_terms)
    return found
