"""Models that stay loaded: one copy of each for the whole process, whoever asks for it.

For hosts, where several nodes, tabs and routes want the same model at the same time. A model is loaded
on first use and again when its files have changed. Importing this file does not import torch.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .locate import locate

if TYPE_CHECKING:
    from .generator import Generator

MOST = 4
"""Models that stay; the one that was not asked for longest goes first."""

Stamp = tuple[tuple[str, int, int], ...]

_loaded: OrderedDict[Path, tuple[Stamp, Generator]] = OrderedDict()
_lock = threading.Lock()


def resident(model: str | None = None, folders: Sequence[Path] = ()) -> Generator:
    """The loaded generator of a model, named as in `locate`. Raises `ModelError` as `load` does."""
    folder = locate(model, folders)
    with _lock:
        stamp = stamp_of(folder)
        known = _loaded.get(folder)
        if known is None or known[0] != stamp:
            from .generator import Generator

            known = stamp, Generator.open(folder)
            _loaded[folder] = known
        _loaded.move_to_end(folder)
        while len(_loaded) > MOST:
            _loaded.popitem(last=False)
        return known[1]


def stamp_of(folder: Path) -> Stamp:
    """What tells whether the files in a model's folder have changed: their names, times and sizes."""
    entries = [(entry.name, entry.stat()) for entry in folder.iterdir() if entry.is_file()]
    return tuple(sorted((name, status.st_mtime_ns, status.st_size) for name, status in entries))
