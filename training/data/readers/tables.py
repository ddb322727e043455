"""Tables of pairs: CSV, TSV, JSONL, JSON, each also gzipped, and Parquet.

Everything streams: no file is held in memory whole, except a JSON document that is one object. A record that
does not fit its format is counted and passed over; a file that breaks raises `Unreadable` after the
records before the break were handed over.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..columns import has_pair, pair_from_record, wanted_columns
from ..pairs import RawPair, ReadLog, Unreadable, page_id
from .comfyui_graph import is_graph, pairs_in_graph
from .infotext import split_infotext
from .styles_csv import is_style_table

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
_SWARM = "sui_image_params"  # SwarmUI's sidecars have lists beside the one record
_LONGEST_RECORD = 4 * 2**20  # characters; an unclosed quote must not swallow a file of gigabytes
_LARGEST_OBJECT = 256 * 2**20
_BLOCK = 1 << 16


def suffix_of(path: Path) -> str:
    """The suffix that tells the format: `.csv` for both `a.csv` and `a.csv.gz`."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def read_table(path: Path, folder: Path, log: ReadLog) -> Iterator[RawPair]:
    """The pairs of one table, in its order. Raises `Unreadable` where the file breaks off or is no table.

    `folder` is where the search began: a JSON file of one record stands beside a picture under it, whose author it has.
    """
    suffix = suffix_of(path)
    try:
        if suffix == ".parquet":
            yield from _from_records(path, _parquet_records(path), log)
        elif suffix in (".csv", ".tsv"):
            yield from _csv_pairs(path, log, "\t" if suffix == ".tsv" else None)
        elif suffix in (".jsonl", ".ndjson"):
            yield from _from_records(path, _jsonl_records(path, log), log)
        else:
            yield from _json_pairs(path, folder, log)
    except EOFError as error:
        raise Unreadable("the compressed file is truncated") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise Unreadable("not a whole gzip file") from error
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error


def _from_records(path: Path, records: Iterable[Any], log: ReadLog, kind: str = "other") -> Iterator[RawPair]:
    page = page_id(path.name) if kind == "style" else None
    for record in records:
        if not isinstance(record, Mapping):
            log.bad_record(path.name, "not an object")
            continue
        pair = pair_from_record(record, source=path.name, kind=kind, page=page) or _infotext_pair(path, record)
        if pair is None:
            log.without_pair += 1
        else:
            yield pair


_INFOTEXT = ("parameters", "infotext", "generation_parameters", "info")  # the last is SD.Next's log of pictures


def _infotext_pair(path: Path, record: Mapping[str, Any]) -> RawPair | None:
    """A listing of pictures often keeps A1111's whole text in one column."""
    for name in _INFOTEXT:
        text = record.get(name)
        parts = split_infotext(text) if isinstance(text, str) else None
        if parts and parts[1]:
            return RawPair(parts[0], parts[1], source=path.name, kind="infotext")
    return None


# --- CSV


def _csv_pairs(path: Path, log: ReadLog, delimiter: str | None) -> Iterator[RawPair]:
    csv.field_size_limit(_LONGEST_RECORD)
    with ExitStack() as stack:
        lines = _text_lines(stack.enter_context(_open(path)), log, path.name)
        first = next(lines, None)
        if first is None:
            raise Unreadable("the file is empty")
        if delimiter is None:
            delimiter = max(",;\t|", key=first.count)
        reader = csv.reader(_chain(first, lines), delimiter=delimiter)
        try:
            names = next(reader)
        except csv.Error as error:
            raise Unreadable(f"no CSV: {error}") from error
        if not has_pair(names) and not any(name in _INFOTEXT for name in names):
            raise Unreadable(f"no prompt and negative prompt columns among: {', '.join(names)[:120]}")
        kind = "style" if is_style_table(path, names) else "other"
        yield from _from_records(path, _csv_records(reader, names, path, log), log, kind)


def _csv_records(reader: Any, names: list[str], path: Path, log: ReadLog) -> Iterator[dict[str, str]]:
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # the reader starts afresh with the next line
            log.bad_record(path.name, str(error))
            continue
        if not row:
            continue
        if len(row) > len(names) and any(cell.strip() for cell in row[len(names) :]):
            log.bad_record(path.name, f"{len(row)} cells for {len(names)} columns")
            continue
        yield dict(zip(names, row, strict=False))


# --- JSON


def _jsonl_records(path: Path, log: ReadLog) -> Iterator[Any]:
    seen = False
    with _open(path) as stream:
        for line in _text_lines(stream, log, path.name):
            if not line.strip():
                continue
            seen = True
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                log.bad_record(path.name, f"not JSON: {error}")
    if not seen:
        raise Unreadable("the file is empty")


def _json_pairs(path: Path, folder: Path, log: ReadLog) -> Iterator[RawPair]:
    """A list of records, an object of records, a ComfyUI graph, or records one a line as in JSONL."""
    with _open(path) as stream:
        start = stream.read(_BLOCK)
        text = start.decode(_encoding(start), "replace").lstrip("\ufeff \t\r\n")
    if not text:
        raise Unreadable("the file is empty")
    kind = "style" if "style" in path.name.lower() else "other"
    if text[0] == "[":
        yield from _from_records(path, _array_items(path), log, kind)
        return
    if _is_one_a_line(path):
        yield from _from_records(path, _jsonl_records(path, log), log, kind)
        return
    document = _whole_object(path)
    if is_graph(document):
        found = False
        for prompt, negative in pairs_in_graph(document):
            found = True
            page = page_id(path.name)
            yield RawPair(prompt, negative, source=path.name, page=page, kind="workflow")
        log.without_pair += not found
        return
    if has_pair(list(document)) or _SWARM in document:
        pair = pair_from_record(document, source=folder.name, kind=kind, page=page_id(str(folder.resolve())))
        log.without_pair += pair is None
        if pair is not None:
            yield pair
        return
    yield from _from_records(path, _records_in_object(document), log, kind)


def _is_one_a_line(path: Path) -> bool:
    """Whether the first line is an object of its own, and another line follows."""
    with _open(path) as stream:
        lines = (line for line in _text_lines(stream, ReadLog(), path.name) if line.strip())
        first = next(lines, "")
        try:
            return isinstance(json.loads(first.lstrip("\ufeff")), dict) and next(lines, None) is not None
        except (ValueError, RecursionError):
            return False


def _records_in_object(document: Mapping[str, Any]) -> Iterable[Any]:
    """`{"data": [...]}`, `{"name": {record}, ...}`, or such a thing further in: the first of them that has a pair.

    Civitai's `{"modelVersions": [{"files": [...], "images": [...]}]}` has other lists beside and above that one.
    """
    first: Iterable[Any] | None = None
    for group in _groups(document, depth=2):
        first = group if first is None else first
        if any(isinstance(record, Mapping) and pair_from_record(record, source="") for record in group):
            return group
    if first is None:
        raise Unreadable("no records with a prompt in this JSON")
    return first


def _groups(document: Mapping[str, Any], depth: int) -> Iterator[list[Any]]:
    """The lists of records in an object, the records that it has by name, then the same of what all these hold."""
    inner = list(document.values())
    lists = [items for items in inner if isinstance(items, list) and items and isinstance(items[0], Mapping)]
    named = [item for item in inner if isinstance(item, Mapping)]
    yield from lists
    if named:
        yield named
    if depth:
        for record in chain(named, *lists):
            if isinstance(record, Mapping):
                yield from _groups(record, depth - 1)


def _whole_object(path: Path) -> Any:
    with _open(path) as stream:
        data = stream.read(_LARGEST_OBJECT + 1)
    if len(data) > _LARGEST_OBJECT:
        raise Unreadable("one JSON object of more than 256 MiB; write it as JSONL, one object a line")
    try:
        return json.loads(data.decode(_encoding(data), "replace").lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {error}") from error


def _array_items(path: Path) -> Iterator[Any]:
    """The items of a JSON array one by one, so that an array of any length needs the memory of one item."""
    decoder = json.JSONDecoder()
    with _open(path) as stream:
        blocks = _text_blocks(stream)
        buffer = next(blocks, "").lstrip("\ufeff \t\r\n")[1:]
        ended = False
        while True:
            buffer = buffer.lstrip(" \t\r\n,")
            if buffer.startswith("]"):
                return
            try:
                item, end = decoder.raw_decode(buffer)
                # a number or word at the end of a block may go on in the next one
                if end == len(buffer) and not ended and not isinstance(item, (dict, list, str)):
                    raise ValueError("may go on")
            except (ValueError, RecursionError) as error:
                if ended:
                    raise Unreadable("the JSON list breaks off") from error
                if len(buffer) > _LONGEST_RECORD:
                    raise Unreadable("the JSON list holds something that is not JSON") from error
                more = next(blocks, None)
                ended = more is None
                buffer += more or ""
                continue
            yield item
            buffer = buffer[end:]


# --- Parquet


def _parquet_records(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            names = table.schema_arrow.names
            columns = wanted_columns(names) if has_pair(names) else names
            for batch in table.iter_batches(batch_size=1024, columns=columns):
                yield from batch.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError) as error:  # damaged bytes end in any of these
        raise Unreadable(f"not a whole Parquet file: {str(error).splitlines()[0][:200]}") from error


# --- bytes and text


def _open(path: Path) -> BinaryIO:
    """Opens plain or gzipped, by the first bytes and not by the name."""
    stream = path.open("rb")
    if stream.read(2) == b"\x1f\x8b":
        stream.seek(0)
        return cast(BinaryIO, _OwningGzip(stream))
    stream.seek(0)
    return stream


class _OwningGzip(gzip.GzipFile):
    """A gzip reader that closes the file under it (GzipFile leaves a given file object open)."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(fileobj=stream, mode="rb")
        self._under = stream

    def close(self) -> None:
        super().close()
        self._under.close()


def _encoding(start: bytes) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-8-sig"


def _text_blocks(stream: BinaryIO) -> Iterator[str]:
    """The stream as decoded text; bytes outside the encoding become U+FFFD, NUL characters go, and every
    kind of line end becomes a line feed."""
    data = stream.read(_BLOCK)
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(_encoding(data))("replace"), translate=True)
    while data:
        yield decoder.decode(data).replace("\0", "")
        data = stream.read(_BLOCK)
    yield decoder.decode(b"", True)


def _text_lines(stream: BinaryIO, log: ReadLog, name: str) -> Iterator[str]:
    """Lines with their ends. A line longer than a record may be is cut off there and counted."""
    rest, skipping = "", False
    for block in _text_blocks(stream):
        lines = (rest + block).split("\n")
        rest = lines.pop()
        for line in lines:
            if not skipping:
                yield line + "\n"
            skipping = False
        if len(rest) > _LONGEST_RECORD:
            if not skipping:
                log.bad_record(name, "a line longer than a record may be")
            rest, skipping = "", True
    if rest and not skipping:
        yield rest


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
