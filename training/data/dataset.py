"""Opening the data set folder that `data build` writes."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset, load_dataset
from datasets.utils.logging import disable_progress_bar, enable_progress_bar

from negopt.errors import DataError

NEEDED = ("prompt", "text", "terms", "weights", "embeddings", "page")


def load_split(folder: Path, split: str) -> Dataset:
    """One split, as rows on disk; raises `DataError` when the folder is no data set of ours."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; make one with: python -m training data build SOURCE --out {folder}")
    disable_progress_bar()
    try:
        # A cache of its own, inside the folder: a shared one would give a rebuilt data set's old rows.
        rows = load_dataset(str(folder), split=split, cache_dir=str(folder / ".cache"))
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{folder}: not a data set with a split {split!r} ({reason})") from error
    finally:
        enable_progress_bar()
    missing = [name for name in NEEDED if name not in rows.column_names]
    if missing:
        raise DataError(f"{folder}: column {missing[0]!r} is missing; build the data set with `data build`")
    return rows
