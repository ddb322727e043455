"""AVIF and JPEG XL: where their EXIF lies in the boxes that both are made of (ISO/IEC 14496-12, section 4.2).

An AVIF file keeps it as an item of its `meta` box (ISO/IEC 23008-12, annex A), a JPEG XL file in a box of its own
(ISO/IEC 18181-2, section 9). What is read is bounded, whatever the file states.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from ..pairs import Unreadable
from .exif import LARGEST_BLOCK

_JXL_BOXES = b"\0\0\0\x0cJXL \r\n\x87\n"
_JXL_BARE = b"\xff\x0a"  # pixels alone, without boxes around them
_LARGEST_META = 2**20  # a picture's `meta` box has some hundred bytes
_MOST_BOXES = 10_000

Box = tuple[bytes, int, int]
"""(type, where its content begins, how long that is)"""


def is_boxes(start: bytes) -> bool:
    """Whether a file with this beginning (12 bytes) is an AVIF or JPEG XL picture."""
    return start == _JXL_BOXES or start.startswith(_JXL_BARE) or start[4:] in (b"ftypavif", b"ftypavis", b"ftypmif1")


def boxed_exif(stream: BinaryIO) -> bytes:
    """The EXIF block of an AVIF or JPEG XL file, empty where it has none.

    Raises `Unreadable` where the file breaks off before the box that tells.
    """
    if stream.read(2) == _JXL_BARE:
        return b""
    end = stream.seek(0, os.SEEK_END)
    whole = False
    for kind, place, size in _boxes_in_file(stream, end):
        whole = place + size <= end
        if not whole:
            break
        if kind == b"meta" and size <= _LARGEST_META:
            stream.seek(place)
            where = _exif_item(stream.read(size))
            return _block(stream, *where, end) if where else b""
        if kind == b"Exif":
            return _block(stream, place, size, end)
    if whole:
        return b""
    raise Unreadable("the picture is truncated or damaged")


def _block(stream: BinaryIO, place: int, size: int, end: int) -> bytes:
    """What follows on the four bytes that say how many more to pass over; no program passes over any."""
    if size > LARGEST_BLOCK:
        return b""
    if place + size > end:
        raise Unreadable("the picture is truncated or damaged")
    stream.seek(place)
    return stream.read(size)[4:]


def _boxes_in_file(stream: BinaryIO, end: int) -> Iterator[Box]:
    place = 0
    for _ in range(_MOST_BOXES):
        stream.seek(place)
        head = stream.read(16)
        if len(head) < 8:
            return
        box = _box(head, place, end)
        yield box
        place = box[1] + box[2]


def _boxes_in(data: bytes) -> Iterator[Box]:
    place = 0
    while len(data) - place >= 8:
        kind, start, size = _box(data[place : place + 16], place, len(data))
        yield kind, start, size
        place = start + size


def _box(head: bytes, place: int, end: int) -> Box:
    size, kind = int.from_bytes(head[:4], "big"), head[4:8]
    if size == 1:  # a long box: its size follows
        return kind, place + 16, max(0, int.from_bytes(head[8:16], "big") - 16)
    return kind, place + 8, max(0, (size or end - place) - 8)  # 0: to the end of the file


def _exif_item(meta: bytes) -> tuple[int, int] | None:
    """(place, length) in the file of the item of type `Exif`, or None where there is none or it lies elsewhere."""
    found = {kind: meta[4 + place : 4 + place + size] for kind, place, size in _boxes_in(meta[4:])}
    number = _exif_number(found.get(b"iinf", b""))
    return None if number is None else _location(found.get(b"iloc", b""), number)


def _exif_number(infos: bytes) -> int | None:
    """The number of the item of type `Exif` in an `iinf` box."""
    head = 6 if infos[:1] == b"\0" else 8  # version and flags, then the count
    for kind, place, size in _boxes_in(infos[head:]):
        entry = infos[head + place : head + place + size]
        if kind != b"infe" or entry[:1] not in (b"\2", b"\3"):
            continue
        wide = 4 if entry[:1] == b"\3" else 2
        if entry[4 + wide + 2 : 4 + wide + 6] == b"Exif":
            return int.from_bytes(entry[4 : 4 + wide], "big")
    return None


def _location(places: bytes, number: int) -> tuple[int, int] | None:
    """(place, length) of item `number` in an `iloc` box; of an item in several parts, of the first."""
    version = places[0] if places else 3
    if version > 2 or len(places) < 8:
        return None
    sizes = places[4] >> 4, places[4] & 15, places[5] >> 4, places[5] & 15 if version else 0
    offset_size, length_size, base_size, index_size = sizes
    wide = 4 if version == 2 else 2
    reader = _Numbers(places, 6)
    for _ in range(reader.next(wide)):
        item = reader.next(wide)
        method = reader.next(2) & 15 if version else 0
        reader.next(2)  # which file: 0 is this one
        base = reader.next(base_size)
        parts = reader.next(2)
        reader.next(index_size)
        offset, length = reader.next(offset_size), reader.next(length_size)
        reader.skip((parts - 1) * (index_size + offset_size + length_size))
        if reader.ended:
            return None
        if item == number:
            return (base + offset, length) if parts and method == 0 else None
    return None


class _Numbers:
    """Whole numbers of given sizes, one after another; 0 from the end on."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data = data
        self._place = place

    @property
    def ended(self) -> bool:
        return self._place > len(self._data)

    def skip(self, size: int) -> None:
        self._place += size

    def next(self, size: int) -> int:
        value = self._data[self._place : self._place + size]
        self._place += size
        return int.from_bytes(value, "big")
