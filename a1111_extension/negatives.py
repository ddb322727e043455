"""Which negative prompt each picture gets: prompts, the artist's negatives, the mode and the batch in,
texts out. Knows neither a host nor a network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..negopt.options import Value
from .arguments import EXTEND, IF_EMPTY, OWN_SEED, Controls

VARIED = 0.5
"""Creativity, where each picture is to get another negative and none was set."""
_LARGEST_SEED = 2**53 - 1
_COMMENT = re.compile(r"#[^\n]*")

Write = Callable[[Sequence[str], Mapping[str, Value]], Sequence[str]]
"""Prompts, and the generator's options by name: a negative prompt for each prompt."""


@dataclass(frozen=True)
class Picture:
    """What one picture is made from. `seed` is all that makes it differ from another of the same texts."""

    prompt: str
    negative: str
    seed: int


@dataclass(frozen=True)
class Negative:
    """A picture's negative prompt, and the artist's own text that it was written from."""

    text: str
    original: str


@dataclass(frozen=True)
class _Job:
    """One question to the generator; pictures with equal questions share the answer."""

    prompt: str
    keep: str
    seed: int


def write_negatives(pictures: Sequence[Picture], controls: Controls, write: Write) -> list[Negative]:
    """A negative prompt for each picture, in order; `write` is asked once for equal questions."""
    originals = [_original(picture.negative, controls) for picture in pictures]
    seeds = [picture.seed if controls.each_picture else common_seed(pictures, controls) for picture in pictures]
    jobs = [
        None if controls.mode == IF_EMPTY and original else _job(picture.prompt, original, seed, controls)
        for picture, original, seed in zip(pictures, originals, seeds, strict=True)
    ]
    answers = _answers(dict.fromkeys(job for job in jobs if job), controls, write)
    return [
        Negative(answers[job] if job else original, original) for job, original in zip(jobs, originals, strict=True)
    ]


def creativity(controls: Controls) -> float:
    """The creativity that the generator is given."""
    return float(controls.options["creativity"]) or (VARIED if controls.each_picture else 0.0)


def picture_seed(seed: int, variation: int, strength: float) -> int:
    """One number for a picture's seed and its variation seed, in the range that the generator takes."""
    return abs(seed if not strength else seed * 1_000_003 + variation) % (_LARGEST_SEED + 1)


def common_seed(pictures: Sequence[Picture], controls: Controls) -> int:
    """What the one text for all pictures is drawn from."""
    return pictures[0].seed if controls.seed == OWN_SEED else controls.seed


def strip_comments(text: str) -> str:
    """`text` without the comments that the hosts take out of prompts: from # to the end of the line."""
    return _COMMENT.sub("", text)


def _original(negative: str, controls: Controls) -> str:
    """The artist's own negative; where NegOpt wrote the text given, what it was written from."""
    text = negative.strip()
    return controls.originals.get(text, text).strip()


def _job(prompt: str, original: str, seed: int, controls: Controls) -> _Job:
    return _Job(prompt, original if controls.mode == EXTEND else "", seed if creativity(controls) else 0)


def _answers(jobs: Iterable[_Job], controls: Controls, write: Write) -> dict[_Job, str]:
    """The generator writes the prompts side by side that share all options."""
    groups: dict[tuple[str, int], list[_Job]] = {}
    for job in jobs:
        groups.setdefault((job.keep, job.seed), []).append(job)
    answers: dict[_Job, str] = {}
    for (keep, seed), group in groups.items():
        options = {**controls.options, "creativity": creativity(controls), "keep": keep, "seed": seed}
        texts = write([job.prompt for job in group], options)
        answers.update(zip(group, texts, strict=True))
    return answers
