"""What the paper says of its method, asked of a table that `evaluate` wrote: does it hold here?"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from negopt.errors import DataError
from training.world import METRICS

from .intervals import Interval
from .outcome import NONE

Table = Mapping[str, Mapping[str, Interval]]

LEARNED = "SFT+RL"
SPECIALISTS = {f"{LEARNED}, {name} only": name for name in METRICS}
KEPT = 0.9
RIVALS = (NONE, "best fixed list", "people", "nearest neighbour", "SFT", "RL only")
WITHOUT_PICTURES = (NONE, "best fixed list", "SFT")
"""Approaches of which the paper's gain of 25% is told."""
CEILING = "search for each prompt"
GAIN, SHARE_OF_CEILING = 1.25, 0.8


@dataclass(frozen=True)
class Claim:
    """A sentence with the figures that decide it."""

    text: str
    holds: bool
    detail: str

    def __str__(self) -> str:
        return f"{'holds' if self.holds else 'FAILS'}  {self.text}: {self.detail}"


def read_table(path: Path) -> Table:
    """A table from the CSV of a report; raises `DataError`."""
    table: dict[str, dict[str, Interval]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                bounds = Interval(float(row["value"]), float(row["low"]), float(row["high"]))
                table.setdefault(row["approach"], {})[row["figure"]] = bounds
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not a table that `evaluate` wrote ({error})") from error
    return table


def claims_of(table: Table, searched: Table | None = None) -> list[Claim]:
    """All claims that the table's approaches allow to ask; raises `DataError` where one that is needed is missing.

    `searched`: the table of the prompts that were searched for, where those are fewer (a report's ceiling.csv).
    """
    if missing := [name for name in (LEARNED, *RIVALS) if name not in table]:
        raise DataError(f"the table has no approach called {missing[0]!r}")
    claims = [_best(table, figure) for figure in ("reward", "inception score", "aesthetics")]
    none, learned = table[NONE]["alignment"], table[LEARNED]["alignment"]
    claims.append(Claim(f"{LEARNED}'s alignment is not below that of {NONE}", learned.value >= none.value,
                        f"{learned} against {none}"))  # fmt: skip
    claims.append(_gain(table, searched or table))
    claims += [_specialist(table, name, metric) for name, metric in SPECIALISTS.items() if name in table]
    told = {name: f"{LEARNED}, all {metric}" for name, metric in SPECIALISTS.items()}
    claims += [_kept(table, name, SPECIALISTS[name], one) for name, one in told.items() if {name, one} <= set(table)]
    return claims


def _best(table: Table, figure: str) -> Claim:
    rival = _leader(table, RIVALS, figure)
    mine, other = table[LEARNED][figure], table[rival][figure]
    return Claim(f"{LEARNED} has the best {figure}", mine.value > other.value, f"{mine}; next {rival}, {other}")


def _gain(table: Table, searched: Table) -> Claim:
    """A quarter more Inception Score than without RL; or, where so much cannot be had, most of what a search has on
    the same prompts."""
    figure = "inception score"
    rival = _leader(table, WITHOUT_PICTURES, figure)
    mine, other = table[LEARNED][figure].value, table[rival][figure].value
    detail = f"{mine / other - 1:+.1%} over {rival}"
    text, holds = f"{LEARNED}'s {figure} is at least {GAIN - 1:.0%} above the best without RL", mine >= GAIN * other
    if CEILING in searched:
        none, mine, ceiling = (searched[name][figure].value for name in (NONE, LEARNED, CEILING))
        text += f", or it has {SHARE_OF_CEILING:.0%} of that of a search"
        holds = holds or mine >= SHARE_OF_CEILING * ceiling
        detail += f"; {mine / ceiling:.1%} of the search's {ceiling:.3f}"
        detail += f", and {(mine - none) / (ceiling - none):.0%} of what it gains over {NONE}" if ceiling > none else ""
    return Claim(text, holds, detail)


def _kept(table: Table, specialist: str, metric: str, told: str) -> Claim:
    """How much of a specialist's gain a model for every weighting has, when it is told that metric alone."""
    before, best, model = (table[name][metric].value for name in ("SFT", specialist, told))
    share = (model - before) / (best - before) if best > before else float(model >= best)
    text = f"{LEARNED}, told {metric}, keeps {KEPT:.0%} of its specialist's gain"
    return Claim(text, share >= KEPT, f"{share:.0%}: {model:.3f}, against {best:.3f} from {before:.3f}")


def _specialist(table: Table, name: str, metric: str) -> Claim:
    """Of all models that were taught by pictures, whoever was paid for one metric only has most of it."""
    taught = [other for other in (LEARNED, *SPECIALISTS) if other in table]
    best = _leader(table, taught, metric)
    second = _leader(table, [other for other in taught if other != name], metric)
    detail = f"{table[name][metric]}; best of the others {second}, {table[second][metric]}"
    return Claim(f"with all weight on {metric}, {metric} is best", best == name, detail)


def _leader(table: Table, names: Sequence[str], figure: str) -> str:
    return max(names, key=lambda name: table[name][figure].value)
