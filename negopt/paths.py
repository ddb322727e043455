"""Paths as people type them: asking about one never raises.

Where a folder may not be read, a name is too long or a user is not there, pathlib raises and `os.path` says no.
"""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str) -> Path:
    """The path with ~ as the user's own folder; as it is where there is no such user."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def is_folder(path: Path) -> bool:
    """Whether there is such a folder, and may be looked at."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: Path) -> bool:
    """Whether there is such a file, and may be looked at."""
    return os.path.isfile(path)  # noqa: PTH113
