"""What a generator has to beat: one fixed list for every prompt, and copying the nearest prompt's negative.

Both see the training split. The fixed list is also allowed to choose its length on the very rows it is
judged on, so it is an upper bound on any list of the most frequent terms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from negopt.terms import term_key
from training.scoring import term_set

Terms = Sequence[str]
MOST = 75


def best_fixed_list(train: Iterable[Terms], references: Sequence[Terms]) -> list[str]:
    """The list with the highest mean term F1 on `references`: of the most frequent terms of `train`, by
    length, and of a greedy choice that adds the term that helps most, as long as one does."""
    frequent = [term for term, _ in Counter(term for terms in train for term in terms).most_common(300)]
    sets = [term_set(reference) for reference in references]
    keys = [term_key(term) for term in frequent]
    holds = np.array([[key in reference for key in keys] for reference in sets], dtype=np.float64)
    sizes = np.array([len(reference) for reference in sets], dtype=np.float64)
    popular = list(range(min(MOST, len(frequent))))
    by_length = [popular[: length + 1] for length in popular]
    best = max([*by_length, _greedy_list(holds, sizes)], key=lambda chosen: _mean_f1(chosen, holds, sizes))
    return [frequent[position] for position in best]


def _greedy_list(holds: np.ndarray, sizes: np.ndarray) -> list[int]:
    """Positions of terms, chosen one by one; `holds` [pairs, terms] says which reference has which term,
    `sizes` [pairs] how many terms each has."""
    chosen: list[int] = []
    shared, best = np.zeros(len(sizes)), 0.0
    while len(chosen) < min(MOST, holds.shape[1]):
        f1 = (2 * (shared[:, None] + holds) / (len(chosen) + 1 + sizes)[:, None]).mean(0)
        f1[chosen] = -1.0
        position = int(f1.argmax())
        if f1[position] <= best:
            break
        best = float(f1[position])
        chosen.append(position)
        shared += holds[:, position]
    return chosen


def _mean_f1(chosen: Sequence[int], holds: np.ndarray, sizes: np.ndarray) -> float:
    return float((2 * holds[:, chosen].sum(1) / (len(chosen) + sizes)).mean())


def nearest_neighbour(
    train_texts: Sequence[str], train_terms: Sequence[Terms], texts: Sequence[str], block: int = 256
) -> list[Terms]:
    """For each text the terms of the training prompt whose TF-IDF vector is nearest by cosine."""
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    known = vectorizer.fit_transform(train_texts).T.tocsc()
    asked = vectorizer.transform(texts)
    nearest: list[Terms] = []
    for start in range(0, asked.shape[0], block):
        likeness = asked[start : start + block] @ known
        nearest += [train_terms[int(row)] for row in likeness.argmax(axis=1).A1]
    return nearest
