"""The working store of a build: every row on disk, so that memory does not grow with the data.

One SQLite file in a folder of its own. Knows rows, keys and marks; what a duplicate or a split is,
`dedup` and `split` decide. Nothing here survives a build, so the file is written without a journal.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

from .cleaning import CleanPair

SPLITS = ("train", "validation", "test")

_SCHEMA = """
CREATE TABLE pages (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, label INTEGER, author TEXT);
CREATE TABLE pairs (
    id INTEGER PRIMARY KEY,
    pair_key INTEGER NOT NULL,      -- same key: same prompt and same terms
    negative_key INTEGER NOT NULL,  -- same key: same set of terms
    prompt_key INTEGER NOT NULL,    -- same key: same words in the prompt, in the same order
    term_count INTEGER NOT NULL,
    page INTEGER NOT NULL,
    place INTEGER NOT NULL,         -- a random number from the seed: the row's place in every order
    dropped TEXT,                   -- the step that dropped the row
    split INTEGER,                  -- index into SPLITS
    strict INTEGER NOT NULL DEFAULT 0
);
-- What is long stands apart, for every step reads all of `pairs` and few read this.
CREATE TABLE texts (
    id INTEGER PRIMARY KEY,
    prompt_set BLOB NOT NULL,       -- hashes of the prompt's words and word pairs, uint32
    term_set BLOB NOT NULL,         -- hashes of the terms, uint32
    columns TEXT NOT NULL           -- the published columns, JSON
);
"""


class Store:
    """A SQLite file with the rows of one build. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        """`folder` must exist and be writable; SQLite's own temporary files go there as well."""
        self._old_tmp = os.environ.get("SQLITE_TMPDIR")
        os.environ["SQLITE_TMPDIR"] = str(folder)  # sorting 10 million rows may not fit into /tmp
        self.db = sqlite3.connect(folder / "rows.sqlite", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-65536"):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.executescript(_SCHEMA)
        self._pages: dict[str, int] = {}
        self.db.execute("BEGIN")

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()
        if self._old_tmp is None:
            os.environ.pop("SQLITE_TMPDIR", None)
        else:
            os.environ["SQLITE_TMPDIR"] = self._old_tmp

    def add(self, pair: CleanPair, place: int) -> None:
        """Append one row. `place` is a 63-bit number that orders the rows at random."""
        columns = [
            pair.prompt, pair.text, pair.terms, pair.embeddings, pair.weights, pair.kind, pair.source,
            pair.licence,
        ]  # fmt: skip
        keys = (pair.pair_key, pair.negative_key, prompt_key(pair.text))
        inserted = self.db.execute(
            "INSERT INTO pairs (pair_key, negative_key, prompt_key, term_count, page, place) VALUES (?, ?, ?, ?, ?, ?)",
            (*keys, len(pair.terms), self._page(pair.page), place),
        )
        text = json.dumps(columns, ensure_ascii=False)
        self.db.execute(
            "INSERT INTO texts VALUES (?, ?, ?, ?)", (inserted.lastrowid, pair.prompt_set, pair.term_set, text)
        )

    def _page(self, name: str) -> int:
        known = self._pages.get(name)
        if known is None:
            self.db.execute("INSERT OR IGNORE INTO pages (name) VALUES (?)", (name,))
            known = int(self.value("SELECT id FROM pages WHERE name = ?", name))
            if len(self._pages) >= 100_000:  # a cache, not an index: it must not grow with the data
                self._pages.clear()
            self._pages[name] = known
        return known

    def value(self, sql: str, *arguments: Any) -> Any:
        """The first column of the first row, or None."""
        with closing(self.db.execute(sql, arguments)) as rows:
            row = rows.fetchone()
        return row[0] if row else None

    def drop(self, reason: str, which: str, *arguments: Any) -> int:
        """Mark the rows that the SQL condition `which` selects as dropped for `reason`; returns how many."""
        sql = f"UPDATE pairs SET dropped = ? WHERE dropped IS NULL AND {which}"
        return self.db.execute(sql, (reason, *arguments)).rowcount

    def left(self) -> int:
        """How many rows are not dropped."""
        return int(self.value("SELECT COUNT(*) FROM pairs WHERE dropped IS NULL"))

    def rows(self, split: str) -> Generator[dict[str, Any], None, None]:
        """The rows of a split as the published columns, in the order of the seed. Unless read to the end, or closed,
        they keep the file open beyond the store's own end."""
        cursor = self.db.execute(
            "SELECT columns, author, strict FROM pairs JOIN texts USING (id) JOIN pages ON pages.id = pairs.page"
            " WHERE dropped IS NULL AND split = ? ORDER BY place, pair_key",
            (SPLITS.index(split),),
        )
        for columns, author, strict in cursor:
            prompt, text, terms, embeddings, weights, kind, source, licence = json.loads(columns)
            yield {
                "prompt": prompt, "text": text, "terms": terms, "embeddings": embeddings,
                "negative_prompt": ", ".join(terms), "weights": weights, "page": author, "kind": kind,
                "source": source, "licence": licence, "strict": bool(strict),
            }  # fmt: skip


def prompt_key(text: str) -> int:
    """A signed 64-bit hash of the words of a prompt's plain text, whatever stands between them."""
    words = " ".join(re.findall(r"\w+", text))
    return int.from_bytes(hashlib.blake2b(words.encode("utf-8"), digest_size=8).digest(), "big", signed=True)
