"""Writing for many prompts at once, whatever happens: a failure of ours never costs the artist a picture.

Where the model cannot be opened, or anything else goes wrong, the negative is the artist's own text, and
the reason goes into the node and, in one line, into the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..negopt.errors import NegOptError, OptionError
from ..negopt.merge import Merged, merge
from ..negopt.options import OPTIONS

if TYPE_CHECKING:
    from ..negopt.generator import Generator, NegativePrompt
    from .models import ModelReference

log = logging.getLogger("negopt")

OpenGenerator = Callable[["str | ModelReference", Any], "Generator"]
"""Gives the generator for a model and a CLIP."""


@dataclass(frozen=True)
class Job:
    """One prompt, with the options of the generator, the model that is to write, and the CLIP that will read it."""

    prompt: str
    options: Mapping[str, Any] = field(default_factory=dict)
    model: str | ModelReference = ""
    clip: Any = None

    @property
    def own(self) -> str:
        """The artist's own negative, which stands in for the written one when that fails."""
        return str(self.options.get("keep", ""))


@dataclass(frozen=True)
class Written:
    """The negatives for one job, all alternatives in order: `answers`, or why there are none."""

    job: Job
    answers: tuple[NegativePrompt, ...] = ()
    failure: str = ""

    @property
    def texts(self) -> list[str]:
        """One text for each alternative that was asked for."""
        if self.failure:
            return [self.job.own] * self._asked_for
        return [answer.text for answer in self.answers]

    @property
    def _asked_for(self) -> int:
        """How many alternatives; one where a link brought what is no such number."""
        try:
            return int(OPTIONS["n"].check(self.job.options.get("n", 1)))
        except OptionError:
            return 1


def write(
    jobs: Sequence[Job],
    open_generator: OpenGenerator,
    tick: Callable[[], None] = lambda: None,
) -> list[Written]:
    """The negatives for each job, in order. Calls `tick` after each; only `tick` may raise."""
    written: list[Written] = []
    for _, group in groupby(jobs, key=lambda job: (job.model, job.clip, job.options)):
        for one in _write_alike(list(group), open_generator):
            written.append(one)
            tick()
    return written


def merge_or_join(prompt: str, *negatives: str, avoid: str = "") -> Merged:
    """`merge`; where that fails, as when the table of families is damaged, the negatives as they came."""
    try:
        return merge(prompt, *negatives, avoid=avoid)
    except Exception as error:  # whatever it is, the picture is made
        log.warning("NegOpt joined the negative prompts unread: %s", _reason(error))
        return Merged(", ".join(filter(None, negatives)), (), (), ())


def _write_alike(jobs: Sequence[Job], open_generator: OpenGenerator) -> Iterator[Written]:
    """Jobs with the same model, CLIP and options go through the network side by side."""
    first, done = jobs[0], 0
    try:
        generator = open_generator(first.model, first.clip)
        for answer in generator.stream([job.prompt for job in jobs], **first.options):
            yield Written(jobs[done], (answer, *answer.alternatives))
            done += 1
    except Exception as error:  # whatever it is, the picture is made
        reason = _reason(error)
        log.warning("NegOpt passed your own negative prompt on: %s", reason)
        for job in jobs[done:]:
            yield Written(job, failure=reason)


def _reason(error: Exception) -> str:
    """One line that a person can act on."""
    if isinstance(error, NegOptError):
        return str(error)
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first} (a fault in NegOpt; please report it)"
