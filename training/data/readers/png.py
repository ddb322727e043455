"""PNG: its text chunks by keyword (ISO/IEC 15948, section 11.3.4: textual information).

Chunks of pixels are passed over. What is unpacked is bounded, whatever the file states.
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

from ..pairs import Unreadable
from .exif import decoded, exif_texts

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LARGEST_TEXTS = 64 * 2**20  # bytes in all text chunks of a file together, unpacked: 64 KB can pack so many
_MOST_UNPACKED = 1032  # bytes from one (zlib's technical details: "maximum compression factor")
# `comf` is ComfyUI's own, laid out like tEXt: its SaveAnimatedPNG puts prompt and workflow there.
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"comf", b"eXIf")


def png_texts(stream: BinaryIO) -> dict[str, str]:
    """Text chunks by keyword, from `stream` after the signature. A break after the first text is no matter.

    Raises `Unreadable` where the file breaks off before any text.
    """
    texts: dict[str, str] = {}
    room = _LARGEST_TEXTS
    while True:
        head = stream.read(8)
        if len(head) == 8:
            size, kind = struct.unpack(">I4s", head)
        if len(head) < 8 or size > 2**31 - 1 or not kind.isalpha():
            if texts:
                return texts
            raise Unreadable("the PNG is truncated or damaged")
        if kind == b"IEND":
            return texts
        if kind not in _TEXT_CHUNKS or size >= room:
            stream.seek(size + 4, 1)
            continue
        data = stream.read(size)
        stream.seek(4, 1)  # the checksum: a damaged text shows itself
        if len(data) < size:
            continue
        room -= size
        if kind == b"eXIf":
            texts = exif_texts(data) | texts
            continue
        keyword, text, spent = _png_text(kind, data, room)
        room -= spent
        if text:
            texts.setdefault(keyword, text)


def _png_text(kind: bytes, data: bytes, room: int) -> tuple[str, str, int]:
    """(keyword, text, bytes unpacked) of a chunk; the text is empty where it cannot be unpacked.

    At most `room` bytes are unpacked, and the text is cut off there.
    """
    keyword, _, rest = data.partition(b"\0")
    packed = kind == b"zTXt"
    spent = 0
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, room)
            spent = len(rest)
        except zlib.error:
            spent = min(room, _MOST_UNPACKED * len(rest))  # what may have been unpacked before the damage
            rest = b""
    # only iTXt is UTF-8 by the rule; other programs put that into tEXt, too
    text = rest.decode("utf-8", "replace") if kind == b"iTXt" else decoded(rest)
    return keyword.decode("latin-1"), text, spent
