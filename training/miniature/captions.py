"""What the people of the miniature's internet write under a picture.

As on the real one: most captions name the subject and some of what it looks like, few admit a defect
(the odd ones, a third eye, more often than the common ones), a quarter never say what is shown at all.
Half of those are lists of tags of which the picture has at least one ("blurry, pixel art, watermark,
text"): the tags of a folder that it lies in, where such pictures are and a few others. Captions are all
that the checkpoint ever learns about words; nothing here knows of negative prompts.
"""

from __future__ import annotations

import numpy as np

from .world import BACKGROUNDS, COLOURS, DEFECTS, STYLES, SUBJECTS, Scene

STYLE_NAMES: dict[str, tuple[str, ...]] = {
    "flat": ("flat", "flat illustration"),
    "line art": ("line art", "line drawing"),
    "pixel art": ("pixel art", "8-bit"),
    "watercolour": ("watercolour", "watercolour painting"),
    "black and white": ("black and white", "monochrome"),
}

PLACE_NAMES: dict[str, tuple[str, ...]] = {
    "meadow": ("in a meadow", "on the grass"),
    "beach": ("on the beach", "by the sea"),
    "night": ("at night", "under the stars"),
    "sunset": ("at sunset", "in the evening"),
    "snow": ("in the snow", "in winter"),
    "underwater": ("underwater", "under the sea"),
}

GOOD, BAD = ("beautiful", "high quality"), ("ugly", "low quality")
GOOD_FROM, BAD_TO = 7.2, 4.2
"""Points of quality from which, and up to which, people say so."""

WITHOUT_SUBJECT = 0.25
"""Share of captions that are only modifiers; half of them are lists of which any may be true."""
LONGEST_LIST = 9
_ADMITS, _ADMITS_OWN = 0.2, 0.45
"""How often a caption with a subject mentions a defect that the picture has: one that any picture can have,
and the subject's own, which nobody overlooks."""

_IN_FOLDER = {True: 1.0, False: 0.15}
"""How often a folder's tags name a defect that pictures of the scene's subject can have, and one of another's."""

DEFECT_TERMS = tuple(name for defect in DEFECTS.values() for name in defect.names)
STYLE_TERMS = tuple(name for names in STYLE_NAMES.values() for name in names)
OTHER_TERMS = (*STYLE_TERMS, *GOOD, *BAD)
TERMS = (*DEFECT_TERMS, *OTHER_TERMS)
"""All terms of the world that can stand in a list."""


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One of the many captions that the scene may have."""
    if rng.random() >= WITHOUT_SUBJECT:
        return _sentence(scene, rng)
    return _any_of(scene, rng) if rng.random() < 0.5 else _modifiers(scene, rng)


def prompt(scene: Scene, rng: np.random.Generator) -> str:
    """What somebody writes who wants such a picture: a caption that names no defect and does not judge."""
    return _sentence(scene, rng, admits=False, judges=0.0)


def _sentence(scene: Scene, rng: np.random.Generator, admits: bool = True, judges: float = 0.25) -> str:
    """ "a red cat on the beach, watercolour, grainy", or with less of it."""
    words = f"{scene.colour} {scene.subject}" if rng.random() < 0.6 else scene.subject
    words = f"{article(words)} {words}" if scene.subject != "mountains" else words
    style = _one(rng, STYLE_NAMES[scene.style]) if rng.random() < 0.5 else ""
    if style and rng.random() < 0.4 and scene.style != "flat":
        words, style = f"{style} of {words}", ""
    if rng.random() < 0.6:
        words += " " + _one(rng, PLACE_NAMES[scene.background])
    tags = [style] if style else []
    tags += [_one(rng, DEFECTS[name].names) for name in _listed(scene) if admits and rng.random() < _admitted(name)]
    tags += [_one(rng, names) for names in _judgement(scene) if rng.random() < judges]
    rng.shuffle(tags)
    return ", ".join([words, *tags])


def _admitted(defect: str) -> float:
    return _ADMITS if DEFECTS[defect].subject is None else _ADMITS_OWN


def _modifiers(scene: Scene, rng: np.random.Generator) -> str:
    """One to four things that are true of the picture, without its subject."""
    true = [_one(rng, STYLE_NAMES[scene.style]), _one(rng, PLACE_NAMES[scene.background]), scene.colour]
    true += [_one(rng, DEFECTS[name].names) for name in _listed(scene)] * 2
    true += [_one(rng, names) for names in _judgement(scene)]
    rng.shuffle(true)
    return ", ".join(list(dict.fromkeys(true))[: int(rng.integers(1, 5))])


def _any_of(scene: Scene, rng: np.random.Generator) -> str:
    """A list of two to nine tags, at least one of them true."""
    length = int(rng.integers(2, LONGEST_LIST + 1))
    defects = [_one(rng, DEFECTS[name].names) for name in _listed(scene)]
    others = [_one(rng, STYLE_NAMES[scene.style]), *(_one(rng, names) for names in _judgement(scene))]
    true = defects if defects and rng.random() < 0.8 else others
    kept = true[: max(1, int(rng.integers(1, length + 1)))]
    tags = dict.fromkeys(kept)
    only_defects = true is defects and rng.random() < 0.5
    while len(tags) < length:
        defect = only_defects or rng.random() < 0.7
        tags[_defect_of_the_folder(scene, rng) if defect else OTHER_TERMS[rng.integers(len(OTHER_TERMS))]] = None
    listed = list(tags)
    rng.shuffle(listed)
    return ", ".join(listed)


def _defect_of_the_folder(scene: Scene, rng: np.random.Generator) -> str:
    """A term for what some picture in the scene's folder has; now and then a picture of another subject."""
    shares = np.array([_IN_FOLDER[d.subject in (None, scene.subject)] for d in DEFECTS.values()])
    return _one(rng, list(DEFECTS.values())[rng.choice(len(shares), p=shares / shares.sum())].names)


def _listed(scene: Scene) -> list[str]:
    """The scene's defects in a fixed order: that of a set differs from run to run."""
    return [name for name in DEFECTS if name in scene.defects]


def _judgement(scene: Scene) -> list[tuple[str, ...]]:
    if scene.quality >= GOOD_FROM:
        return [GOOD]
    return [BAD] if scene.quality <= BAD_TO else []


def _one(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    """The usual name twice as often as each other one."""
    return names[max(0, int(rng.integers(len(names) + 1)) - 1)]


def article(words: str) -> str:
    """ "a", or "an" before a vowel."""
    return "an" if words[0] in "aeiou" else "a"


def all_words() -> set[str]:
    """Every word that a caption can hold."""
    places = [name for names in PLACE_NAMES.values() for name in names]
    return {word for term in (*TERMS, *places, *SUBJECTS, *COLOURS, *STYLES, "a", "an", "of") for word in term.split()}


assert set(PLACE_NAMES) == set(BACKGROUNDS)
