"""Search for the list of terms whose pictures score best: what a fixed list, and what any negative prompt, can reach.

A negative prompt is a set of terms, its worth the mean reward of its pictures over trials (a prompt and a seed each).
All candidates are tried on the same trials, so on the same initial noise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from training.rl.gallery import Gallery
from training.samplers import Picture

Terms = tuple[str, ...]
Array = NDArray[np.float64]
Score = Callable[[list[Terms]], Array]
"""Judges many lists at once, one number each, higher is better."""
Trial = tuple[str, int]
"""A prompt and the seed of its initial noise."""


def beam_search(
    score: Score, terms: Sequence[str], *, width: int, depth: int, shortlist: int | None = None
) -> list[tuple[float, Terms]]:
    """The best list of each length from 0 to `depth`, best first; of two equal ones the shorter.

    The search goes on from the `width` best lists of each length, and never tries one set of terms twice. After the
    first round only the `shortlist` terms that were best alone are tried (None: all).
    """
    seen: set[frozenset[str]] = {frozenset()}
    beam: list[Terms] = [()]
    best: list[tuple[float, Terms]] = [(float(score([()])[0]), ())]
    for _ in range(depth):
        longer: dict[frozenset[str], Terms] = {}
        for start in beam:
            for term in terms:
                key = frozenset({*start, term})
                if term not in start and key not in seen:
                    longer.setdefault(key, (*start, term))
        if not longer:
            break
        lists = list(longer.values())
        scores = score(lists)
        seen |= set(longer)
        order = np.argsort(-scores, kind="stable")
        if beam == [()]:
            terms = [lists[i][0] for i in order[:shortlist]]
        beam = [lists[i] for i in order[:width]]
        best.append((float(scores[order[0]]), beam[0]))
    return sorted(best, key=lambda found: -found[0])


def mean_reward(
    gallery: Gallery, trials: Sequence[Trial], title: str | None = None, alone: bool = False
) -> Callable[..., Array]:
    """A function of (lists, count) that gives each list's mean reward over the first `count` trials. `alone`: each
    list's pictures are compared with each other, not with those that the judges have learned."""

    def mean(lists: Sequence[Terms], count: int = len(trials)) -> Array:
        pictures = [Picture(prompt, ", ".join(terms), seed) for terms in lists for prompt, seed in trials[:count]]
        starts = range(0, len(pictures), count)
        observed = gallery.observe(pictures, title)
        if not alone:
            return gallery.reward(observed).total.view(len(lists), count).double().mean(1).numpy()
        parts = [{name: rows[start : start + count] for name, rows in observed.items()} for start in starts]
        return np.array([gallery.reward.alone(part).total.double().mean().item() for part in parts])

    return mean


def racing(mean: Callable[[list[Terms], int], Array], counts: Sequence[int]) -> Score:
    """A score by successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943): all lists are tried
    `counts[0]` times, the better half of them `counts[1]` times, and so on.

    Its value is the mean of a list's trials; one that fell out counts at most as much as the worst that stayed.
    """

    def score(lists: list[Terms]) -> Array:
        scores = mean(lists, counts[0])
        staying = np.argsort(-scores, kind="stable")
        for count in counts[1:]:
            staying = staying[: (len(staying) + 1) // 2]
            again = mean([lists[i] for i in staying], count)
            scores[staying] = again
            out = np.setdiff1d(np.arange(len(lists)), staying)
            scores[out] = np.minimum(scores[out], again.min())
            staying = staying[np.argsort(-again, kind="stable")]
        return scores

    return score


def frequent_terms(lists: Iterable[Sequence[str]], count: int) -> list[str]:
    """The terms that stand in most of the lists, most frequent first."""
    return [term for term, _ in Counter(term for terms in lists for term in terms).most_common(count)]
