"""Pictures: the prompt and negative prompt that a program wrote into a PNG, JPEG or WebP file.

Looks where the programs write: PNG text chunks, EXIF UserComment (A1111 and its kin), EXIF Make, Model and
ImageDescription (ComfyUI's WebP). What the text means is the business of `infotext`, `comfyui_graph` and
`columns`. No pixel is decoded. A .txt file beside a picture (A1111's "save text") is read the same way.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ..columns import pair_from_record
from ..pairs import RawPair, ReadLog, Unreadable, page_id
from .comfyui_graph import is_graph, pairs_in_graph
from .exif import exif_block, exif_values
from .infotext import split_infotext

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".txt")
_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_TEXTS = 64 * 2**20  # bytes in all text chunks of a file together, unpacked: 64 KB can pack so many
_MOST_UNPACKED = 1032  # bytes from one (zlib's technical details: "maximum compression factor")
_USER_COMMENT = 0x9286
_IMAGE_DESCRIPTION, _MAKE, _MODEL = 0x010E, 0x010F, 0x0110


def read_picture(path: Path, folder: Path, log: ReadLog) -> Iterator[RawPair]:
    """The pairs in one picture: none, one, or one for each different sampler of a graph.

    `folder` is where the search began: all pictures under it have one author. Raises `Unreadable` where the
    file is no picture, or breaks off before any text.
    """
    try:
        texts = _texts(path)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    found = False
    for prompt, negative, kind in pairs_in_texts(texts):
        found = True
        yield RawPair(prompt, negative, source=folder.name, page=page_id(str(folder.resolve())), kind=kind)
    log.without_pair += not found


def pairs_in_texts(texts: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(prompt, negative, kind) of each pair in a picture's texts, by their names in a PNG.

    A1111's `parameters` first, for it states what was really asked; then ComfyUI's `prompt` graph, then its
    `workflow`; then the JSON of other programs under any name.
    """
    for name in ("parameters", "Parameters", "comment", "Comment", "Description"):
        parts = split_infotext(texts[name]) if name in texts else None
        if parts is not None and all(parts):
            yield (*parts, "infotext")
            return
    for name in ("prompt", "workflow"):
        graph = _json_object(texts.get(name, ""))
        pairs = pairs_in_graph(graph) if graph is not None and is_graph(graph) else []
        if pairs:
            yield from ((prompt, negative, "workflow") for prompt, negative in pairs)
            return
    for text in texts.values():
        record = _json_object(text)
        pair = pair_from_record(record, source="") if record is not None else None
        if pair is not None:
            yield pair.prompt, pair.negative, "infotext"
            return


def _texts(path: Path) -> dict[str, str]:
    with path.open("rb") as stream:
        start = stream.read(12)
        if not start:
            raise Unreadable("the file is empty")
        if path.suffix.lower() == ".txt":
            return {"parameters": (start + stream.read(2**20)).decode("utf-8", "replace")}
        if start.startswith(_PNG):
            stream.seek(len(_PNG))
            return _png_texts(stream)
        stream.seek(0)
        return _exif_texts(exif_block(stream))


# --- PNG (ISO/IEC 15948, section 11.3.4: textual information)


def _png_texts(stream: BinaryIO) -> dict[str, str]:
    """Text chunks by keyword. Chunks of pixels are passed over; a break after the first text is no matter."""
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
        if kind not in (b"tEXt", b"zTXt", b"iTXt", b"eXIf") or size >= room:
            stream.seek(size + 4, 1)
            continue
        data = stream.read(size)
        stream.seek(4, 1)  # the checksum: a damaged text shows itself
        if len(data) < size:
            continue
        room -= size
        if kind == b"eXIf":
            texts = _exif_texts(data) | texts
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
    encoding = "latin-1"
    spent = 0
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        encoding = "utf-8"
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, room)
            spent = len(rest)
        except zlib.error:
            spent = min(room, _MOST_UNPACKED * len(rest))  # what may have been unpacked before the damage
            rest = b""
    if encoding == "latin-1":  # Pillow writes UTF-8 in iTXt; other programs put it into tEXt against the rule
        text = rest.decode("utf-8") if _is_utf8(rest) else rest.decode("latin-1")
    else:
        text = rest.decode("utf-8", "replace")
    return keyword.decode("latin-1"), text, spent


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


# --- EXIF


def _exif_texts(block: bytes) -> dict[str, str]:
    """The texts of an EXIF block, by the names that they have in a PNG."""
    texts: dict[str, str] = {}
    values = exif_values(block, (_USER_COMMENT, _MODEL, _MAKE, _IMAGE_DESCRIPTION))
    if values.get(_USER_COMMENT):
        texts["parameters"] = decode_user_comment(values[_USER_COMMENT])
    for tag in (_MODEL, _MAKE, _IMAGE_DESCRIPTION):  # ComfyUI: "prompt:{...}", "workflow:{...}"
        value = values.get(tag, b"")
        text = value.decode("utf-8" if _is_utf8(value) else "latin-1").strip("\0 ")
        name, colon, rest = text.partition(":")
        if colon and name.lower() in ("prompt", "workflow", "parameters"):
            texts.setdefault(name.lower(), rest)
        elif text and tag == _IMAGE_DESCRIPTION:
            texts.setdefault("Description", text)
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
    return body.strip(b"\0").decode("utf-8" if _is_utf8(body.strip(b"\0")) else "latin-1")


def _json_object(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text, parse_constant=lambda _: None)  # ComfyUI writes NaN, which is no JSON
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
