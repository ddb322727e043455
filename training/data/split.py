"""Train, validation and test: no author and no prompt on both sides, and no author's favourite dominates.

Pages that share a rare long negative are one author, for one author uses one negative for years. A negative
that many pages share is common property and joins nobody. What is one author's alone is split by prompt.
Works on the store, on disk.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .store import SPLITS, Store

LONG_NEGATIVE = 8
"""Terms from which on a negative is so particular that two pages with it have one author."""
RARE_NEGATIVE = 5
"""Pages up to which a negative is somebody's own."""


@dataclass(frozen=True)
class Caps:
    """The most rows that one may have; 0 is no limit."""

    favourite: int = 20
    """... one author with one and the same negative."""
    negative: int = 200
    """... one negative, whoever wrote it."""
    page: int = 500
    """... one author."""


def join_authors(store: Store) -> None:
    """Give every page its author: the least name among all pages joined to it.

    Label propagation with pointer jumping: each round hands every page the least label among the pages it
    shares a negative with, then the label of its label, until nothing changes. The rounds grow with the
    logarithm of the longest chain.
    """
    db = store.db
    db.execute("UPDATE pages SET label = id")
    db.execute(
        "CREATE TEMP TABLE shared AS SELECT DISTINCT negative_key AS negative, page FROM pairs"
        " WHERE dropped IS NULL AND term_count >= ?",
        (LONG_NEGATIVE,),
    )
    db.execute("CREATE INDEX temp.shared_negative ON shared (negative)")
    db.execute(
        "DELETE FROM shared WHERE negative NOT IN"
        " (SELECT negative FROM shared GROUP BY negative HAVING COUNT(*) BETWEEN 2 AND ?)",
        (RARE_NEGATIVE,),
    )
    db.execute("CREATE INDEX temp.shared_page ON shared (page)")
    while _propagate(store):
        pass
    db.execute("DROP TABLE shared")
    _name_authors(store)


def _propagate(store: Store) -> int:
    db = store.db
    db.execute(
        "CREATE TEMP TABLE least AS SELECT negative, MIN(label) AS label FROM shared"
        " JOIN pages ON pages.id = shared.page GROUP BY negative"
    )
    db.execute("CREATE INDEX temp.least_negative ON least (negative)")
    neighbours = "(SELECT MIN(least.label) FROM shared JOIN least USING (negative) WHERE shared.page = pages.id)"
    changed = db.execute(f"UPDATE pages SET label = {neighbours} WHERE {neighbours} < label").rowcount
    db.execute("DROP TABLE least")
    jump = "(SELECT target.label FROM pages AS target WHERE target.id = pages.label)"
    db.execute(f"UPDATE pages SET label = {jump} WHERE {jump} < label")
    return changed


def _name_authors(store: Store) -> None:
    db = store.db
    db.execute("CREATE TEMP TABLE authors AS SELECT label, MIN(name) AS name FROM pages GROUP BY label")
    db.execute("CREATE INDEX temp.authors_label ON authors (label)")
    db.execute("UPDATE pages SET author = (SELECT name FROM authors WHERE authors.label = pages.label)")
    db.execute("DROP TABLE authors")


def break_up_sole_author(store: Store, share: float) -> bool:
    """Where nearly everything is one author's, an author split cannot be: split that author by prompt.

    `share` is the part of the rows that validation and test want together. When fewer rows than that belong
    to others, each prompt of the largest author becomes a page of its own: what is judged are prompts that
    training never saw, and which negatives it never saw `strict` says. Returns whether that was needed.
    """
    total = store.left()
    label, rows = store.db.execute(
        "SELECT label, COUNT(*) AS rows FROM pairs JOIN pages ON pages.id = pairs.page WHERE dropped IS NULL"
        " GROUP BY label ORDER BY rows DESC, MIN(name) LIMIT 1"
    ).fetchone()
    if not share or total - rows >= share * total:
        return False
    _break_up(store, "page IN (SELECT id FROM pages WHERE label = ?)", label)
    return True


def break_up_shared_prompts(store: Store) -> bool:
    """Where most prompts are several authors', an author split would put them on both sides: split by prompt.

    That is so when more than half of the rows have a prompt that another author has, too; `assign` would
    drop as much of validation and test. Each prompt becomes a page then. Returns whether that was needed.
    """
    shared = store.value(
        "SELECT SUM(rows) FROM (SELECT COUNT(*) AS rows FROM pairs JOIN pages ON pages.id = pairs.page"
        " WHERE dropped IS NULL GROUP BY prompt_key HAVING MIN(label) < MAX(label))"
    )
    if 2 * (shared or 0) <= store.left():
        return False
    _break_up(store, "TRUE")
    return True


def _break_up(store: Store, which: str, *arguments: int) -> None:
    """Make a page, and an author, of each prompt of the rows that the SQL condition `which` selects."""
    db = store.db
    which = f"dropped IS NULL AND {which}"
    name = "printf('%012x', prompt_key & 281474976710655)"
    db.execute(f"INSERT OR IGNORE INTO pages (name) SELECT DISTINCT {name} FROM pairs WHERE {which}", arguments)
    db.execute(f"UPDATE pairs SET page = (SELECT id FROM pages WHERE name = {name}) WHERE {which}", arguments)
    db.execute("UPDATE pages SET label = id, author = name WHERE label IS NULL")


def cap_negatives(store: Store, caps: Caps) -> dict[str, int]:
    """Drop what is above the caps for one negative, the rows latest in the seed's order; how many by each cap.

    Before an author is broken up: whose favourite a negative is cannot be told afterwards.
    """
    return {
        **_cap(store, "author's favourite above its cap", "pages.label, negative_key", caps.favourite),
        **_cap(store, "negative above its cap", "negative_key", caps.negative),
    }


def cap_authors(store: Store, caps: Caps) -> dict[str, int]:
    """Drop what one author has above the cap, the rows latest in the seed's order; how many.

    After a sole author is broken up, of whom little would be left.
    """
    return _cap(store, "author above the cap", "pages.label", caps.page)


def _cap(store: Store, name: str, partition: str, most: int) -> dict[str, int]:
    """How many rows went, by the cap's name; nothing where there is no cap."""
    if not most:
        return {}
    which = (
        "id IN (SELECT id FROM (SELECT pairs.id AS id, ROW_NUMBER() OVER"
        f" (PARTITION BY {partition} ORDER BY place, pair_key) AS number"
        " FROM pairs JOIN pages ON pages.id = pairs.page WHERE dropped IS NULL) WHERE number > ?)"
    )
    return {name: store.drop(name, which, most)}


def assign(store: Store, seed: int, validation: float, test: float) -> int:
    """Give every author a split, at random from the seed, and mark the strict rows.

    `validation` and `test` are parts of all rows. Authors with more than a tenth of what a split wants go to
    train, for a split of a few authors says little; they are let in only where the split would else stay
    half empty. Rows of validation and test whose prompt somebody in train has, too, are dropped; returns how
    many. A row of validation or test is strict when its set of terms never occurs in train.
    """
    db = store.db
    db.create_function("author_place", 1, lambda name: place_of(seed, str(name)), deterministic=True)
    db.execute(
        "CREATE TEMP TABLE authors AS"
        " SELECT author, COUNT(*) AS rows, author_place(author) AS place, 0 AS split"
        " FROM pairs JOIN pages ON pages.id = pairs.page WHERE dropped IS NULL GROUP BY author"
    )
    total = store.left()
    for name, part in (("test", test), ("validation", validation)):
        _fill(store, SPLITS.index(name), round(part * total))
    db.execute("CREATE INDEX temp.authors_name ON authors (author)")
    db.execute("CREATE TEMP TABLE page_split (page INTEGER PRIMARY KEY, split INTEGER)")
    db.execute("INSERT INTO page_split SELECT pages.id, authors.split FROM pages JOIN authors USING (author)")
    db.execute(
        "UPDATE pairs SET split = (SELECT split FROM page_split WHERE page_split.page = pairs.page)"
        " WHERE dropped IS NULL"
    )
    db.execute("DROP TABLE authors")
    db.execute("DROP TABLE page_split")
    dropped = store.drop(
        "prompt also in training",
        "split > 0 AND prompt_key IN (SELECT prompt_key FROM pairs WHERE dropped IS NULL AND split = 0)",
    )
    db.execute(
        "UPDATE pairs SET strict = 1 WHERE dropped IS NULL AND split > 0 AND negative_key NOT IN"
        " (SELECT negative_key FROM pairs WHERE dropped IS NULL AND split = 0)"
    )
    return dropped


def _fill(store: Store, split: int, target: int) -> None:
    filled = 0
    for largest, enough in ((max(target // 10, 3), target), (target, target // 2)):
        chosen = []
        for row, rows in store.db.execute(
            "SELECT rowid, rows FROM authors WHERE split = 0 AND rows <= ? ORDER BY place, author",
            (largest,),
        ):
            if filled >= enough:
                break
            if filled + rows <= target:
                filled += rows
                chosen.append((split, row))
        store.db.executemany("UPDATE authors SET split = ? WHERE rowid = ?", chosen)


def place_of(seed: int, name: str) -> int:
    """A number in [0, 2^63) that `seed` gives to `name`: the same on every machine."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, key=str(seed).encode()[:64])
    return int.from_bytes(digest.digest(), "big") >> 1
