"""The data set's README.md: what is in it, where it comes from, what was done to it. Written by the build.

Knows the build's summary only; opens no file but its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .split import LONG_NEGATIVE, RARE_NEGATIVE

_LISTED = 30
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_COLUMNS = """\
| column | holds |
|---|---|
| `prompt` | the prompt as written; a style's without its `{prompt}` placeholder |
| `text` | the prompt in plain lower-case words: what the network reads |
| `terms` | the negative prompt's terms, clean, in the author's order, each once, no embeddings |
| `weights` | the emphasis of each term, 1.0 where the author wrote none |
| `embeddings` | textual-inversion files that the negative named |
| `negative_prompt` | `terms` joined with commas |
| `page` | the author, the page it stood on, or (where that is what was split) the prompt; never in two splits |
| `kind` | gallery, style, infotext, workflow or other |
| `source`, `licence` | where the pair was found, and the licence stated there |
| `strict` | in validation and test: the set of terms occurs in no row of train |
"""


def write_card(folder: Path, name: str, summary: Mapping[str, Any]) -> None:
    """Write `folder`/README.md from the summary of a build."""
    parts = [_head(name, summary), _counts(summary), "## Columns\n\n" + _COLUMNS, _cleaning(summary)]
    parts += [_splits(summary), _sources(summary), _limits(summary)]
    (folder / "README.md").write_text("\n".join(parts), "utf-8")


def _head(name: str, summary: Mapping[str, Any]) -> str:
    rows = summary["rows"]
    total = sum(rows.values())
    size = next((label for most, label in _SIZES if total < most), "1M<n<10M" if total < 10**7 else "n>10M")
    files = "".join(f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in rows if rows[split])
    return (
        "---\nlicense: other\nlanguage:\n- en\ntask_categories:\n- text-generation\ntags:\n"
        "- negative-prompt\n- stable-diffusion\n- text-to-image\n"
        f"size_categories:\n- {size}\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n\n"
        f"# {name}: prompts and the negative prompts written for them\n"
    )


def _counts(summary: Mapping[str, Any]) -> str:
    rows, strict = summary["rows"], summary["strict"]
    total = sum(rows.values())
    lines = [
        (split, f"{count:,}", f"{100 * count / total:.1f}%", f"{strict[split]:,}" if split != "train" else "")
        for split, count in rows.items()
    ]
    return (
        f"{total:,} pairs of {summary['authors']:,} {_split_by(summary)}, "
        f"from {summary['read']:,} pairs read.\n\n" + _table(("split", "rows", "share", "strict"), lines)
    )


def _cleaning(summary: Mapping[str, Any]) -> str:
    dropped = [(reason, f"{count:,}") for reason, count in summary["dropped"].items() if count]
    dropped.append(("kept", f"{sum(summary['rows'].values()):,}"))
    terms = [(what, f"{count:,}") for what, count in summary["terms"].items() if count]
    files = (
        f"{summary['files']:,} files opened, {summary['skipped_files']:,} skipped or broken off, "
        f"{summary['bad_records']:,} bad records, {summary['without_pair']:,} records without a pair.\n"
    )
    skipped = "".join(f"- {name}: {reason}\n" for name, reason in summary["skipped"][:_LISTED])
    return (
        "## Cleaning\n\n" + files + (f"\nSkipped:\n\n{skipped}" if skipped else "") + "\n"
        "Prompt syntax (weights, LoRA tags, wildcards, ...) is read and left out of `text`; negatives are "
        "split into terms. Explicit and hateful prompts go; explicit words in a negative go, but for `nsfw` "
        "and `nude`. Each pair that went is counted at the first step that dropped it.\n\n"
        + _table(("pairs dropped", "count"), dropped)
        + ("\n" + _table(("terms", "count"), terms) if terms else "")
    )


def _splits(summary: Mapping[str, Any]) -> str:
    options = summary["options"]
    caps = options["caps"]
    text = (
        "## Splits\n\n"
        f"By author, from seed {options['seed']}: pages that share a negative of {LONG_NEGATIVE} or more "
        f"terms which at most {RARE_NEGATIVE} pages use are taken for one author, and an author's rows are "
        "all in one split. Where a source names no author, rows with the same negative count as one page. "
        "Authors with more than a tenth of what validation or test wants are in train. Rows of validation and "
        "test whose prompt stands in train are left out. Caps (0 is none): "
        f"{caps['favourite']} rows for one negative of one author, {caps['negative']} for one negative, "
        f"{caps['page']} for one author.\n"
    )
    if summary["one_author"]:
        text += (
            "\nNearly all rows are one author's, so that author was split by prompt: no prompt of theirs is in two "
            "splits, but they do share the author, and the negatives of rows that are not `strict`.\n"
        )
    if summary["shared_prompts"]:
        text += (
            "\nMost rows have a prompt that another author has, too, so all were split by prompt: no prompt is in "
            "two splits, but authors are, and the negatives of rows that are not `strict`.\n"
        )
    return text


def _split_by(summary: Mapping[str, Any]) -> str:
    """What no two splits share, in the plural."""
    if summary["shared_prompts"]:
        return "prompts"
    return "prompts or other authors" if summary["one_author"] else "authors or pages"


def _sources(summary: Mapping[str, Any]) -> str:
    sources = list(summary["sources"].items())
    lines = [(name, f"{count:,}") for name, count in sources[:_LISTED]]
    rest = sources[_LISTED:]
    if rest:
        lines.append((f"{len(rest):,} others", f"{sum(count for _, count in rest):,}"))
    licences = [(name, f"{count:,}") for name, count in summary["licences"].items()]
    return (
        "## Sources and licences\n\n"
        + _table(("source", "rows"), lines)
        + "\n"
        + _table(("licence stated there", "rows"), licences)
        + '\nThe texts keep the licence of their source. "none" and "unknown" mean that none is stated.\n'
    )


def _limits(summary: Mapping[str, Any]) -> str:
    kept = "kept" if summary["options"]["keep_model_written"] else "dropped where marked or evident"
    return (
        "## What it cannot say\n\n"
        "These are the habits of those who wrote the sources, copied from one another more than tried out; "
        "that a term stands in a negative does not show that it helps the picture. Word lists keep indecent "
        f"content out, imperfectly. Pairs written by a language model: {kept}.\n"
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
