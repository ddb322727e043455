"""Fooocus: JSON or A1111's layout under `parameters`, and the log beside the pictures (its `meta_parser.py` and
`private_logger.py`).

What the artist typed is told from what the styles and a language model (Fooocus V2) made of it. Where a negative
prompt was typed, the two texts as typed are the pair; else those with the styles, but without the model's words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from ...columns import pair_from_record
from ..infotext import split_infotext
from .texts import Pair, json_object, pair_of

_RAW = re.compile(r'(?:^|, )Raw (negative )?prompt: ("(?:[^"\\]|\\.)*"|[^,\n]*)', re.MULTILINE)
# What its button copies: the JSON of one picture, percent-encoded.
_LOGGED = re.compile(r"to_clipboard\('([^'\s]*)'\)")


def pairs(texts: Mapping[str, str]) -> list[Pair] | None:
    """The pair under `parameters`, if Fooocus wrote it."""
    text = texts.get("parameters", "")
    record = json_object(text)
    if record is not None:
        return _of_record(record) if "full_negative_prompt" in record else None
    if "Raw prompt: " not in text:
        return None
    parts = split_infotext(text)
    return None if parts is None else _of_infotext(text, *parts)


def pairs_in_log(html: str) -> Iterator[list[Pair]]:
    """What was typed for each picture of a `log.html`, which is all that Fooocus keeps unless told otherwise."""
    for match in _LOGGED.finditer(html):
        record = json_object(unquote(match[1]))
        pair = pair_from_record(record, source="", depth=0) if record is not None else None
        yield [] if pair is None else [(pair.prompt, pair.negative)]


def _of_record(record: Mapping[str, Any]) -> list[Pair]:
    typed = pair_of(record.get("prompt"), record.get("negative_prompt"))
    if typed:
        return typed
    styled = _joined(record.get("full_prompt"), without=record.get("prompt_expansion"))
    return pair_of(styled, _joined(record.get("full_negative_prompt")))


def _joined(texts: Any, without: Any = None) -> str:
    texts = texts if isinstance(texts, list) else [texts]
    return ", ".join(text for text in texts if isinstance(text, str) and text.strip() and text != without)


def _of_infotext(text: str, prompt: str, negative: str) -> list[Pair]:
    typed = {bool(match[1]): _unquoted(match[2]) for match in _RAW.finditer(text)}
    pair = pair_of(typed.get(False), typed.get(True))
    if pair:
        return pair
    styled, _, _ = prompt.rpartition(f", {typed.get(False, '')}")  # the model's text begins with what was typed
    return pair_of(styled if typed.get(False) and typed[False] in styled else prompt, negative)


def _unquoted(value: str) -> str:
    """As `quote` of Fooocus (and of A1111) has it: JSON where the text has a comma, a colon or a line break."""
    try:
        text = json.loads(value) if value.startswith('"') else value
    except ValueError:
        text = value
    return text if isinstance(text, str) else value
