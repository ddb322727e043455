"""What the page shows of a negative prompt: its text in spans, each with who wanted it.

Goes to the page as JSON, with the run's results or as the route's answer; `web/js/negopt.js` draws it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .jobs import Written

if TYPE_CHECKING:
    from ..negopt.generator import NegativePrompt
    from ..negopt.merge import Merged


def report(written: Iterable[Written]) -> list[dict[str, Any]]:
    """For each negative, in order: "text", "spans", "inputs", and "failure" where it is only the artist's own."""
    entries: list[dict[str, Any]] = []
    for one in written:
        model = one.job.model if isinstance(one.job.model, str) else one.job.model.name
        inputs = {"prompt": one.job.prompt, "model": model, **one.job.options}
        if one.failure:
            own = [{"text": one.job.own, "origin": "keep"}] if one.job.own else []
            entries += [{"text": one.job.own, "spans": own, "inputs": inputs, "failure": one.failure}] * len(one.texts)
        else:
            entries += [{"text": a.text, "spans": list(spans(one.job.own, a)), "inputs": inputs} for a in one.answers]
    return entries


def merge_report(entry: dict[str, Any], merged: Merged, negatives: Sequence[str]) -> dict[str, Any]:
    """An entry with the `negatives` that were merged and what that left out: "conflicting" and "repeated" terms."""
    inputs = {name: value for name, value in entry["inputs"].items() if name != "keep"}
    inputs |= dict(zip(("negative", "negative_2"), negatives, strict=False))
    left_out = {"conflicting": list(merged.conflicting), "repeated": list(merged.repeated)}
    return {**entry, "inputs": inputs, **left_out}


def spans(own: str, answer: NegativePrompt) -> Iterator[dict[str, Any]]:
    """The answer's whole text, cut into the artist's `own`, each further term, and what stands between.

    A span has "text"; a term's also "origin" (keep, prompt or model) and, from the model, "probability".
    """
    own = own.strip(" ,\t\r\n")
    at = len(own) if answer.text.startswith(own) else 0
    if at:
        yield {"text": own, "origin": "keep"}
    for term in answer.terms:
        text = re.sub(r"([()\[\]])", r"\\\1", term.text)
        start = answer.text.find(text, at)
        if term.origin == "keep" or start < 0:
            continue
        if start > at:
            yield {"text": answer.text[at:start]}
        span: dict[str, Any] = {"text": text, "origin": term.origin}
        if term.origin == "model":
            span["probability"] = round(term.probability, 3)
        yield span
        at = start + len(text)
    if at < len(answer.text):
        yield {"text": answer.text[at:]}
