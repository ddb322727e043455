"""`python -m training reproduce miniature`: the paper's whole method on the bundled miniature, from people's pairs
to the table, and what it should show.

Every step is a command of this package, started as a process of its own: what is printed can be typed. Steps that
do not need each other run side by side, one on each processor core. A step that was done is not done again, and
one that was killed goes on where it was.

    OUT/logs/       what each step printed
    OUT/report/     the table, as `evaluate` writes it
    OUT/claims.json what should be true, and whether it is
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from negopt.errors import NegOptError
from training.atomic import write_text
from training.evaluation.claims import claims_of, read_table

METRICS = ("aesthetics", "alignment", "fidelity")


@dataclass(frozen=True)
class Step:
    """One command, and the steps that must be done before."""

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["miniature"])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--sampler", default="miniature", help="miniature, or miniature:DIR (the bundled one)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="steps side by side (one a core)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the pictures, to try it out (1)")


def run(args: argparse.Namespace) -> int:
    began = time.monotonic()
    run_all(miniature_steps(args.out, args.sampler, args.scale), args.out, max(1, args.jobs))
    claims = claims_of(read_table(args.out / "report" / "table.csv"))
    write_text(args.out / "claims.json", json.dumps([vars(claim) for claim in claims], indent=1) + "\n")
    for claim in claims:
        print(claim)
    print(f"{args.out / 'report' / 'report.html'}, after {(time.monotonic() - began) / 60:.0f} minutes")
    return 0 if all(claim.holds for claim in claims) else 1


def miniature_steps(out: Path, sampler: str, scale: float = 1.0) -> list[Step]:
    """Pairs, data, SFT; RL for all metrics, for each alone, without SFT, and for every weighting; the table."""

    def of(count: int) -> str:
        return str(max(2, round(count * scale)))

    def learn(name: str, model: str, steps: int, *more: str) -> Step:
        words = f"rl --preset miniature --model {out / model / 'model'} --sampler {sampler} --prompts {out / 'data'}"
        return Step(name, (*words.split(), "--out", str(out / name), "--steps", of(steps), *more), (model,))

    alone = [learn(f"rl-{name}", "sft", 120, "--reward", f"{name}=1") for name in METRICS]
    taught = [
        learn("rl", "sft", 200),
        learn("rl-any", "sft", 300, "--prefer-any"),
        *alone,
        learn("rl-without-sft", "untaught", 200),
    ]
    models = {"SFT": "sft", "RL only": "rl-without-sft", "SFT+RL": "rl"}
    models |= {f"SFT+RL, {name} only": f"rl-{name}" for name in METRICS}
    compared = [f"{name}={out / folder / 'model'}" for name, folder in models.items()]
    compared += [f"any weighting={out / 'rl-any' / 'model'}"]
    pairs, data = out / "pairs.jsonl", out / "data"
    return [
        Step("pairs", ("miniature", "people", "--out", str(pairs), "--pairs", of(12_000))),
        Step(
            "data",
            ("data", "build", str(pairs), "--out", str(data), "--near", "1", "--cap-per-negative", "0", "--quiet"),
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
                *f"evaluate --sampler {sampler} --data {data} --prompts {of(200)} --search {of(48)}".split(),
                *("--out", str(out / "report"), "--models", *compared),
            ),
            tuple(step.name for step in taught),
        ),
    ]


def run_all(steps: Sequence[Step], out: Path, jobs: int) -> None:
    """All steps, as many side by side as `jobs`; raises `NegOptError` with the end of the log of one that failed."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    waiting, running, done = list(steps), dict[Future[float], Step](), set[str]()
    with ThreadPoolExecutor(jobs) as pool:
        while waiting or running:
            for step in [step for step in waiting if set(step.after) <= done]:
                waiting.remove(step)
                running[pool.submit(_run, step, out, threads)] = step
            finished = [future for future in running if future.done()]
            for future in finished:
                step = running.pop(future)
                try:
                    seconds = future.result()
                except NegOptError:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
                done.add(step.name)
                print(f"{len(done)}/{len(steps)} {step.name}: done in {seconds:.0f} s", flush=True)
            if not finished:
                time.sleep(0.2)


def _run(step: Step, out: Path, threads: int) -> float:
    """The seconds that it took; 0 where it was done before."""
    mark, log = out / "logs" / f"{step.name}.done", out / "logs" / f"{step.name}.log"
    said = " ".join(step.command)
    if mark.exists() and mark.read_text("utf-8") == said:
        return 0.0
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"python -m training {said}", flush=True)
    began = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    with log.open("a", encoding="utf-8") as file:
        result = subprocess.run(
            [sys.executable, "-m", "training", *step.command], stdout=file, stderr=subprocess.STDOUT, env=environment
        )
    if result.returncode:
        end = "\n".join(log.read_text("utf-8").splitlines()[-5:])
        raise NegOptError(f"{step.name} failed; the end of {log}:\n{end}")
    write_text(mark, said)
    return time.monotonic() - began
