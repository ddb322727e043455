"""What is in a data set: `python -m training data stats DIR`.

Counts, lengths, the most frequent terms, and how much of all use the first 1,000 or 2,000 terms cover. Reads
the Parquet files batch by batch; knows nothing of how they were made.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from negopt.errors import DataError
from negopt.terms import term_key

from .store import SPLITS

COVERAGE = (10, 30, 100, 300, 1_000, 2_000, 5_000)
_QUANTILES = (5, 25, 50, 75, 95)
_LISTED = 40
_MOST_COUNTED = 2_000_000  # different terms held; beyond it those seen once are forgotten


@dataclass
class Stats:
    """The figures of a data set. Lengths map a quantile (in percent) to a number; shares are in [0, 1]."""

    rows: dict[str, int] = field(default_factory=dict)
    strict: dict[str, int] = field(default_factory=dict)
    authors: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    prompt_words: dict[int, int] = field(default_factory=dict)
    negative_terms: dict[int, int] = field(default_factory=dict)
    term_words: dict[int, int] = field(default_factory=dict)
    different_terms: int = 0
    different_negatives: int = 0
    used_terms: int = 0
    coverage: dict[int, float] = field(default_factory=dict)
    with_embeddings: float = 0.0
    with_weights: float = 0.0
    frequent_terms: list[tuple[str, int]] = field(default_factory=list)
    frequent_embeddings: list[tuple[str, int]] = field(default_factory=list)


def measure(folder: Path) -> Stats:
    """The figures of the data set in `folder`. Raises `DataError` where it is none or cannot be read."""
    stats = Stats()
    prompts: Counter[int] = Counter()
    lengths: Counter[int] = Counter()
    words: Counter[int] = Counter()
    kinds: Counter[str] = Counter()
    terms = _Frequent()
    embeddings = _Frequent()
    negatives: set[int] = set()
    embedded = weighted = 0
    for split in SPLITS:
        authors: set[int] = set()
        rows = strict = 0
        for row in _rows(folder, split):
            rows += 1
            strict += row["strict"]
            authors.add(hash(row["page"]))
            kinds[row["kind"]] += 1
            prompts[len(row["text"].split())] += 1
            lengths[len(row["terms"])] += 1
            keys = [terms.add(term) for term in row["terms"]]
            words.update(len(term.split()) for term in row["terms"])
            negatives.add(hash(frozenset(keys)))
            for name in row["embeddings"]:
                embeddings.add(name)
            embedded += bool(row["embeddings"])
            weighted += any(weight != 1.0 for weight in row["weights"])
        stats.rows[split], stats.strict[split], stats.authors[split] = rows, strict, len(authors)
    total = sum(stats.rows.values())
    if not total:
        raise DataError(f"the data set in {folder} is empty")
    stats.kinds = dict(kinds.most_common())
    stats.prompt_words, stats.negative_terms, stats.term_words = map(_quantiles, (prompts, lengths, words))
    stats.different_terms, stats.used_terms = len(terms.counts), terms.total
    stats.different_negatives = len(negatives)
    stats.coverage = terms.coverage()
    stats.with_embeddings, stats.with_weights = embedded / total, weighted / total
    stats.frequent_terms, stats.frequent_embeddings = terms.listed(), embeddings.listed()
    return stats


class _Frequent:
    """Counts of terms by `term_key`, shown in the spelling that was met first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.total = 0
        self._spelling: dict[str, str] = {}

    def add(self, term: str) -> str:
        key = term_key(term)
        self.counts[key] += 1
        self.total += 1
        self._spelling.setdefault(key, term)
        if len(self.counts) > _MOST_COUNTED:
            self.counts = Counter({k: count for k, count in self.counts.items() if count > 1})
            self._spelling = {k: self._spelling[k] for k in self.counts}
        return key

    def coverage(self) -> dict[int, float]:
        counts = sorted(self.counts.values(), reverse=True)
        return {size: round(sum(counts[:size]) / max(self.total, 1), 4) for size in COVERAGE}

    def listed(self) -> list[tuple[str, int]]:
        return [(self._spelling[key], count) for key, count in self.counts.most_common(_LISTED)]


def _rows(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not folder.is_dir() or not (folder / "data").is_dir():
        raise DataError(f"{folder} holds no data set; `python -m training data build` writes one")
    columns = ["text", "terms", "embeddings", "weights", "page", "kind", "strict"]
    for file in sorted((folder / "data").glob(f"{split}-*.parquet")):
        try:
            with pq.ParquetFile(file) as table:
                missing = [name for name in columns if name not in table.schema_arrow.names]
                if missing:
                    raise DataError(f"{file}: column {missing[0]!r} is missing; build the data set with `data build`")
                for batch in table.iter_batches(batch_size=4096, columns=columns):
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError, KeyError) as error:
            raise DataError(f"cannot read {file}: {str(error).splitlines()[0][:200]}") from error


def _quantiles(histogram: Counter[int]) -> dict[int, int]:
    total, result = sum(histogram.values()), {}
    for percent in _QUANTILES:
        seen = 0
        for value in sorted(histogram):
            seen += histogram[value]
            if seen * 100 >= percent * total:
                result[percent] = value
                break
    return result


def as_json(stats: Stats) -> str:
    """The figures as one JSON object."""
    return json.dumps(asdict(stats), indent=1, ensure_ascii=False)


def as_text(stats: Stats) -> str:
    """The figures as tables for a terminal."""
    lines = [f"{'split':<12}{'rows':>10}{'strict':>10}{'authors':>10}"]
    lines += [
        f"{split:<12}{rows:>10,}{stats.strict[split]:>10,}{stats.authors[split]:>10,}"
        for split, rows in stats.rows.items()
    ]
    lines += ["", f"{'quantile':<22}" + "".join(f"{percent:>7}%" for percent in _QUANTILES)]
    for name, values in (
        ("words of a prompt", stats.prompt_words),
        ("terms of a negative", stats.negative_terms),
        ("words of a term", stats.term_words),
    ):
        lines.append(f"{name:<22}" + "".join(f"{values[percent]:>8}" for percent in _QUANTILES))
    lines += ["", f"{stats.different_terms:,} different terms, used {stats.used_terms:,} times"]
    lines += [f"  the first {size:>6,} cover {100 * share:5.1f}%" for size, share in stats.coverage.items()]
    lines += [
        f"{stats.different_negatives:,} different negatives",
        f"{100 * stats.with_embeddings:.1f}% of the negatives named embeddings, "
        f"{100 * stats.with_weights:.1f}% weighted a term",
        "kinds: " + ", ".join(f"{kind} {count:,}" for kind, count in stats.kinds.items()),
        "",
        "most frequent terms",
    ]
    lines += [f"{count:>9,}  {term}" for term, count in stats.frequent_terms]
    return "\n".join(lines)


def write_page(path: Path, stats: Stats) -> None:
    """One HTML file without scripts or outside links: the tables, and bars for terms and coverage."""
    terms = _bars([(term, count) for term, count in stats.frequent_terms], "{:,}")
    coverage = _bars([(f"first {size:,} terms", 100 * share) for size, share in stats.coverage.items()], "{:.1f}%", 100)
    tables = as_text(stats).partition("\nmost frequent terms")[0]
    path.write_text(
        "<!doctype html><meta charset=utf-8><title>Negative prompts</title>"
        "<style>body{font:15px system-ui;margin:2em auto;max-width:50em;padding:0 1em}svg{width:100%}"
        "text{font:13px system-ui;fill:#222}rect{fill:#5a7fb5}</style>"
        f"<h1>Negative prompts</h1><pre>{html.escape(tables)}</pre>"
        f"<h2>How much of all use the most frequent terms cover</h2>{coverage}"
        f"<h2>Most frequent terms</h2>{terms}\n",
        "utf-8",
    )


def _bars(rows: list[tuple[str, float]], form: str, largest: float | None = None) -> str:
    """A horizontal bar chart as SVG, 22 units a bar."""
    largest = largest or max((value for _, value in rows), default=1)
    parts = [
        f'<text x="0" y="{22 * i + 15}">{html.escape(name)}</text>'
        f'<rect x="230" y="{22 * i + 3}" width="{430 * value / largest:.1f}" height="16"/>'
        f'<text x="{236 + 430 * value / largest:.1f}" y="{22 * i + 15}">{form.format(value)}</text>'
        for i, (name, value) in enumerate(rows)
    ]
    return f'<svg viewBox="0 0 760 {22 * len(rows)}" role="img">{"".join(parts)}</svg>'
