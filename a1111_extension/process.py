"""What NegOpt does to a job of the host: sets the negative prompts that its pictures are made with.

Works on the host's processing object `p` by its attributes and imports no host. All state of a job lives
on `p`: the host shares one script among all requests, and copies `p` for each cell of an X/Y/Z grid.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..negopt.errors import NegOptError
from .arguments import Controls, is_enabled, read_controls
from .infotext import HIRES_NEGATIVE, NOTE, describe, hires_negative, is_ours
from .negatives import Picture, Write, common_seed, picture_seed, strip_comments, write_negatives

log = logging.getLogger(__name__)

INSTEAD = "negopt_instead"
"""Attribute of `p`: values by name that an X/Y/Z axis puts in place of the controls'."""
_WRITTEN = "negopt_written"
"""Attribute of `p`: what this job's negatives were before and after; for hosts that keep them on `p`."""

GUIDANCE_ONE = "guidance is 1, where a negative prompt has no effect, so none was written"
FAILED = "the picture was made with your own negative prompt"


@dataclass(frozen=True)
class _Texts:
    """The negatives of a job as the host had them, and the list that took their place."""

    before: list[str]
    after: list[str]


def process(p: Any, values: Sequence[Any], writer: Callable[[str], Write], *, comments: bool) -> None:
    """Write the negatives of the job `p` from the script's arguments `values`; never raises.

    `writer` gives what writes with a model, by the model's name. `comments`: whether the host takes
    `# comments` out of prompts. Whatever fails, the job goes on as it was and says why.
    """
    # A new table: the cells of an X/Y/Z grid share the old one.
    p.extra_generation_params = {k: v for k, v in p.extra_generation_params.items() if not is_ours(k)}
    try:
        instead = getattr(p, INSTEAD, None)
        if not is_enabled(values, instead):
            _restore(p)
        elif _guidance(p) == 1:
            _restore(p)
            _note(p, GUIDANCE_ONE)
        else:
            controls = read_controls(values, instead)
            _write(p, controls, writer(controls.model), comments)
    except Exception as error:
        reason = str(error) if isinstance(error, NegOptError) else f"{type(error).__name__}: {error}"
        reason = " ".join(reason.split())
        log.error("NegOpt: %s; %s", reason, FAILED)
        log.debug("NegOpt failed", exc_info=True)
        _note(p, f"{reason}; {FAILED}")


def process_batch(p: Any) -> None:
    """Before each batch: the host's infotext key for the second pass counts within the batch; set it right."""
    texts = getattr(p, _WRITTEN, None)
    if texts is None or not _has_second_pass(p) or len(set(p.all_hr_negative_prompts)) == 1:
        return
    p.extra_generation_params[HIRES_NEGATIVE] = partial(hires_negative, tuple(p.all_hr_negative_prompts))


def set_instead(p: Any, name: str, value: Any) -> None:
    """Let `value` stand in for a control in this job and not in those that `p` was copied from."""
    setattr(p, INSTEAD, {**getattr(p, INSTEAD, {}), name: value})


def _write(p: Any, controls: Controls, write: Write, comments: bool) -> None:
    """Nothing of `p` is changed before everything is written."""
    strip = strip_comments if comments else str
    own = _own_negatives(p)
    pictures = _pictures(p, p.all_prompts, own, strip)
    second: list[Picture] = []
    if _has_second_pass(p):  # without a negative of its own it has the first pass's, whatever its prompt
        hires = _pictures(p, p.all_hr_prompts, p.all_hr_negative_prompts, strip)
        second = [b if b.negative != a.negative else a for a, b in zip(pictures, hires, strict=True)]
    written = write_negatives([*pictures, *second], controls, write)
    negatives, hires_negatives = written[: len(pictures)], written[len(pictures) :]

    after = [negative.text for negative in negatives]
    setattr(p, _WRITTEN, _Texts(own, after))
    p.all_negative_prompts = after
    p.main_negative_prompt = after[0]
    if second:
        p.all_hr_negative_prompts = [negative.text for negative in hires_negatives]
    p.extra_generation_params.update(describe(controls, negatives, hires_negatives, common_seed(pictures, controls)))


def _own_negatives(p: Any) -> list[str]:
    """The job's negatives before NegOpt. A host that does not make them anew for a `p` used again still
    has those that were written."""
    texts = getattr(p, _WRITTEN, None)
    return texts.before if texts is not None and p.all_negative_prompts is texts.after else list(p.all_negative_prompts)


def _restore(p: Any) -> None:
    """Take back what an earlier run on the same `p` wrote, where the host has kept it."""
    own = _own_negatives(p)
    if own != p.all_negative_prompts:
        p.all_negative_prompts = own
    if hasattr(p, _WRITTEN):
        delattr(p, _WRITTEN)


def _pictures(p: Any, prompts: Sequence[str], negatives: Sequence[str], strip: Callable[[str], str]) -> list[Picture]:
    strength = getattr(p, "subseed_strength", 0)
    seeds = [picture_seed(int(a), int(b), strength) for a, b in zip(p.all_seeds, p.all_subseeds, strict=True)]
    return [Picture(strip(a), strip(b), seed) for a, b, seed in zip(prompts, negatives, seeds, strict=True)]


def _has_second_pass(p: Any) -> bool:
    return bool(getattr(p, "enable_hr", False)) and hasattr(p, "all_hr_negative_prompts")


def _guidance(p: Any) -> float:
    """The highest guidance scale of the job's passes; Forge has one of its own for the second."""
    first = float(getattr(p, "cfg_scale", 7.0))
    return max(first, float(getattr(p, "hr_cfg", first))) if _has_second_pass(p) else first


def _note(p: Any, text: str) -> None:
    """One line under the picture, and in its infotext, where API callers see it."""
    p.extra_generation_params[NOTE] = text
    if callable(getattr(p, "comment", None)):
        p.comment(f"NegOpt: {text}")
