"""The miniature's people: prompts, and the negative prompts that they write with them.

A third of what they write is habit (everybody has one of a few lists that they always use), the rest are
terms that suit the subject, more or less; now and then nonsense. Written as JSON lines, one pair a line,
so that `python -m training data build` cleans and splits them like any other source:

    python -m training miniature people --out people.jsonl
    python -m training data build people.jsonl --out people --near 1 --cap-per-negative 0
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from training.atomic import write_text

from .captions import DEFECT_TERMS, STYLE_NAMES, TERMS, prompt
from .stage import rng_of
from .world import DEFECTS, STYLE_CHARM, STYLES, Scene, defect_rate, draw_scene

HABITS: tuple[str, ...] = (
    "low quality, ugly, blurry",
    "blurry, watermark, text, jpeg artifacts",
    "ugly, duplicate, cropped, low quality",
    "text, logo, watermark",
    "low contrast, grainy, blurry, ugly",
)
_KNOWS = 1.6
"""How much likelier than its rate a defect is on the mind of who wants such a picture."""


def pair(seed: int, index: int) -> dict[str, str]:
    """Prompt and negative number `index`; its scene is what its author has in mind."""
    rng = rng_of(seed, index, 9)
    scene = draw_scene(seed, index)
    wish = prompt(scene, rng)
    terms = _relevant(scene, wish, rng)
    if rng.random() < 0.5:
        terms += HABITS[rng.integers(len(HABITS))].split(", ")
    else:
        rng.shuffle(terms)
    if rng.random() < 0.25 or not terms:
        terms += [TERMS[i] for i in rng.integers(len(TERMS), size=int(rng.integers(1, 3)))]
    return {"prompt": wish, "negative_prompt": ", ".join(dict.fromkeys(terms))}


def _relevant(scene: Scene, wish: str, rng: np.random.Generator) -> list[str]:
    """Names of defects that such pictures often have, sometimes of a style that does not become them."""
    terms = []
    for name, defect in DEFECTS.items():
        if rng.random() < min(0.8, _KNOWS * defect_rate(scene.subject, name)):
            terms.append(defect.names[int(rng.random() < 0.3)])
    for style, charm in zip(STYLES, STYLE_CHARM[scene.subject], strict=True):
        asked = any(name in wish for name in STYLE_NAMES[style])
        if charm <= -1.5 and rng.random() < (0.02 if asked else 0.35):
            terms.append(STYLE_NAMES[style][int(rng.random() < 0.3)])
    return terms


def write_pairs(path: Path, seed: int, count: int) -> None:
    """`count` pairs as JSON lines."""
    lines = [json.dumps(pair(seed, index), ensure_ascii=False) for index in range(count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(lines) + "\n")


assert all(term in TERMS for habit in HABITS for term in habit.split(", "))
assert set(DEFECT_TERMS) <= set(TERMS)
