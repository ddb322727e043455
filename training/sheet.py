"""Pictures with words on one sheet: a heading above each column, a label above each row, a caption under each picture.

Small pictures are enlarged without smoothing, so that what is looked at is what the judges saw.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import torch
from PIL import Image, ImageDraw, ImageFont

SIDE = 192
"""Pixels that a picture is wide: small ones are enlarged by a whole factor to at most that, large ones shrunk to it."""
GAP = 14
WORDS, LINES = 13, 6
"""Size of the captions, and the most lines that one may take."""
INK, FAINT, MARK = "#222222", "#666666", "#2e7d4f"


class Cell(NamedTuple):
    """One picture on a sheet."""

    image: torch.Tensor
    """float32 [3, H, W], 0 to 1."""
    caption: str = ""
    marked: bool = False
    """Gets a frame."""


def sheet(headings: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]]) -> Image.Image:
    """`rows`: each its label and a cell for each heading. All pictures have the size of the first."""
    pictures = [[enlarged(cell.image) for cell in cells] for _, cells in rows]
    wide, high = pictures[0][0].size
    column = max(wide, SIDE)
    head = [_wrapped(text, column, bold=True) for text in headings]
    captions = [[_wrapped(cell.caption, column) for cell in cells] for _, cells in rows]
    line = WORDS + 5
    above = [2 * line if label else GAP for label, _ in rows]
    below = [6 + line * max(map(len, row)) for row in captions]
    top = GAP + line * max(map(len, head))
    page = Image.new(
        "RGB", (GAP + (column + GAP) * len(headings), top + sum(above) + sum(below) + high * len(rows) + GAP), "white"
    )
    draw = ImageDraw.Draw(page)
    left = [GAP + (column + GAP) * place for place in range(len(headings))]
    for x, text in zip(left, head, strict=True):
        draw.multiline_text((x, GAP), "\n".join(text), INK, _font(bold=True), spacing=2)
    for row, (label, cells) in enumerate(rows):
        y = top + above[row]
        draw.text((GAP, y - line - 4), label, INK, _font(bold=True))
        for x, cell, picture, text in zip(left, cells, pictures[row], captions[row], strict=True):
            page.paste(picture, (x, y))
            if cell.marked:
                draw.rectangle((x - 4, y - 4, x + wide + 3, y + high + 3), outline=MARK, width=3)
            draw.multiline_text((x, y + high + 6), "\n".join(text), FAINT, _font(), spacing=2)
        top = y + high + below[row]
    return page


def enlarged(image: torch.Tensor) -> Image.Image:
    """Of float32 [3, H, W], 0 to 1, at the size at which it is looked at."""
    picture = Image.fromarray((255 * image).round().byte().permute(1, 2, 0).contiguous().numpy())
    if picture.width > SIDE:
        return picture.resize((SIDE, round(SIDE * picture.height / picture.width)), Image.Resampling.LANCZOS)
    factor = SIDE // picture.width
    return picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.NEAREST)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


@cache
def _font(bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib: Pillow's own knows little more than ASCII."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), WORDS)


def _wrapped(text: str, width: int, bold: bool = False) -> list[str]:
    """In lines of at most `width` pixels, at most `LINES` of them; a word wider than that is cut."""
    font, lines = _font(bold), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines += [word] if lines[-1] else []
            lines[-1] = word
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], lines[LINES - 1] + " …"]
    return [_cut(line, width, font) for line in lines]


def _cut(line: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"
