"""Sheets of pictures for people to look at: what is painted, and what a checkpoint makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .painter import paint
from .world import BACKGROUNDS, COLOURS, GENERAL_DEFECTS, OWN_DEFECT, SIZE, STYLES, SUBJECTS, Scene

ZOOM = 3


def tile(rows: Sequence[Sequence[NDArray[np.uint8]]], zoom: int = ZOOM) -> Image.Image:
    """Rows of pictures, (h, w, 3) bytes each, on a white sheet."""
    side = SIZE * zoom + 4
    sheet = Image.new("RGB", (side * max(len(row) for row in rows), side * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            large = Image.fromarray(picture).resize((SIZE * zoom, SIZE * zoom), Image.Resampling.NEAREST)
            sheet.paste(large, (x * side + 2, y * side + 2))
    return sheet


def contact_sheet() -> Image.Image:
    """Painted. A row for each subject: in every style; with its own defect; with every general defect."""
    return tile([[paint(scene) for scene in _row(number, subject)] for number, subject in enumerate(SUBJECTS)])


def _row(number: int, subject: str) -> list[Scene]:
    places, colours = list(BACKGROUNDS), list(COLOURS)
    clean = [
        Scene(
            subject,
            colours[(number + column) % len(colours)],
            places[(number + 2 * column) % len(places)],
            style,
            frozenset(),
            7 + number,
            8.0,
        )
        for column, style in enumerate(STYLES)
    ]
    own = [
        replace(clean[0], style=style, defects=frozenset({OWN_DEFECT[subject]}), seed=20 + number)
        for style in ("flat", "line art", "pixel art")
    ]
    spoilt = [
        replace(
            clean[0],
            style=STYLES[number % len(STYLES)],
            background=places[(number + column) % len(places)],
            defects=frozenset({name}),
            seed=40 + 8 * number + column,
        )
        for column, name in enumerate(GENERAL_DEFECTS)
    ]
    return clean + own + spoilt


def sample_sheet(checkpoint: Path, guidance: float | None = None) -> Image.Image:
    """Made by a checkpoint. A row for each subject: plain; in every style; without its own defect."""
    from .captions import STYLE_NAMES
    from .pipeline import GUIDANCE, make_pictures, open_sampler
    from .world import DEFECTS

    sampler = open_sampler(checkpoint, guidance=GUIDANCE if guidance is None else guidance)
    wishes, negatives, seeds = [], [], []
    columns = 4 + len(STYLES) + 3
    for number, subject in enumerate(SUBJECTS):
        article = "" if subject == "mountains" else "a "
        plain, colour = f"{article}{subject}", list(COLOURS)[number % len(COLOURS)]
        styled = [f"{article}{colour} {subject}, {STYLE_NAMES[style][0]}" for style in STYLES]
        wishes += [plain] * 4 + styled + [plain] * 3
        negatives += [""] * (4 + len(STYLES)) + [DEFECTS[OWN_DEFECT[subject]].names[0]] * 3
        seeds += [*range(4), *range(10, 10 + len(STYLES)), *range(3)]
    made = make_pictures(sampler, wishes, negatives, seeds)
    return tile([list(made[start : start + columns]) for start in range(0, len(made), columns)])
