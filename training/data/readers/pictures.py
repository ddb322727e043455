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
from .infotext import split_infotext

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".txt")
_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_TEXT = 64 * 2**20
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
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
    if not start.startswith(b"\xff\xd8") and not (start.startswith(b"RIFF") and start[8:] == b"WEBP"):
        raise Unreadable("no PNG, JPEG or WebP picture")
    return _exif_texts(_open_exif(path))


# --- PNG (ISO/IEC 15948, section 11.3.4: textual information)


def _png_texts(stream: BinaryIO) -> dict[str, str]:
    """Text chunks by keyword. Chunks of pixels are passed over; a break after the first text is no matter."""
    texts: dict[str, str] = {}
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
        if kind not in (b"tEXt", b"zTXt", b"iTXt", b"eXIf") or size > _LARGEST_TEXT:
            stream.seek(size + 4, 1)
            continue
        data = stream.read(size)
        stream.seek(4, 1)  # the checksum: a damaged text shows itself
        if len(data) < size:
            continue
        if kind == b"eXIf":
            texts = _exif_from_bytes(data) | texts
            continue
        keyword, text = _png_text(kind, data)
        if text:
            texts.setdefault(keyword, text)


def _png_text(kind: bytes, data: bytes) -> tuple[str, str]:
    """(keyword, text) of a chunk; the text is empty where it cannot be unpacked."""
    keyword, _, rest = data.partition(b"\0")
    packed = kind == b"zTXt"
    encoding = "latin-1"
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        encoding = "utf-8"
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, _LARGEST_TEXT)
        except zlib.error:
            rest = b""
    if encoding == "latin-1":  # Pillow writes UTF-8 in iTXt; other programs put it into tEXt against the rule
        text = rest.decode("utf-8") if _is_utf8(rest) else rest.decode("latin-1")
    else:
        text = rest.decode("utf-8", "replace")
    return keyword.decode("latin-1"), text


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


# --- EXIF


def _open_exif(path: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return picture.getexif()
    except UnidentifiedImageError as error:
        raise Unreadable("not a whole picture") from error
    except OSError:
        raise
    except Exception as error:  # Pillow's parsers raise many kinds on damaged files
        raise Unreadable(f"damaged: {error}") from error


def _exif_from_bytes(data: bytes) -> dict[str, str]:
    from PIL import Image

    exif = Image.Exif()
    try:
        exif.load(data)
        return _exif_texts(exif)
    except Exception:  # as above; the picture may still have its text elsewhere
        return {}


def _exif_texts(exif: Any) -> dict[str, str]:
    texts: dict[str, str] = {}
    try:
        comment = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    except Exception as error:  # Pillow's parsers raise many kinds on damaged blocks
        raise Unreadable(f"damaged EXIF: {error}") from error
    if comment:
        texts["parameters"] = comment if isinstance(comment, str) else decode_user_comment(bytes(comment))
    for tag in (_MODEL, _MAKE, _IMAGE_DESCRIPTION):  # ComfyUI: "prompt:{...}", "workflow:{...}"
        value = exif.get(tag)
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
        name, colon, rest = text.strip("\0 ").partition(":")
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
