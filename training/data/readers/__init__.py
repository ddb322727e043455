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

from ..pairs import RawPair, ReadLog, Unreadable
from . import hub, pictures, tables

_HUB_ID = re.compile(r"(?:hf:|datasets/)?[\w.-]+/[\w.-]+")


def read_source(source: str, log: ReadLog) -> Iterator[RawPair]:
    """All pairs of one source. Raises `DataError` where there is no such source at all."""
    path = Path(source).expanduser()
    if path.is_dir():
        yield from _read_files(_files_under(path, log), path, log)
    elif path.exists():
        yield from _read_files(iter([path]), path.parent, log)
    elif _HUB_ID.fullmatch(source):
        yield from hub.read_hub(source.removeprefix("hf:").removeprefix("datasets/"), log)
    else:
        raise DataError(f"no such file or folder, and no Hugging Face data set id (OWNER/NAME): {source}")


def _files_under(folder: Path, log: ReadLog) -> Iterator[Path]:
    """Files whose suffix some reader knows, in the order of their names; hidden folders stay closed."""

    def unreadable(error: OSError) -> None:
        log.skip_file(str(error.filename), error.strerror or "cannot be read")

    for root, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(root, name)
            if not name.startswith(".") and tables.suffix_of(path) in (*tables.SUFFIXES, *pictures.SUFFIXES):
                yield path


def _read_files(paths: Iterator[Path], folder: Path, log: ReadLog) -> Iterator[RawPair]:
    for path in paths:
        log.files += 1
        name = os.path.relpath(path, folder)
        try:
            suffix = tables.suffix_of(path)
            if suffix in tables.SUFFIXES:
                yield from tables.read_table(path, log)
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
