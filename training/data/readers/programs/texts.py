"""What the readers of programs share: a pair, and JSON in a text that anybody may have written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Pair = tuple[str, str]
"""(prompt, negative prompt), neither of them empty"""


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that `text` is, or None; never raises, however deep it is nested."""
    if not text.lstrip("\ufeff \t\r\n").startswith("{"):
        return None
    try:
        # ComfyUI writes NaN, which is no JSON; whatever stands there is no text
        value = json.loads(text.strip("\ufeff\0"), parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def pair_of(prompt: Any, negative: Any) -> list[Pair]:
    """The pair of two values, or none where one of them is no text or an empty one."""
    if isinstance(prompt, str) and isinstance(negative, str) and prompt.strip() and negative.strip():
        return [(prompt.strip(), negative.strip())]
    return []


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """The object under `name` in an object, an empty one where there is none."""
    inner = value.get(name) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}
