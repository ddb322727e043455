"""The build: sources in, a data set folder out. The steps in their order, and nothing else.

    read -> clean -> exact duplicates -> near duplicates -> authors and caps -> splits -> files and card

Rows wait in a store on disk between the steps, so memory stays flat. The folder appears whole or not at
all; the same sources, options and seed give the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from negopt.errors import DataError, OptionError
from training.atomic import replace_folder

from . import dedup, split
from .card import write_card
from .cleaning import Cleaner
from .pairs import ReadLog, encodable, encodable_pair
from .readers import read_source
from .store import SPLITS, Store

SUMMARY = "build.json"
ROWS_PER_FILE = 500_000
_ROWS_PER_GROUP = 10_000
_MOST_SOURCES = 10_000  # named one by one in the summary; beyond it they are "others"


@dataclass(frozen=True)
class BuildOptions:
    """What a build can be told. `limit` is the most pairs read from each source, None is all."""

    seed: int = 0
    validation: float = 0.05
    test: float = 0.05
    caps: split.Caps = field(default_factory=split.Caps)
    near: float = 0.8
    keep_model_written: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("validation", self.validation), ("test", self.test)):
            if not 0 <= value < 0.5:
                raise OptionError(f"--{name} is a part of all rows, from 0 to below 0.5, not {value}")
        if not 0 < self.near <= 1:
            raise OptionError(f"--near is an overlap above 0 and up to 1, not {self.near}")
        if min(self.caps.favourite, self.caps.negative, self.caps.page) < 0:
            raise OptionError("a cap is a number of rows, 0 for none; it cannot be negative")
        if self.limit is not None and self.limit < 1:
            raise OptionError(f"--limit is a number of pairs, at least 1, not {self.limit}")


def build(sources: Sequence[str], out: Path, options: BuildOptions, quiet: bool = False) -> dict[str, Any]:
    """Build the data set folder `out` from `sources` and return its summary (what `build.json` holds).

    Raises `DataError` where a source does not exist, no pair is left, or `out` is a folder that is no data
    set; whatever happens, an `out` from before stays whole until the new one is complete.
    """
    out = out.expanduser().absolute()
    _check_target(out)
    _remove_leftovers(out)
    with replace_folder(out) as fresh:
        with (
            # what Windows does not delete, still open, must not hide why the build failed
            tempfile.TemporaryDirectory(
                prefix=f".{out.name}.work-{os.getpid()}-", dir=out.parent, ignore_cleanup_errors=True
            ) as work,
            Store(Path(work)) as store,
        ):
            summary = _fill_store(store, sources, options, quiet)
            _finish(store, summary, options, quiet)
            summary["rows"], summary["sources"], summary["licences"] = _write_splits(store, fresh, quiet)
            summary["strict"] = {
                name: int(store.value("SELECT COUNT(*) FROM pairs WHERE strict AND split = ?", index))
                for index, name in enumerate(SPLITS)
            }
        write_card(fresh, out.name, summary)
        (fresh / SUMMARY).write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return summary


def _fill_store(store: Store, sources: Sequence[str], options: BuildOptions, quiet: bool) -> dict[str, Any]:
    """Read and clean everything into the store; returns the summary's first part."""
    log, cleaner = ReadLog(), Cleaner(options.keep_model_written)
    for source in tqdm_or_not(sources, "sources", quiet or len(sources) < 2):
        pairs = islice(read_source(source, log), options.limit)
        for raw in tqdm_or_not(pairs, f"reading {Path(source).name}", quiet, "pairs"):
            row = cleaner.clean(encodable_pair(raw))
            if row is not None:
                store.add(row, split.place_of(options.seed, f"{row.pair_key}"))
    if not store.left():
        raise DataError(_nothing_found(log, cleaner))
    return {
        "options": asdict(options),
        "read": cleaner.read,
        "files": log.files,
        "skipped_files": log.skipped_files,
        "skipped": log.named,
        "bad_records": log.bad_records,
        "without_pair": log.without_pair,
        "terms": dict(sorted(cleaner.changed.items())),
        "dropped": dict(cleaner.dropped.most_common()),
    }


def _nothing_found(log: ReadLog, cleaner: Cleaner) -> str:
    if cleaner.read:
        reasons = ", ".join(f"{count} {reason}" for reason, count in cleaner.dropped.most_common(3))
        return f"none of the {cleaner.read} pairs read can be used ({reasons})"
    text = f"no prompt with a negative prompt in {log.files} file{'s' * (log.files != 1)}"
    if log.named:
        name, reason = log.named[0]
        text += f"; {log.skipped_files} skipped, first {name}: {reason}"
    return text


def _finish(store: Store, summary: dict[str, Any], options: BuildOptions, quiet: bool) -> None:
    """Everything that looks at more than one row: duplicates, authors, caps, splits."""
    dropped = summary["dropped"]
    dropped["exact duplicate"] = dedup.drop_exact(store)
    with tqdm(total=store.left(), desc="near duplicates", unit="rows", disable=quiet or None) as progress:
        dropped["near duplicate"] = dedup.drop_near(store, options.near, progress)
    split.join_authors(store)
    dropped.update(split.cap_negatives(store, options.caps))
    share = options.validation + options.test
    summary["one_author"] = split.break_up_sole_author(store, share)
    summary["shared_prompts"] = bool(share) and not summary["one_author"] and split.break_up_shared_prompts(store)
    dropped.update(split.cap_authors(store, options.caps))
    dropped["prompt also in training"] = split.assign(store, options.seed, options.validation, options.test)
    summary["authors"] = int(
        store.value("SELECT COUNT(DISTINCT author) FROM pairs JOIN pages ON pages.id = page WHERE dropped IS NULL")
    )


def _write_splits(store: Store, folder: Path, quiet: bool) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Write the Parquet files; returns rows by split, by source and by licence. Empty splits have no file."""
    counts: dict[str, int] = {}
    sources: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    (folder / "data").mkdir()
    for index, name in enumerate(SPLITS):
        total = int(store.value("SELECT COUNT(*) FROM pairs WHERE dropped IS NULL AND split = ?", index))
        counts[name] = total
        files = -(-total // ROWS_PER_FILE)
        with closing(store.rows(name)) as stored:
            rows = iter(tqdm_or_not(stored, f"writing {name}", quiet, "rows", total))
            for number in range(files):
                path = folder / "data" / f"{name}-{number:05d}-of-{files:05d}.parquet"
                for row in _written(path, islice(rows, ROWS_PER_FILE)):
                    known = row["source"] in sources or len(sources) < _MOST_SOURCES
                    sources[row["source"] if known else "others"] += 1
                    licences[row["licence"]] += 1
    return counts, dict(sources.most_common()), dict(licences.most_common())


def _written(path: Path, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Write `rows` to a Parquet file, handing each on once it is in."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, texts = pa.string(), pa.list_(pa.string())
    schema = pa.schema(
        [
            ("prompt", text), ("text", text), ("terms", texts), ("embeddings", texts),
            ("negative_prompt", text), ("weights", pa.list_(pa.float64())), ("page", text), ("kind", text),
            ("source", text), ("licence", text), ("strict", pa.bool_()),
        ]
    )  # fmt: skip
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(rows, _ROWS_PER_GROUP)):
            writer.write_batch(pa.RecordBatch.from_pylist(group, schema=schema))
            yield from group


def tqdm_or_not(items: Any, text: str, quiet: bool, unit: str = "", total: int | None = None) -> Any:
    """`items` with a progress bar on a terminal; as they are elsewhere, or when `quiet`."""
    return tqdm(items, desc=text, unit=f" {unit}", total=total, disable=quiet or None)


def _check_target(out: Path) -> None:
    """A build replaces `out` whole, so it must not be a folder that holds anything else."""
    if out.is_dir() and any(out.iterdir()) and not (out / SUMMARY).is_file():
        raise DataError(f"{out} exists and is no data set (it has no {SUMMARY}); choose another --out")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; --out names a folder")
    if str(out) != encodable(str(out)):
        raise DataError(f"{encodable(str(out))} is no name in UTF-8, which Parquet needs; choose another --out")


def _remove_leftovers(out: Path) -> None:
    """What builds of this folder left beside it when they were killed."""
    if os.name != "posix" or not out.parent.is_dir():
        return
    for path in out.parent.glob(f".{out.name}.*-*"):
        kind, _, rest = path.name.removeprefix(f".{out.name}.").partition("-")
        process = rest.partition("-")[0]
        if kind in ("new", "work") and process.isdigit() and not _is_alive(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
