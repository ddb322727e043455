"""Opening the data set folder that `data build` writes."""

from __future__ import annotations

import glob
from pathlib import Path

from datasets import Dataset, load_dataset
from datasets.utils.logging import disable_progress_bar, enable_progress_bar

from negopt.errors import DataError

NEEDED = ("prompt", "text", "terms", "weights", "embeddings", "page")


def files_of(folder: Path, split: str = "*") -> list[Path]:
    """The Parquet files of one split, or of all."""
    return sorted((folder / "data").glob(f"{split}-*.parquet"))


def load_split(folder: Path, split: str) -> Dataset:
    """One split, as rows on disk; raises `DataError` when the folder is no data set of ours."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; make one with: python -m training data build SOURCE --out {folder}")
    # datasets takes a path for a pattern, brackets and all
    files = [glob.escape(str(file.resolve())) for file in files_of(folder, split)]
    if not files:
        raise DataError(f"{folder}: not a data set with a split {split!r} (it has no data/{split}-*.parquet)")
    disable_progress_bar()
    try:
        # A cache of its own, inside the folder: a shared one would give a rebuilt data set's old rows.
        rows = load_dataset("parquet", data_files={split: files}, split=split, cache_dir=str(folder / ".cache"))
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{folder}: not a data set with a split {split!r} ({reason})") from error
    finally:
        enable_progress_bar()
    missing = [name for name in NEEDED if name not in rows.column_names]
    if missing:
        raise DataError(f"{folder}: column {missing[0]!r} is missing; build the data set with `data build`")
    return rows


def load_judged(folder: Path, count: int) -> Dataset:
    """The first `count` rows of the test split, or as many as there are, each of another prompt: one that stands there
    often is one piece of news. Raises `DataError` as `load_split` does."""
    rows = load_split(folder, "test")
    first: dict[str, int] = {}
    for place, prompt in enumerate(rows["prompt"]):
        first.setdefault(prompt, place)
    return rows.select(list(first.values())[:count])
