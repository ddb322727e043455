"""How near a written list of terms comes to what a person wrote.

Term F1 of one pair: terms are compared by `negopt.terms.term_key`, as sets; precision is the share of
the written terms that the person wrote too, recall the share of the person's that were written, F1
their harmonic mean. Of a data set: the mean over its pairs, as in multi-label classification
("example-based F1").
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from negopt.terms import term_key


def term_set(terms: Iterable[str]) -> frozenset[str]:
    """Keys of the terms; what has no key (punctuation alone) is left out."""
    return frozenset(key for key in map(term_key, terms) if key)


def term_f1(written: frozenset[str], reference: frozenset[str]) -> float:
    """F1 of one pair, 0 to 1; two empty lists agree."""
    if not written and not reference:
        return 1.0
    return 2 * len(written & reference) / (len(written) + len(reference))


@dataclass(frozen=True)
class F1Score:
    """Mean F1, precision and recall over pairs, each 0 to 1, and the standard error of the mean F1."""

    f1: float
    precision: float
    recall: float
    error: float
    pairs: int


def score(written: Sequence[Iterable[str]], references: Sequence[Iterable[str]]) -> F1Score:
    """Scores of parallel lists of terms; raises ValueError when they differ in length or are empty."""
    pairs = [(term_set(w), term_set(r)) for w, r in zip(written, references, strict=True)]
    if not pairs:
        raise ValueError("no pairs to score")
    f1 = [term_f1(w, r) for w, r in pairs]
    mean = sum(f1) / len(f1)
    variance = sum((value - mean) ** 2 for value in f1) / max(1, len(f1) - 1)
    return F1Score(
        f1=mean,
        precision=sum(len(w & r) / len(w) if w else float(not r) for w, r in pairs) / len(pairs),
        recall=sum(len(w & r) / len(r) if r else 1.0 for w, r in pairs) / len(pairs),
        error=math.sqrt(variance / len(f1)),
        pairs=len(pairs),
    )
