"""Opening the data set folder that `data build` writes."""

from __future__ import annotations

import glob
import sys
import tempfile
from pathlib import Path

from datasets import Dataset, load_dataset
from datasets.utils.logging import disable_progress_bar, enable_progress_bar

from negopt.errors import DataError
from training.digest import digest_of_files

NEEDED = ("prompt", "text", "terms", "weights", "embeddings", "page")
LONGEST = 64
"""Characters of a folder's path with which Windows opens the cache inside it: `datasets` writes a lock file there whose
name says the path again, and 124 more, of which Windows allows 259 in all."""


def files_of(folder: Path, split: str = "*") -> list[Path]:
    """The Parquet files of one split, or of all."""
    return sorted((folder / "data").glob(f"{split}-*.parquet"))


def load_split(folder: Path, split: str) -> Dataset:
    """One split, as rows on disk; raises `DataError` when the folder is no data set of ours."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; make one with: python -m training data build SOURCE --out {folder}")
    files = files_of(folder, split)
    if not files:
        raise DataError(f"{folder}: not a data set with a split {split!r} (it has no data/{split}-*.parquet)")
    disable_progress_bar()
    try:
        # datasets takes a path for a pattern, brackets and all
        data_files = {split: [glob.escape(str(file.resolve())) for file in files]}
        rows = load_dataset("parquet", data_files=data_files, split=split, cache_dir=str(_cache_of(folder, files)))
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{folder}: not a data set with a split {split!r} ({reason})") from error
    finally:
        enable_progress_bar()
    missing = [name for name in NEEDED if name not in rows.column_names]
    if missing:
        raise DataError(f"{folder}: column {missing[0]!r} is missing; build the data set with `data build`")
    return rows


def _cache_of(folder: Path, files: list[Path]) -> Path:
    """A cache of the files' own, in the folder or named by what they hold: a shared one would give a rebuilt data set's
    old rows."""
    if sys.platform == "win32" and len(str(folder.absolute())) > LONGEST:
        return Path(tempfile.gettempdir(), f"negopt-{digest_of_files(files)}")
    return folder / ".cache"


def load_prompts(folder: Path) -> list[str]:
    """Those of the training split, each once however many people wrote it. Raises `DataError` as `load_split` does."""
    return list(dict.fromkeys(load_split(folder, "train")["prompt"]))


def load_judged(folder: Path, count: int) -> Dataset:
    """The first `count` rows of the test split, or as many as there are, each of another prompt: one that stands there
    often is one piece of news. Raises `DataError` as `load_split` does."""
    rows = load_split(folder, "test")
    first: dict[str, int] = {}
    for place, prompt in enumerate(rows["prompt"]):
        first.setdefault(prompt, place)
    return rows.select(list(first.values())[:count])
