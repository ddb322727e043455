"""Short texts that stand for much: whether what a run was begun with is still the same.

Contents count and places do not, so a folder may be moved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

BLOCK = 2**20
"""Bytes read at a time: weights may be larger than the memory."""


def digest_of_texts(texts: Iterable[str]) -> str:
    """16 hex digits; other texts, or the same in another order, have others."""
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]


def digest_of_files(files: Iterable[Path]) -> str:
    """16 hex digits of the files' names and contents, in whatever order and folder they are; raises `OSError`."""
    return digest_of_texts(f"{file.name} {_digest_of_file(file)}" for file in sorted(files, key=lambda file: file.name))


def _digest_of_file(file: Path) -> str:
    whole = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            whole.update(block)
    return whole.hexdigest()
