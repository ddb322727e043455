"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import glob
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from negopt.errors import DataError

PATIENCE = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between tries: on Windows a virus scanner or an indexer holds what was just written for a moment."""


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
            _patiently(folder.rename, aside)
        _patiently(fresh.rename, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        recover_folder(folder)
        raise
    _clear(aside)


def recover_folder(folder: Path) -> None:
    """Put back an old folder that a dying process left standing aside."""
    aside = folder.parent / f".{folder.name}.old"
    if aside.exists():
        if folder.exists():
            _clear(aside)
        else:
            _patiently(aside.rename, folder)


def _clear(aside: Path) -> None:
    """Delete an old folder. Windows deletes no file that somebody still reads, such as a model that is loaded: what
    is left then makes room for the next one, and a later call deletes it."""
    for left in aside.parent.glob(f"{glob.escape(aside.name)}-*"):
        shutil.rmtree(left, ignore_errors=True)
    shutil.rmtree(aside, ignore_errors=True)
    if aside.exists():
        with suppress(OSError):
            aside.rename(aside.with_name(f"{aside.name}-{time.time_ns()}"))


def _patiently(rename: Callable[[Path], Any], target: Path) -> None:
    """Rename, in several tries where it is Windows that refuses."""
    for seconds in PATIENCE:
        try:
            rename(target)
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) is None:
                raise
        time.sleep(seconds)
    rename(target)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; raises `DataError` where Windows does not replace one that is open."""
    fresh = path.with_name(f".{path.name}.new-{os.getpid()}")
    fresh.write_bytes(content)
    try:
        _patiently(fresh.replace, path)
    except PermissionError as error:
        fresh.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be replaced; close it where it is open ({error.strerror})") from error
