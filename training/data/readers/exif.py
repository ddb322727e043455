"""EXIF: where it lies in a JPEG or WebP file, and the few of its tags that programs write prompts into.

UserComment is A1111's and its kin's; Make, Model and ImageDescription are ComfyUI's: its SaveAnimatedWEBP writes
`prompt:{...}` into Model and `workflow:{...}` into Make, WAS Node Suite `Prompt:` into Make and `Workflow:` into
ImageDescription.

Read by hand rather than with Pillow, which asks first how many pixels the header states: it takes a large picture
for an attack, though none of it is decoded here. What is read is bounded, whatever the file states.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import BinaryIO, Literal

from ..pairs import Unreadable

_HEAD = b"Exif\0\0"
LARGEST_BLOCK = 64 * 2**20
_MOST_SEGMENTS = 100_000  # a picture has some tens, an animated one some for each frame
_MOST_TAGS = 1000  # of one directory
_INNER_DIRECTORY = 0x8769
_USER_COMMENT = 0x9286
_IMAGE_DESCRIPTION, _MAKE, _MODEL = 0x010E, 0x010F, 0x0110
_TEXT_KINDS = (1, 2, 7, 129)  # byte, ASCII, undefined, UTF-8: a byte each

Order = Literal["little", "big"]


def exif_block(stream: BinaryIO) -> bytes:
    """The EXIF block of the JPEG or WebP file `stream`, empty where it has none.

    Raises `Unreadable` where the file is neither, or breaks off before its pixels (JPEG) or its end (WebP).
    """
    start = stream.read(12)
    if start.startswith(b"\xff\xd8"):
        stream.seek(2)
        return _in_jpeg(stream)
    if start.startswith(b"RIFF") and start[8:] == b"WEBP":
        return _in_webp(stream, 8 + int.from_bytes(start[4:8], "little"))
    raise Unreadable("no picture of a kind that is read")


def exif_texts(block: bytes) -> dict[str, str]:
    """The texts of an EXIF block, by the names that they have in a PNG."""
    texts: dict[str, str] = {}
    values = exif_values(block, (_USER_COMMENT, _MODEL, _MAKE, _IMAGE_DESCRIPTION))
    if values.get(_USER_COMMENT):
        texts["parameters"] = decode_user_comment(values[_USER_COMMENT])
    for tag in (_MODEL, _MAKE, _IMAGE_DESCRIPTION):
        text = decoded(values.get(tag, b"")).strip("\0 ")
        name, colon, rest = text.partition(":")
        if colon and name.lower() in ("prompt", "workflow", "parameters"):
            texts.setdefault(name.lower(), rest)
        elif text and tag == _IMAGE_DESCRIPTION:
            texts.setdefault("Description", text)
        elif text.startswith("{"):  # SwarmUI's JSON, in files of its first year
            texts.setdefault("Model", text)
    return texts


def decode_user_comment(data: bytes) -> str:
    """The text of an EXIF UserComment: eight bytes that name the encoding, then the text.

    `UNICODE` is UTF-16 in either byte order (the standard says the file's, programs write what they like:
    the zero bytes of ordinary letters show it), or UTF-8 against the rule where no byte is zero.
    """
    code, body = data[:8], data[8:]
    if code.startswith(b"UNICODE"):
        if body.startswith((b"\xff\xfe", b"\xfe\xff")):
            return body.decode("utf-16", "replace").strip("\0")
        even, odd = body[0::2].count(0), body[1::2].count(0)
        if even or odd:
            return body.decode("utf-16-be" if even > odd else "utf-16-le", "replace").strip("\0")
    elif not code.startswith((b"ASCII", b"JIS", b"\0\0\0\0")):
        body = data  # no code at all: the text begins at once
    return decoded(body.strip(b"\0"))


def decoded(data: bytes) -> str:
    """UTF-8, or Latin-1 where it is none."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def exif_values(block: bytes, tags: Collection[int]) -> dict[int, bytes]:
    """The bytes of those of `tags` that the block's first directory or its EXIF directory has, as text or raw.

    The layout is TIFF's (revision 6.0, section 2). Never raises: what lies outside the block is left out.
    """
    data = block.removeprefix(_HEAD)
    orders: dict[bytes, Order] = {b"II": "little", b"MM": "big"}
    order = orders.get(data[:2])
    if order is None:
        return {}
    entries = list(_entries(data, int.from_bytes(data[4:8], order), order))
    inner = next((field for tag, _, _, field in entries if tag == _INNER_DIRECTORY), None)
    if inner is not None:
        entries += _entries(data, int.from_bytes(inner, order), order)
    found: dict[int, bytes] = {}
    for tag, kind, size, field in entries:
        if tag not in tags or tag in found or kind not in _TEXT_KINDS:
            continue
        offset = int.from_bytes(field, order)
        if size <= len(field):  # so little stands in place of the offset
            found[tag] = field[:size]
        elif offset + size <= len(data):
            found[tag] = data[offset : offset + size]
    return found


def _entries(data: bytes, place: int, order: Order) -> Iterator[tuple[int, int, int, bytes]]:
    """(tag, type, count, value or where it is) of each entry in the directory at `place`."""
    count = int.from_bytes(data[place : place + 2], order)
    for number in range(min(count, _MOST_TAGS)):
        start = place + 2 + 12 * number
        entry = data[start : start + 12]
        if len(entry) < 12:
            return
        tag, kind, length = (int.from_bytes(part, order) for part in (entry[:2], entry[2:4], entry[4:8]))
        yield tag, kind, length, entry[8:]


def _in_jpeg(stream: BinaryIO) -> bytes:
    """What the APP1 segments before the pixels hold of EXIF (ISO/IEC 10918-1, annex B; a long block takes several)."""
    parts: list[bytes] = []
    room = LARGEST_BLOCK
    for _ in range(_MOST_SEGMENTS):
        head = stream.read(2)
        if head == b"\xff\xff":  # any number of these may stand before a marker
            stream.seek(-1, os.SEEK_CUR)
            continue
        if len(head) < 2 or head[0] != 0xFF:
            break
        if head[1] in (0xD9, 0xDA):  # the end, or the pixels
            return b"".join(parts)
        size = int.from_bytes(stream.read(2), "big") - 2
        if size < 0:
            break
        if head[1] != 0xE1 or size > room:
            stream.seek(size, os.SEEK_CUR)
            continue
        data = stream.read(size)
        if len(data) < size:
            break
        if data.startswith(_HEAD):
            parts.append(data.removeprefix(_HEAD))
            room -= size
    if parts:
        return b"".join(parts)
    raise Unreadable("the JPEG is truncated or damaged")


def _in_webp(stream: BinaryIO, end: int) -> bytes:
    """The EXIF chunk of a WebP file (RFC 9649, section 2.7), which states that it has `end` bytes."""
    for _ in range(_MOST_SEGMENTS):
        head = stream.read(8)
        if len(head) < 8:
            break
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"EXIF" and size <= LARGEST_BLOCK:
            data = stream.read(size)
            if len(data) == size:
                return data
            break
        stream.seek(size + size % 2, os.SEEK_CUR)
    if stream.seek(0, os.SEEK_END) >= end - 1:  # some programs leave out the last byte, which only fills up
        return b""
    raise Unreadable("the WebP is truncated or damaged")
