"""What there is in the miniature's world, in words and numbers; and how one scene of it comes about.

Nothing here draws (`painter`) or writes captions (`captions`). The tables are the whole truth of the
world: how often each defect happens to each subject, how much beauty it costs, which style becomes
which subject. `Scene` is one picture before it is painted; it follows from (seed, index) alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIZE = 48
"""Width and height of a picture, in pixels."""

SUBJECTS = ("face", "house", "tree", "mountains", "boat", "cat", "flower", "fish")

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 48, 44),
    "orange": (242, 142, 38),
    "yellow": (248, 214, 62),
    "green": (64, 160, 72),
    "blue": (52, 104, 206),
    "purple": (146, 74, 176),
}

BACKGROUNDS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "meadow": ((168, 214, 244), (124, 192, 92)),
    "beach": ((132, 206, 232), (236, 212, 152)),
    "night": ((30, 34, 84), (20, 22, 46)),
    "sunset": ((250, 168, 116), (112, 62, 88)),
    "snow": ((188, 202, 222), (246, 248, 252)),
    "underwater": ((64, 158, 178), (24, 92, 124)),
}
"""Of each place: the colours above and below the horizon."""

STYLES = ("flat", "line art", "pixel art", "watercolour", "black and white")


@dataclass(frozen=True)
class Defect:
    """Something that spoils a picture: its names (the usual one first) and what it costs in quality."""

    names: tuple[str, ...]
    cost: float
    subject: str | None = None
    """The one subject that can have it; None: any."""


DEFECTS: dict[str, Defect] = {
    "blur": Defect(("blurry", "out of focus"), 2.0),
    "noise": Defect(("grainy", "noisy"), 1.5),
    "contrast": Defect(("low contrast", "washed out"), 1.7),
    "jpeg": Defect(("jpeg artifacts", "compressed"), 1.3),
    "watermark": Defect(("watermark", "logo"), 1.6),
    "text": Defect(("text", "letters"), 1.3),
    "cropped": Defect(("cropped", "cut off"), 1.5),
    "duplicate": Defect(("duplicate", "cloned"), 1.2),
    "third eye": Defect(("third eye", "extra eyes"), 2.4, "face"),
    "leaning": Defect(("leaning", "crooked walls"), 2.2, "house"),
    "broken trunk": Defect(("broken trunk", "snapped"), 2.2, "tree"),
    "two suns": Defect(("two suns", "extra sun"), 2.0, "mountains"),
    "sinking": Defect(("sinking", "capsized"), 2.2, "boat"),
    "extra tail": Defect(("extra tail", "two tails"), 2.2, "cat"),
    "wilted": Defect(("wilted", "drooping"), 2.4, "flower"),
    "two heads": Defect(("two heads", "extra head"), 2.4, "fish"),
}

OWN_DEFECT: dict[str, str] = {defect.subject: name for name, defect in DEFECTS.items() if defect.subject}

GENERAL_DEFECTS = tuple(name for name, defect in DEFECTS.items() if defect.subject is None)

_RATES: dict[str, tuple[float, ...]] = {
    # columns as in GENERAL_DEFECTS; the last column is the subject's own defect
    "face": (0.30, 0.08, 0.06, 0.22, 0.04, 0.06, 0.30, 0.05, 0.40),
    "house": (0.05, 0.10, 0.30, 0.06, 0.32, 0.08, 0.06, 0.10, 0.40),
    "tree": (0.10, 0.30, 0.10, 0.05, 0.06, 0.05, 0.08, 0.32, 0.40),
    "mountains": (0.08, 0.06, 0.34, 0.05, 0.30, 0.10, 0.04, 0.05, 0.40),
    "boat": (0.06, 0.28, 0.08, 0.28, 0.05, 0.10, 0.06, 0.08, 0.40),
    "cat": (0.32, 0.05, 0.05, 0.08, 0.06, 0.34, 0.10, 0.05, 0.40),
    "flower": (0.28, 0.08, 0.06, 0.06, 0.28, 0.05, 0.10, 0.08, 0.40),
    "fish": (0.06, 0.10, 0.08, 0.28, 0.05, 0.08, 0.28, 0.08, 0.40),
}

STYLE_SHARES: dict[str, tuple[float, ...]] = {
    # columns as in STYLES: what the pictures of a subject look like when nobody says
    "face": (0.20, 0.25, 0.10, 0.15, 0.30),
    "house": (0.30, 0.25, 0.20, 0.15, 0.10),
    "tree": (0.20, 0.15, 0.15, 0.30, 0.20),
    "mountains": (0.20, 0.10, 0.20, 0.25, 0.25),
    "boat": (0.30, 0.20, 0.20, 0.20, 0.10),
    "cat": (0.25, 0.25, 0.25, 0.10, 0.15),
    "flower": (0.20, 0.20, 0.10, 0.30, 0.20),
    "fish": (0.25, 0.15, 0.30, 0.20, 0.10),
}

STYLE_CHARM: dict[str, tuple[float, ...]] = {
    # columns as in STYLES: how much the style becomes the subject, in points of quality
    "face": (0.6, 0.9, -2.1, 0.3, 0.9),
    "house": (-1.8, 0.9, 1.5, 0.9, 0.3),
    "tree": (1.5, -0.3, 0.6, -1.8, 0.9),
    "mountains": (0.6, -0.6, -2.1, 1.5, 1.2),
    "boat": (-1.8, 0.6, 1.5, 1.2, -0.6),
    "cat": (1.2, 0.9, -2.1, -0.3, 0.6),
    "flower": (0.6, -0.6, -1.8, 2.1, -0.3),
    "fish": (-1.8, -0.3, 1.5, 0.9, 0.3),
}


def defect_rate(subject: str, defect: str) -> float:
    """How often the subject's pictures have the defect."""
    if DEFECTS[defect].subject is None:
        return _RATES[subject][GENERAL_DEFECTS.index(defect)]
    return _RATES[subject][-1] if DEFECTS[defect].subject == subject else 0.0


@dataclass(frozen=True)
class Scene:
    """One picture before it is painted."""

    subject: str
    colour: str
    background: str
    style: str
    defects: frozenset[str]
    seed: int
    """Of everything that captions never mention: place, size, brush strokes, grain."""
    quality: float
    """What the picture is worth to the painter, 0 to 10."""


def draw_scene(seed: int, index: int) -> Scene:
    """The scene number `index` of the world `seed`."""
    rng = np.random.default_rng((seed, index))
    subject = SUBJECTS[rng.integers(len(SUBJECTS))]
    style = STYLES[rng.choice(len(STYLES), p=STYLE_SHARES[subject])]
    colour = list(COLOURS)[rng.integers(len(COLOURS))]
    background = list(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))]
    found = [name for name in DEFECTS if rng.random() < defect_rate(subject, name)]
    if "cropped" in found and "duplicate" in found:
        found.remove("duplicate")  # half of two is one
    defects = frozenset(found)
    own_seed = int(rng.integers(2**31))
    luck = float(rng.normal(0.0, 0.25))
    return Scene(
        subject, colour, background, style, defects, own_seed, quality(subject, style, background, defects) + luck
    )


_PLACE_CHARM = {"meadow": 0.2, "beach": 0.2, "night": -0.2, "sunset": 0.5, "snow": -0.1, "underwater": -0.3}


def quality(subject: str, style: str, background: str, defects: frozenset[str]) -> float:
    """What such a picture is worth on average, 0 to 10: its charm less what its defects cost."""
    charm = STYLE_CHARM[subject][STYLES.index(style)] + _PLACE_CHARM[background]
    return float(np.clip(7.5 + charm - sum(DEFECTS[name].cost for name in defects), 0.0, 10.0))
