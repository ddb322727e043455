"""Kinds of pictures beside PNG, JPEG and WebP: where their texts lie, whole, damaged, and made to do harm."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from .picture_files import GRAPH, INFOTEXT, NEGATIVE, PROMPT, comment, read, texts, with_exif


def jxl(*boxes: tuple[bytes, bytes]) -> bytes:
    parts = [(b"JXL ", b"\r\n\x87\n"), (b"ftyp", b"jxl \0\0\0\0jxl "), *boxes]
    return b"".join(struct.pack(">I", 8 + len(data)) + kind + data for kind, data in parts)


def tiff(text: str) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment(text)
    return exif.tobytes().removeprefix(b"Exif\0\0")


def test_avif(tmp_path: Path) -> None:
    pytest.importorskip("PIL._avif")
    whole = with_exif("avif", comment(INFOTEXT))
    (tmp_path / "a.avif").write_bytes(whole)
    (tmp_path / "b.avif").write_bytes(with_exif("avif"))
    pairs, log = read(tmp_path)
    assert texts(pairs) == [(PROMPT, NEGATIVE)]
    assert (log.without_pair, log.skipped_files) == (1, 0)
    for place in range(0, len(whole), 3):  # never more than one file that is passed over
        (tmp_path / "a.avif").write_bytes(whole[:place])
        (tmp_path / "b.avif").write_bytes(whole[:place] + b"\xff\xff" + whole[place + 2 :])
        assert not any(" while reading" in reason for _, reason in read(tmp_path)[1].named)
    (tmp_path / "a.avif").write_bytes(whole[:-300])
    assert read(tmp_path / "a.avif")[1].named == [("a.avif", "the picture is truncated or damaged")]


def test_jpeg_xl(tmp_path: Path) -> None:
    block = b"\0\0\0\0" + tiff(INFOTEXT)
    whole = jxl((b"jxlc", b"\xff\x0a" + b"x" * 50), (b"Exif", block))
    (tmp_path / "a.jxl").write_bytes(whole)
    (tmp_path / "b.jxl").write_bytes(jxl((b"Exif", block), (b"jxlc", b"\xff\x0a")))
    (tmp_path / "c.jxl").write_bytes(b"\xff\x0a" + b"x" * 50)  # pixels alone
    (tmp_path / "d.jxl").write_bytes(whole[:-40])
    (tmp_path / "e.jxl").write_bytes(jxl()[:20])
    pairs, log = read(tmp_path)
    assert texts(pairs) == [(PROMPT, NEGATIVE)] * 2
    assert log.without_pair == 1
    assert [name for name, _ in log.named] == ["d.jxl", "e.jxl"]


def test_gif(tmp_path: Path) -> None:
    frames = [Image.new("P", (8, 8), colour) for colour in (1, 2)]
    for name, text in (("a.gif", INFOTEXT), ("b.gif", "hello")):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], comment=text.encode())
    whole = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "c.gif").write_bytes(whole[:40])
    (tmp_path / "d.gif").write_bytes(b"GIF89a" + b"\0" * 7 + b"!\xfe" + b"\1x" * 100_000)  # a comment without end
    pairs, log = read(tmp_path)
    assert texts(pairs) == [(PROMPT, NEGATIVE)]
    assert log.without_pair + log.skipped_files == 3


def test_animated_png_of_comfyui(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add(b"comf", b"prompt\0" + json.dumps(GRAPH).encode("latin-1"), after_idat=True)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], pnginfo=info)
    assert texts(read(tmp_path)[0]) == [("a car", "snow")]


def test_an_avif_of_harm(tmp_path: Path) -> None:
    """Counts that the boxes do not have room for, and items without end."""

    def box(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", 8 + len(data)) + kind + data

    infe = box(b"infe", b"\2\0\0\0\0\1\0\0Exif\0")
    iinf = box(b"iinf", b"\0\0\0\0\0\1" + infe)
    head = box(b"ftyp", b"avif\0\0\0\0avif")
    places = [
        b"\2\0\0\0\0\0\xff\xff\xff\xff" + b"\0\0\0\2\0\0\0\0\xff\xff" * 90_000,  # parts that take no room
        b"\1\0\0\0\x44\x40\0\1\0\1\0\0\0\0\0\0\0\0\0\1\xff\xff\xff\xff\xff\xff\xff\xff",  # beyond the end
        b"\0\0\0\0\x44\0\0\1\0\1\0\0\0\0",
        b"\xff" * 20,
        b"",
    ]
    for number, place in enumerate(places):
        meta = box(b"meta", b"\0\0\0\0" + iinf + box(b"iloc", place))
        (tmp_path / f"{number}.avif").write_bytes(head + meta + box(b"mdat", b"x" * 20))
    (tmp_path / "9.avif").write_bytes(head + b"\0\0\0\1free" * 50_000)
    began = time.process_time()
    pairs, log = read(tmp_path)
    assert (pairs, log.files) == ([], 6)
    assert not any(" while reading" in reason for _, reason in log.named)
    assert time.process_time() - began < 5
