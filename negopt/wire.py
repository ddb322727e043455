"""A request for a negative prompt, and its answer, as JSON: what the command line prints and what both
hosts' routes speak."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import OptionError
from .options import Options

if TYPE_CHECKING:
    from .generator import NegativePrompt

LONGEST_BODY = 64 * 1024
"""Bytes that a request may have: many times what any prompt needs."""


@dataclass(frozen=True)
class Request:
    """What one request asks for. `model` is None for the bundled one."""

    prompt: str
    model: str | None
    options: Options


def read_request(body: bytes | Mapping[str, Any]) -> Request:
    """The request in a JSON object with "prompt", perhaps "model", and any options of the generator.

    Raises `OptionError`, with one line for the person who sent it, for anything else.
    """
    values = dict(parse_body(body) if isinstance(body, bytes) else body)
    prompt, model = values.pop("prompt", None), values.pop("model", None)
    if not isinstance(prompt, str):
        raise OptionError('"prompt" must be text')
    if model is not None and not isinstance(model, str):
        raise OptionError('"model" must be the name of a model')
    return Request(prompt, model or None, Options.of(values))


def parse_body(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a request's body, half characters in its texts replaced; raises `OptionError`."""
    if len(body) > LONGEST_BODY:
        raise OptionError(f"the request is longer than {LONGEST_BODY} bytes")
    try:
        values = json.loads(body)
        # Half of an emoji, as a page that cuts a text may send it, can neither be encoded nor be sent back.
        values = json.loads(json.dumps(values, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise OptionError(f"the request is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise OptionError("the request must be a JSON object")
    return values


def describe(prompt: str, answer: NegativePrompt) -> dict[str, Any]:
    """The answer as a JSON object: the text, each term with its weight, probability and origin."""
    record = {"prompt": prompt, "negative_prompt": answer.text, "terms": _terms(answer)}
    if answer.alternatives:
        record["alternatives"] = [{"text": other.text, "terms": _terms(other)} for other in answer.alternatives]
    return record


def _terms(answer: NegativePrompt) -> list[dict[str, Any]]:
    return [
        {
            "text": term.text,
            "weight": term.weight,
            "probability": round(term.probability, 6),
            "origin": term.origin,
        }
        for term in answer.terms
    ]
