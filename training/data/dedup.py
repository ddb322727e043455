"""Rows that say the same twice: exact duplicates, and near ones by MinHash.

Two rows are near duplicates when both their prompts and their negatives overlap by at least a threshold
(Jaccard). Candidates share a band of MinHash values (Broder 1997; banding as in Leskovec, Rajaraman and
Ullman, Mining of Massive Datasets, ch. 3) over words and terms together; each candidate is then verified
on the exact sets. Works on the store, on disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .store import Store

BANDS, ROWS_PER_BAND = 8, 4
_COMPARED_AT_MOST = 64  # rows of one bucket that a further row is compared with
_PERMUTATIONS = np.random.default_rng(20240312).integers(1, 2**63, size=(2, BANDS * ROWS_PER_BAND), dtype=np.uint64)
_SCALE, _SHIFT = _PERMUTATIONS[0] | np.uint64(1), _PERMUTATIONS[1]
_MIX = np.uint64(0x9E3779B97F4A7C15)


def drop_exact(store: Store) -> int:
    """Keep the first row of each prompt-and-terms; returns how many rows went."""
    return store.drop(
        "exact duplicate",
        "id NOT IN (SELECT MIN(id) FROM pairs WHERE dropped IS NULL GROUP BY pair_key)",
    )


def drop_near(store: Store, threshold: float = 0.8, progress: Any = None) -> int:
    """Drop every row that nearly repeats an earlier one; returns how many went.

    `threshold` in (0, 1]: both Jaccard overlaps, of the prompts and of the negatives, must reach it. The
    bands find a pair that just reaches 0.8 with a probability of 0.98.
    """
    db = store.db
    db.execute("CREATE TEMP TABLE bands (bucket INTEGER, id INTEGER)")
    db.execute("CREATE TEMP TABLE near (id INTEGER PRIMARY KEY)")
    for row, prompt_set, term_set in db.execute(
        "SELECT id, prompt_set, term_set FROM pairs JOIN texts USING (id) WHERE dropped IS NULL ORDER BY id"
    ):
        buckets = band_buckets(np.frombuffer(prompt_set + term_set, dtype=np.uint32))
        db.executemany("INSERT INTO bands VALUES (?, ?)", ((int(bucket), row) for bucket in buckets))
        if progress is not None:
            progress.update()
    for members in _buckets(store):
        for later in _later_copies(store, members, threshold):
            db.execute("INSERT OR IGNORE INTO near VALUES (?)", (later,))
    dropped = store.drop("near duplicate", "id IN (SELECT id FROM near)")
    db.execute("DROP TABLE bands")
    db.execute("DROP TABLE near")
    return dropped


def band_buckets(hashes: NDArray[np.uint32]) -> NDArray[np.int64]:
    """int64 [BANDS]: one bucket number for each band of the MinHash signature of a set of hashes."""
    if not len(hashes):
        return np.zeros(0, dtype=np.int64)
    spread = _SCALE[:, None] * hashes.astype(np.uint64)[None, :] + _SHIFT[:, None]  # modulo 2^64 on purpose
    signature = (spread >> np.uint64(32)).min(axis=1).reshape(BANDS, ROWS_PER_BAND)
    buckets = np.arange(1, BANDS + 1, dtype=np.uint64)
    for column in signature.T:
        buckets = (buckets ^ column) * _MIX
        buckets ^= buckets >> np.uint64(29)
    return buckets.view(np.int64)


def jaccard(one: bytes, other: bytes) -> float:
    """Overlap of two sets of uint32 hashes: shared over all, 1.0 for two empty sets."""
    if one == other:
        return 1.0
    a, b = np.frombuffer(one, dtype=np.uint32), np.frombuffer(other, dtype=np.uint32)
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def _buckets(store: Store) -> Iterator[list[int]]:
    """The ids of each bucket that holds more than one row, in order."""
    cursor = store.db.execute("SELECT bucket, id FROM bands ORDER BY bucket, id")
    for _, rows in groupby(cursor, key=lambda row: row[0]):
        members = [row[1] for row in rows]
        if len(members) > 1:
            yield members


def _later_copies(store: Store, members: list[int], threshold: float) -> Iterator[int]:
    kept: list[tuple[bytes, bytes]] = []
    for row in members:
        prompt_set, term_set = store.db.execute(
            "SELECT prompt_set, term_set FROM texts WHERE id = ?", (row,)
        ).fetchone()
        if any(jaccard(term_set, t) >= threshold and jaccard(prompt_set, p) >= threshold for p, t in kept):
            yield row
        elif len(kept) < _COMPARED_AT_MOST:
            kept.append((prompt_set, term_set))
