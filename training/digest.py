"""Short texts that stand for much: whether what a run was begun with is still the same.

Contents count and places do not, so a folder may be moved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from negopt.locate import CONFIG, INDEX, PREFERENCE, SETTINGS, TOKENIZER

MODEL_FILES = (CONFIG, TOKENIZER, SETTINGS, PREFERENCE, INDEX, "model*.safetensors")
"""What a model is: neither its card nor where its folder lies."""
BLOCK = 2**20
"""Bytes read at a time: weights may be larger than the memory."""


def digest_of_texts(texts: Iterable[str]) -> str:
    """16 hex digits; other texts, or the same in another order, have others."""
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]


def digest_of_files(files: Iterable[Path]) -> str:
    """16 hex digits of the files' names and contents, in whatever order and folder they are; raises `OSError`."""
    return digest_of_texts(f"{file.name} {_digest_of_file(file)}" for file in sorted(files, key=lambda file: file.name))


def digest_of_model(folder: Path) -> str:
    """16 hex digits of all that decides what the model in `folder` writes; raises `OSError`."""
    return digest_of_files({file for name in MODEL_FILES for file in folder.glob(name)})


def digest_of_folder(folder: Path) -> str:
    """16 hex digits of all files in `folder`, by the paths that they have in it; raises `OSError`."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return digest_of_texts(f"{file.relative_to(folder).as_posix()} {_digest_of_file(file)}" for file in files)


def _digest_of_file(file: Path) -> str:
    whole = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            whole.update(block)
    return whole.hexdigest()
