"""GIF: the comment before the first frame (GIF89a, section 24), where A1111 and Forge write the parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from ..pairs import Unreadable
from .exif import decoded

SIGNATURES = (b"GIF87a", b"GIF89a")
_COMMENT = 0xFE
_MOST_BLOCKS = 10_000  # of up to 255 bytes each, in all that stands before the first frame


def gif_texts(stream: BinaryIO) -> dict[str, str]:
    """The first comment, as `comment`. Raises `Unreadable` where the file breaks off before its first frame."""
    head = stream.read(13)
    if len(head) == 13 and head[10] & 0x80:  # a table of colours follows
        stream.seek(3 * 2 ** ((head[10] & 7) + 1), 1)
    for label, content in _extensions(stream):
        if label is None:
            return {}
        if label == _COMMENT:
            return {"comment": decoded(content)}
    raise Unreadable("the GIF is truncated or damaged")


def _extensions(stream: BinaryIO) -> Iterator[tuple[int | None, bytes]]:
    """(label, content) of each extension, then (None, nothing) where the first frame or the end is."""
    left = _MOST_BLOCKS
    while (introducer := stream.read(1)) and left > 0:
        if introducer != b"!":
            yield None, b""
            return
        label = int.from_bytes(stream.read(1), "big")
        content = bytearray()
        while left > 0 and (size := int.from_bytes(stream.read(1), "big")):
            content += stream.read(size)
            left -= 1
        left -= 1
        yield label, bytes(content)
