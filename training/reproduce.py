"""`python -m training reproduce miniature`: the paper's whole method on the bundled miniature, from people's pairs
to the table, and what it should show.

Every step is a command of this package (see `steps`); those that do not need each other run side by side, one on
each processor core.

    OUT/logs/       what each step printed
    OUT/report/     the table, as `evaluate` writes it
    OUT/claims.json what should be true, and whether it is
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from training.atomic import write_text
from training.evaluation.claims import LEARNED, SPECIALISTS, claims_of, read_table
from training.miniature.captions import STYLE_TERMS
from training.steps import Step, can_launch_several, run_all

STEPS, WITHOUT_SFT = 150, 80
"""Steps of RL: for every weighting at once, and without SFT."""
ALONE = {"fidelity": 160, "aesthetics": 120, "alignment": 100}
"""Steps of RL for each metric alone: the less a single picture says of it, the more. The longest comes first, so that
no core is left over at the end."""
CAREFUL = "aesthetics=1,alignment=2,fidelity=1"
"""For whoever would not have beauty at the expense of what was asked for."""
TEST = 0.15
"""Share of the pairs that nothing is learned from, in which there are 400 different prompts."""
SKETCHED_IN = 5
"""Steps of denoising in which the pictures are made that are learned from. They tell nearly as well which of two
negatives is better as those of the table, which take 8, in two thirds of the time (`python -m benchmarks.sketches`)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["miniature"])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--sampler", default="miniature", help="miniature, or miniature:DIR (the bundled one)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="steps side by side (one a core)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the pictures, to try it out (1)")


def run(args: argparse.Namespace) -> int:
    began = time.monotonic()
    jobs = max(1, args.jobs)
    run_all(miniature_steps(args.out, args.sampler, args.scale, jobs), args.out, jobs)
    report = args.out / "report"
    ceiling = report / "ceiling.csv"
    claims = claims_of(read_table(report / "table.csv"), read_table(ceiling) if ceiling.exists() else None)
    write_text(args.out / "claims.json", json.dumps([vars(claim) for claim in claims], indent=1) + "\n")
    for claim in claims:
        print(claim)
    print(f"{report / 'report.html'}, after {(time.monotonic() - began) / 60:.0f} minutes")
    return 0 if all(claim.holds for claim in claims) else 1


def miniature_steps(out: Path, sampler: str, scale: float = 1.0, jobs: int = 1) -> list[Step]:
    """Pairs, data, SFT; RL for every weighting of the metrics, for each alone, and without SFT; the table."""

    def of(count: int) -> str:
        return str(max(2, round(count * scale)))

    def learn(name: str, model: str, steps: int, *more: str) -> Step:
        words = (
            *("rl", "--preset", "miniature", "--model", str(out / model / "model"), "--sampler", sampler),
            *("--prompts", str(out / "data"), "--sampler-steps", str(SKETCHED_IN), "--out", str(out / name)),
        )
        return Step(name, (*words, "--steps", of(steps), *more), (model,))

    taught = [
        learn("rl", "sft", STEPS, "--prefer-any"),
        *(learn(f"rl-{metric}", "sft", count, "--reward", f"{metric}=1") for metric, count in ALONE.items()),
        learn("rl-without-sft", "untaught", WITHOUT_SFT),
    ]
    models = {"SFT": "sft", "RL only": "rl-without-sft", LEARNED: "rl"}
    models |= {name: f"rl-{metric}" for name, metric in SPECIALISTS.items()}
    compared = [f"{name}={out / folder / 'model'}" for name, folder in models.items()]
    told = LEARNED, f"{LEARNED}:{CAREFUL}"
    pairs, data = out / "pairs.jsonl", out / "data"
    return [
        Step("pairs", ("miniature", "people", "--out", str(pairs), "--pairs", of(12_000))),
        Step(
            "data",
            (
                *("data", "build", str(pairs), "--out", str(data), "--near", "1", "--cap-per-negative", "0", "--quiet"),
                *("--test", str(TEST)),
            ),
            ("pairs",),
        ),
        Step("sft", ("sft", "--preset", "miniature", "--data", str(data), "--out", str(out / "sft")), ("data",)),
        Step(
            "untaught",
            ("sft", "--preset", "miniature", "--epochs", "0", "--data", str(data), "--out", str(out / "untaught")),
            ("data",),
        ),
        *taught,
        Step(
            "evaluate",
            (
                *("evaluate", "--sampler", sampler, "--data", str(data), "--prompts", of(400), "--search", of(24)),
                *("--kinds", f"names a style={','.join(STYLE_TERMS)}"),
                *("--list-prompts", of(16), "--out", str(out / "report"), "--prefer", *told, "--models", *compared),
            ),
            tuple(step.name for step in taught),
            jobs if can_launch_several() else 1,
        ),
    ]
