"""What arrives at a node: lists of values, as one job for each prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..negopt.options import OPTIONS
from .jobs import Job

# The page gives an input named "seed" a control that changes it at every run, which would draw every
# picture anew; so the generator's seed has another name here.
NAMES = {"seed": "variation"}


def rows(inputs: Mapping[str, Sequence[Any] | None]) -> list[dict[str, Any]]:
    """Lists of values as one mapping for each prompt, as ComfyUI does it: a shorter list repeats its last value."""
    given = {name: values for name, values in inputs.items() if values}
    length = max(map(len, given.values()), default=0) if given.get("prompt") else 0
    return [{name: values[min(i, len(values) - 1)] for name, values in given.items()} for i in range(length)]


def job(row: Mapping[str, Any], **changes: Any) -> Job:
    """What one row asks for: a linked model comes before the dropdown's."""
    options = {name: row[NAMES.get(name, name)] for name in OPTIONS if NAMES.get(name, name) in row}
    model = row.get("negopt_model") or row.get("model") or ""
    return Job(str(row["prompt"]), {**options, **changes}, model, row.get("clip"))
