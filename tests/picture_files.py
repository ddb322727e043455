"""Pictures as programs write them, with their texts, and what the readers find in them."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, PngImagePlugin

from training.data.pairs import RawPair, ReadLog
from training.data.readers import read_source

INFOTEXT = (
    "a lighthouse, (storm:1.2)\nsecond line\nNegative prompt: blurry, lowres,\ntext\n"
    'Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Lora hashes: "x: 1"'
)
PROMPT, NEGATIVE = "a lighthouse, (storm:1.2)\nsecond line", "blurry, lowres,\ntext"
GRAPH = {
    "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a car"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "snow"}},
    "3": {"class_type": "KSampler", "inputs": {"positive": ["1", 0], "negative": ["2", 0]}},
}


def read(path: Path | str) -> tuple[list[RawPair], ReadLog]:
    log = ReadLog()
    return list(read_source(str(path), log)), log


def texts(pairs: list[RawPair]) -> list[tuple[str, str]]:
    return [(pair.prompt, pair.negative) for pair in pairs]


def png(**chunks: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for name, text in chunks.items():
        info.add_text(name, text)
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "png", pnginfo=info)
    return data.getvalue()


def with_exif(form: str, comment: bytes | None = None, tags: dict[int, str] | None = None) -> bytes:
    exif = Image.Exif()
    if comment is not None:
        exif.get_ifd(0x8769)[0x9286] = comment
    for tag, text in (tags or {}).items():
        exif[tag] = text
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, form, exif=exif.tobytes())
    return data.getvalue()


def comment(text: str) -> bytes:
    """EXIF UserComment as piexif's `UserComment.dump(text, "unicode")` makes it."""
    return b"UNICODE\0" + text.encode("utf-16-be")
