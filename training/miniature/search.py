"""Search for the list of terms that scores best: the ceiling of what a negative prompt can do here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Terms = tuple[str, ...]


def beam_search(
    score: Callable[[list[Terms]], NDArray[np.float64]],
    terms: Sequence[str],
    *,
    width: int,
    depth: int,
    shortlist: int | None = None,
) -> list[tuple[float, Terms]]:
    """The best list of each length from 0 to `depth`, best first; of two equal ones the shorter.

    `score` judges many lists at once. The search goes on from the `width` best lists of each length, and
    never tries one set of terms twice. After the first round only the `shortlist` terms that were best alone
    are tried (None: all).
    """
    seen: dict[frozenset[str], float] = {frozenset(): float(score([()])[0])}
    beam: list[Terms] = [()]
    best: list[tuple[float, Terms]] = [(seen[frozenset()], ())]
    for _ in range(depth):
        longer: dict[frozenset[str], Terms] = {}
        for start in beam:
            for term in terms:
                key = frozenset({*start, term})
                if term not in start and key not in seen:
                    longer.setdefault(key, (*start, term))
        if not longer:
            break
        scores = score(list(longer.values()))
        seen |= dict(zip(longer, map(float, scores), strict=True))
        order = np.argsort(-scores, kind="stable")
        if beam == [()]:
            terms = [list(longer.values())[i][0] for i in order[:shortlist]]
        beam = [list(longer.values())[i] for i in order[:width]]
        best.append((float(scores[order[0]]), beam[0]))
    return sorted(best, key=lambda found: -found[0])
