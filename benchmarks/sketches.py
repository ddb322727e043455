"""How few denoising steps do the pictures need that are learned from?

    python -m benchmarks.sketches --sampler miniature --model SFT/model --prompts DATA --steps 8 6 5 4

RL learns from which of two negatives of a prompt made the better picture on the same noise. Here a model draws two for
each prompt, and their pictures are made in each number of steps, on several noises. What a picture of n steps tells is
how far the difference in reward of one pair goes with the mean difference of pictures of the first number of steps on
the other noises: their correlation, 0 to 1. Each number of steps has its own sampler, and they take turns; a checkpoint
in this process is loaded once for all of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

import negopt
from benchmarks.measure import Sample, machine, table
from negopt.errors import NegOptError, OptionError
from training.allocator import keep_freed_memory
from training.data.dataset import load_judged
from training.evaluation.intervals import Interval, bootstrap
from training.rl.gallery import Gallery
from training.rl.recipe import Recipe
from training.samplers import Picture
from training.samplers.in_process import DiffusersSampler
from training.world import METRICS, World, add_world_arguments, open_world

TURN = 10
"""Prompts whose pictures one sampler makes before the next has its turn."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.sampler_steps is not None:
        parser.error("--steps says in how many steps, the full number first; --sampler-steps has no place here")
    if args.noises < 2 or args.pairs < 1 or min(args.steps) < 1:
        parser.error("--noises must be at least 2 (one is compared with the others), --pairs and --steps at least 1")
    keep_freed_memory()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    try:
        compare(args)
    except NegOptError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def compare(args: argparse.Namespace) -> None:
    """Make the pictures in each number of steps, and print what they tell."""
    prompts = list(load_judged(args.prompts, args.pairs)["prompt"])
    pairs = drawn_pairs(negopt.load(args.model), prompts)
    galleries = [world.gallery(dict.fromkeys(METRICS, 1.0)) for world in worlds_of(args)]
    pictures = [pictures_of(row, *pair, args.noises) for row, pair in enumerate(pairs)]
    rates = make_in_turns(galleries, pictures)
    shape = (len(pairs), 2, args.noises)
    apart = [differences(gallery, [p for group in pictures for p in group], shape) for gallery in galleries]
    print(f"{len(pairs)} pairs of negatives, {args.noises} noises; {machine()}")
    print(table(["steps", "pictures a second", "of the first", "what a pair tells", "against the first"],
                [_row(*row, rates[0], apart[0]) for row in zip(args.steps, rates, apart, strict=True)]))  # fmt: skip


def worlds_of(args: argparse.Namespace) -> Iterator[World]:
    """One for each number of steps. All share the networks of the first: a GPU that holds a checkpoint and its judges
    need not have room for them several times."""
    first: World | None = None
    for steps in args.steps:
        if first and isinstance(first.sampler, DiffusersSampler):
            sampler = copy(first.sampler)
            sampler.steps = steps
            # copies, since each learns from the pictures of its own sampler
            yield replace(first, sampler=sampler, judges={name: copy(judge) for name, judge in first.judges.items()})
            continue
        world = open_world(argparse.Namespace(**{**vars(args), "sampler_steps": steps}))
        first = first or world
        yield world


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sketches", description=(__doc__ or "").splitlines()[0])
    add_world_arguments(parser)
    parser.add_argument("--model", type=Path, required=True, help="the model whose negatives are compared")
    parser.add_argument("--prompts", type=Path, required=True, help="a data set folder; its test split is taken")
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 6, 5, 4], help="the first is what counts (8 6 5 4)")
    parser.add_argument("--pairs", type=int, default=300, help="prompts, with two negatives each (300)")
    parser.add_argument("--noises", type=int, default=4, help="for each pair (4)")
    parser.add_argument("--threads", type=int, help="of torch (as many as it takes itself)")
    return parser


def drawn_pairs(generator: negopt.Generator, prompts: Sequence[str]) -> list[tuple[str, str, str]]:
    """Each prompt with two draws that differ; prompts for which the model draws the same twice are left out.

    Raises `OptionError` where that leaves none.
    """
    seeds = [[2 * row, 2 * row + 1] for row in range(len(prompts))]
    groups = generator.draw(prompts, seeds, max_terms=Recipe.max_terms, max_tokens=0)
    pairs = [(p, one.answer.text, other.answer.text) for p, (one, other) in zip(prompts, groups, strict=True)]
    different = [pair for pair in pairs if pair[1] != pair[2]]
    if not different:
        raise OptionError(f"for none of {len(prompts)} prompts does the model draw two negatives that differ")
    return different


def pictures_of(row: int, prompt: str, one: str, other: str, noises: int) -> list[Picture]:
    """Those of a pair, first all of the one; the noises are the same for both."""
    return [Picture(prompt, negative, row * noises + noise) for negative in (one, other) for noise in range(noises)]


def make_in_turns(galleries: Sequence[Gallery], pictures: Sequence[Sequence[Picture]]) -> list[Sample]:
    """Let every gallery make and judge them all; pictures a second, of each turn but the first, by gallery."""
    rates: list[list[float]] = [[] for _ in galleries]
    with tqdm(total=len(galleries) * sum(map(len, pictures)), unit="picture", leave=False) as bar:
        for start in range(0, len(pictures), TURN):
            part = [picture for group in pictures[start : start + TURN] for picture in group]
            for gallery, found in zip(galleries, rates, strict=True):
                began = time.perf_counter()
                gallery.observe(part)
                found.append(len(part) / (time.perf_counter() - began))
                bar.update(len(part))
    return [Sample(tuple(found[1:] or found)) for found in rates]


def differences(gallery: Gallery, pictures: Sequence[Picture], shape: tuple[int, int, int]) -> torch.Tensor:
    """float [P, S]: how much better the one negative's picture is, by pair and noise, in units of the spread."""
    observed = gallery.observe(pictures)
    gallery.reward.warm_up(observed)
    rewards = gallery.reward(observed).total.view(shape)
    return rewards[:, 0] - rewards[:, 1]


def told(found: torch.Tensor, wanted: torch.Tensor, rows: torch.Tensor) -> float:
    """Correlation between what one noise shows in `found` and what the others show on average in `wanted`, of float
    [P, S] each and the pairs int64 `rows`. Which draw is the first of a pair is chance, so both means are 0."""
    others = (wanted.sum(1, keepdim=True) - wanted)[rows] / (wanted.shape[1] - 1)
    shown = found[rows]
    return ((shown * others).sum() / (shown.square().sum() * others.square().sum()).sqrt()).item()


def _row(steps: int, rate: Sample, apart: torch.Tensor, first_rate: Sample, first: torch.Tensor) -> list[str]:
    alone = bootstrap(len(first), lambda rows: told(apart, first, rows))
    against = bootstrap(len(first), lambda rows: told(apart, first, rows) - told(first, first, rows))
    ratio = rate.over(first_rate).median
    return [str(steps), f"{rate.median:.1f}", f"{ratio:.2f}", _shown(alone), _shown(against)]


def _shown(interval: Interval) -> str:
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


if __name__ == "__main__":
    sys.exit(main())
