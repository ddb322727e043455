"""Timing for the benchmarks: samples with their median and spread, taken in turns, and how they are shown.

Knows nothing of what it measures.
"""

from __future__ import annotations

import gc
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from training.machine import machine as machine

Task = Callable[[], object]


@dataclass(frozen=True)
class Sample:
    """Several measurements of one thing, in milliseconds (or of a ratio)."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and third quartile; the distance between them is the spread."""
        if len(self.values) < 2:
            return self.values[0], self.values[0]
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return first, third

    def over(self, other: Sample) -> Sample:
        """Pairwise ratios to measurements taken in the same turns."""
        return Sample(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))

    def as_json(self) -> dict[str, object]:
        return {"median": self.median, "quartiles": self.quartiles, "values": self.values}


def milliseconds(task: Task) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    task()
    return (time.perf_counter() - start) * 1e3


def in_turns(rounds: Sequence[Mapping[str, Task]]) -> dict[str, Sample]:
    """Times every task of every round once, round after round, so that whatever slows the machine for a
    while slows all tasks alike. All rounds name the same tasks."""
    taken: dict[str, list[float]] = {name: [] for name in rounds[0]}
    gc.collect()
    for tasks in rounds:
        for name, task in tasks.items():
            taken[name].append(milliseconds(task))
    return {name: Sample(tuple(values)) for name, values in taken.items()}


def in_fresh_processes(code: str, times: int) -> Sample:
    """What `code` prints (milliseconds), each time in a new Python process."""
    done = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(times)
    ]
    return Sample(tuple(float(process.stdout) for process in done))


def growth_exponent(sizes: Sequence[int], times: Sequence[float]) -> float:
    """The slope of log(time) over log(size), by least squares: 1 is linear growth."""
    x, y = [math.log(size) for size in sizes], [math.log(taken) for taken in times]
    return statistics.linear_regression(x, y).slope


def busy() -> str | None:
    """A warning when other programs were using the processor in the last minute."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return f"the machine was busy when this began (load {load:.1f}): figures are too high" if load > 0.5 else None


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
