"""Pictures: the prompt and negative prompt that a program wrote into a PNG, JPEG, WebP, AVIF, JPEG XL or GIF file.

Finds the texts where the programs put them: PNG text chunks, EXIF, a GIF's comment. What the texts mean is the
business of `programs`. No pixel is decoded. A .txt file beside a picture (A1111's "save text", Easy Diffusion's) and
Fooocus' log.html are read the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..pairs import RawPair, ReadLog, Unreadable, page_id
from . import boxes, gif, png
from .exif import decoded, exif_block, exif_texts
from .programs import fooocus, pairs_in_texts

SUFFIXES = (".png", ".apng", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".jxl", ".gif", ".txt")
LOG = "log.html"
_LARGEST_LOG = 64 * 2**20
_LARGEST_TEXT = 2**20


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


def read_log(path: Path, folder: Path, log: ReadLog) -> Iterator[RawPair]:
    """The pairs of the pictures in one of Fooocus' logs. Raises `Unreadable` where it is none of them."""
    try:
        with path.open("rb") as stream:
            html = stream.read(_LARGEST_LOG).decode("utf-8", "replace")
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    logged = 0
    for pairs in fooocus.pairs_in_log(html):
        logged += 1
        log.without_pair += not pairs
        for prompt, negative in pairs:
            yield RawPair(prompt, negative, source=folder.name, page=page_id(str(folder.resolve())), kind="infotext")
    if not logged:
        raise Unreadable("no log of Fooocus")


def _texts(path: Path) -> dict[str, str]:
    with path.open("rb") as stream:
        start = stream.read(12)
        if not start:
            raise Unreadable("the file is empty")
        if path.suffix.lower() == ".txt":
            return {"parameters": _text(start + stream.read(_LARGEST_TEXT))}
        if start.startswith(png.SIGNATURE):
            stream.seek(len(png.SIGNATURE))
            return png.png_texts(stream)
        stream.seek(0)
        if start.startswith(gif.SIGNATURES):
            return gif.gif_texts(stream)
        return exif_texts(boxes.boxed_exif(stream) if boxes.is_boxes(start) else exif_block(stream))


def _text(data: bytes) -> str:
    """A text file's text; Windows' editors write UTF-16, too."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return decoded(data.removeprefix(b"\xef\xbb\xbf"))
