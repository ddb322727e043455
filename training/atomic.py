"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield a fresh folder beside `folder`, and put it in its place when the block ends well.

    When the block raises or the process dies, `folder` is what it was before. A file system cannot
    exchange two folders in one step everywhere, so for an instant the old one stands aside under
    ".NAME.old"; a call that finds it alone there puts it back first.
    """
    folder = folder.absolute()  # not resolve(): a link to a folder stays a link
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.parent / f".{folder.name}.old"
    recover_folder(folder)
    fresh = folder.parent / f".{folder.name}.new-{os.getpid()}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
        if folder.exists():
            folder.rename(aside)
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        recover_folder(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Put back an old folder that a dying process left standing aside."""
    aside = folder.parent / f".{folder.name}.old"
    if aside.exists():
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_name(f".{path.name}.new-{os.getpid()}")
    fresh.write_bytes(content)
    fresh.replace(path)
