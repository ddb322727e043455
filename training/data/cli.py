"""`python -m training data build|stats`: arguments in, a call of `build` or `stats` out."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from negopt.errors import DataError

from .readers.hub import DEFAULT_ID


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_build(actions.add_parser("build", help="read, clean, deduplicate, split, write"))
    stats = actions.add_parser("stats", help="what a data set holds: counts, lengths, terms, coverage")
    stats.add_argument("folder", type=Path, metavar="DIR", help="a folder that `data build` wrote")
    stats.add_argument("--json", action="store_true", help="print JSON")
    stats.add_argument("--html", type=Path, metavar="FILE", help="also write one page with pictures")


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        nargs="*",
        default=[DEFAULT_ID],
        metavar="SOURCE",
        help="styles.csv, CSV, TSV, JSON, JSONL (also .gz), Parquet, ComfyUI workflows, pictures, folders of "
        f"all these, or a Hugging Face data set id, in any mixture (default: {DEFAULT_ID})",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write, or to replace")
    parser.add_argument("--seed", type=int, default=0, help="of the splits and the order (default 0)")
    parser.add_argument("--validation", type=float, default=0.05, metavar="PART", help="of all rows (0.05)")
    parser.add_argument("--test", type=float, default=0.05, metavar="PART", help="of all rows (0.05)")
    caps = {
        "favourite": (20, "rows of one author with one and the same negative"),
        "negative": (200, "rows with one negative, whoever wrote it"),
        "page": (500, "rows of one author or page"),
    }
    for name, (default, text) in caps.items():
        parser.add_argument(
            f"--cap-per-{name}", type=int, default=default, metavar="N", help=f"{text}; 0 for all ({default})"
        )
    parser.add_argument(
        "--near", type=float, default=0.8, metavar="J", help="overlap from which a pair repeats another (0.8)"
    )
    parser.add_argument("--keep-model-written", action="store_true", help="keep what a language model wrote")
    parser.add_argument("--limit", type=int, metavar="N", help="read at most N pairs from each source")
    parser.add_argument("--quiet", action="store_true", help="no progress bars, no names of skipped files")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; returns 0. Raises `NegOptError`s for whatever the caller can put right."""
    try:
        return _build(args) if args.action == "build" else _stats(args)
    except OSError as error:  # a folder that cannot be made, a disk that is full; not every one names a file
        reason = error.strerror or str(error)
        raise DataError(f"{error.filename}: {reason}" if error.filename else reason) from error


def _build(args: argparse.Namespace) -> int:
    from .build import BuildOptions, build
    from .split import Caps

    options = BuildOptions(
        seed=args.seed,
        validation=args.validation,
        test=args.test,
        caps=Caps(args.cap_per_favourite, args.cap_per_negative, args.cap_per_page),
        near=args.near,
        keep_model_written=args.keep_model_written,
        limit=args.limit,
    )
    with _NamedOnStderr(args.quiet):
        summary = build(args.sources, args.out, options, quiet=args.quiet)
    print(_report(summary, args.out))
    return 0


def _report(summary: dict[str, Any], out: Path) -> str:
    rows = ", ".join(f"{count:,} {name}" for name, count in summary["rows"].items())
    lines = [f"{out}: {rows} ({summary['strict']['validation']:,} and {summary['strict']['test']:,} strict)"]
    lines += [f"{summary['read']:>10,} pairs read from {summary['files']:,} files"]
    lines += [f"{count:>10,} dropped: {reason}" for reason, count in summary["dropped"].items() if count]
    if summary["skipped_files"]:
        lines.append(f"{summary['skipped_files']:>10,} files skipped or broken off")
    if summary["one_author"]:
        lines.append("nearly all rows are one author's: split by prompt, not by author")
    if summary["shared_prompts"]:
        lines.append("most rows have a prompt that another author has, too: split by prompt, not by author")
    empty = [name for name, count in summary["rows"].items() if not count]
    if empty:
        what = "prompts" if summary["one_author"] or summary["shared_prompts"] else "authors"
        lines.append(f"too few {what} for: {', '.join(empty)}")
    return "\n".join(lines)


def _stats(args: argparse.Namespace) -> int:
    from . import stats

    figures = stats.measure(args.folder)
    print(stats.as_json(figures) if args.json else stats.as_text(figures))
    if args.html is not None:
        stats.write_page(args.html, figures)
    return 0


class _NamedOnStderr:
    """While it lasts, the readers' warnings go to stderr without breaking a progress bar."""

    def __init__(self, quiet: bool) -> None:
        self._logger = logging.getLogger("training.data")
        self._handler = _TqdmHandler(level=logging.ERROR if quiet else logging.WARNING)

    def __enter__(self) -> None:
        self._logger.addHandler(self._handler)
        self._logger.propagate = False

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self._handler)
        self._logger.propagate = True


class _TqdmHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)
