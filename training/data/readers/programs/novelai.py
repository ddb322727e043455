"""NovelAI: JSON under `Comment`, with the negative prompt as `uc`; its name stands under `Software`.

A1111 reads the first layout so (its `read_info_from_image`). From version 4 on `v4_prompt` has each character's own
text besides, and `1.3::text::` for emphasis (seen in programs that read or ask for such pictures: NovelAI's own source
is not public).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .texts import Pair, json_object, mapping, pair_of

_WEIGHTED = re.compile(r"(?<![\d.])(-?)(\d{0,2}\.?\d{1,4})::(.*?)(?:::|$)", re.DOTALL)


def pairs(texts: Mapping[str, str]) -> list[Pair] | None:
    """The pair in `Comment`. What is ruled out for one character alone is not: the others may have it."""
    record = json_object(texts.get("Comment", ""))
    if record is None or "uc" not in record or "c" in record:  # with a `c` it is Draw Things'
        return None
    prompt = record.get("prompt") or texts.get("Description")
    caption = mapping(record.get("v4_prompt"), "caption")
    negative = mapping(record.get("v4_negative_prompt"), "caption").get("base_caption") or record["uc"]
    return [(_plain(text), _plain(without)) for text, without in pair_of(_with_characters(caption) or prompt, negative)]


def _plain(text: str) -> str:
    """NovelAI's weights written as A1111's; what weighs less than nothing is not asked for, and left out."""
    return _WEIGHTED.sub(lambda match: "" if match[1] else f"({match[3].strip(' ,')}:{match[2]})", text)


def _with_characters(caption: Mapping[str, Any]) -> str:
    characters = caption.get("char_captions")
    entries = characters if isinstance(characters, list) else []
    texts = [caption.get("base_caption")]
    texts += [entry.get("char_caption") for entry in entries if isinstance(entry, Mapping)]
    return ", ".join(text.strip(" ,") for text in texts if isinstance(text, str) and text.strip(" ,"))
