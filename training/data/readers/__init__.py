"""Reading: from a source named on the command line to pairs.

A source is a file, a folder (searched through), or the id of a Hugging Face data set. Each format has its
reader; this file only finds the right one. A bad file is named, counted and passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from negopt.errors import DataError, NegOptError
from negopt.paths import expanded, is_file, is_folder

from ..pairs import RawPair, ReadLog, Unreadable
from . import hub, pictures, tables

_SUFFIXES = frozenset((*tables.SUFFIXES, *pictures.SUFFIXES))
_HUB_ID = re.compile(r"(?:hf:|datasets/)?[\w.-]+/[\w.-]+")


def read_source(source: str, log: ReadLog) -> Iterator[RawPair]:
    """All pairs of one source. Raises `DataError` where there is no such source at all."""
    path = expanded(source)
    if is_folder(path):
        yield from _read_files(_files_under(path, log), path, log)
    elif _is_there(path):
        yield from _read_files(iter([path]), path.parent, log)
    elif _HUB_ID.fullmatch(source):
        try:
            yield from hub.read_hub(source.removeprefix("hf:").removeprefix("datasets/"), log)
        except DataError as error:
            if source.startswith("hf:"):
                raise
            raise DataError(f"no such file or folder here, and {error}") from error
    else:
        raise DataError(f"no such file or folder, and no Hugging Face data set id (OWNER/NAME): {source}")


def _is_there(path: Path) -> bool:
    """Whether there is anything of that name; never raises."""
    return os.path.exists(path)  # noqa: PTH110


def _files_under(folder: Path, log: ReadLog) -> Iterator[Path]:
    """Files whose suffix some reader knows, in the order of their names; hidden folders stay closed.

    Linked folders are followed, and each folder is entered once, so that links in a circle end.
    """
    entered: set[tuple[int, int]] = set()

    def unreadable(error: OSError) -> None:
        log.skip_file(str(error.filename), error.strerror or "cannot be read")

    for root, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        if not _enter(root, entered):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(root, name)
            if not name.startswith(".") and (tables.suffix_of(path) in _SUFFIXES or name == pictures.LOG):
                yield path


def _enter(folder: str, entered: set[tuple[int, int]]) -> bool:
    """Whether `folder` was not in `entered` yet, where it is noted; False too where it is gone meanwhile."""
    try:
        status = Path(folder).stat()
    except OSError:
        return False
    this = (status.st_dev, status.st_ino)
    if this in entered:
        return False
    entered.add(this)
    return True


def _read_files(paths: Iterator[Path], folder: Path, log: ReadLog) -> Iterator[RawPair]:
    for path in paths:
        log.files += 1
        name = os.path.relpath(path, folder)
        try:
            suffix = tables.suffix_of(path)
            if _is_there(path) and not is_file(path):
                raise Unreadable("no ordinary file")  # opening a named pipe would wait for ever
            if suffix in tables.SUFFIXES:
                yield from tables.read_table(path, folder, log)
            elif path.name == pictures.LOG:
                yield from pictures.read_log(path, folder, log)
            elif suffix in pictures.SUFFIXES:
                yield from pictures.read_picture(path, folder, log)
            else:
                raise Unreadable(f"no reader for {suffix or 'files without a suffix'}")
        except Unreadable as error:
            log.skip_file(name, str(error))
        except NegOptError:
            raise
        except Exception as error:  # one file that no reader foresaw must not end a build of 100,000
            log.skip_file(name, f"{type(error).__name__} while reading: {error}")
