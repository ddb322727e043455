"""What a generator has to beat: one fixed list for every prompt, and copying the nearest prompt's negative.

Both see the training split. The fixed list is also allowed to choose its length on the very rows it is
judged on, so it is an upper bound on any list of the most frequent terms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sklearn.feature_extraction.text import TfidfVectorizer

from training.scoring import term_f1, term_set

Terms = Sequence[str]
MOST = 75


def best_fixed_list(train: Sequence[Terms], references: Sequence[Terms]) -> list[str]:
    """The list with the highest mean term F1 on `references`: of the most frequent terms of `train`, by
    length, and of a greedy choice that adds the term that helps most, as long as one does."""
    frequent = [term for term, _ in Counter(term for terms in train for term in terms).most_common(300)]
    sets = [term_set(reference) for reference in references]
    by_length = [frequent[:length] for length in range(1, MOST + 1)]
    candidates = [*by_length, _greedy_list(frequent, sets)]
    return max(candidates, key=lambda terms: _mean_f1(terms, sets))


def _greedy_list(frequent: Sequence[str], sets: Sequence[frozenset[str]]) -> list[str]:
    chosen: list[str] = []
    best = 0.0
    while len(chosen) < MOST:
        gains = [(_mean_f1([*chosen, term], sets), term) for term in frequent if term not in chosen]
        gain, term = max(gains)
        if gain <= best:
            break
        best = gain
        chosen.append(term)
    return chosen


def _mean_f1(terms: Terms, sets: Sequence[frozenset[str]]) -> float:
    written = term_set(terms)
    return sum(term_f1(written, reference) for reference in sets) / len(sets)


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
