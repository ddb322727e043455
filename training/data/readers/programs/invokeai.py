"""InvokeAI, in each of its layouts, all in PNG chunks.

From 3.0 on JSON under `invokeai_metadata` (in its first betas under `invokeai`, with other names); from 1.15 to 2.3
JSON under `sd-metadata`, before that the command line alone under `Dream`. Up to 2.3 the negative prompt stands in
brackets within the prompt. So they are read by InvokeAI's own `import_images.py` and, the brackets, by 2.3's
`conditioning.py`. Emphasis is `word+` or `(two words)++`, as its `PROMPTS.md` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .texts import Pair, json_object, mapping, pair_of

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_STRESSED = re.compile(r"(\([^()]{1,500}\)|\w{1,100})(\+{1,8})(?![\w+])")
_SWITCHES = re.compile(r'"?\s-s ?\d.*', re.DOTALL)  # the number of steps is the first and never left out


def pairs(texts: Mapping[str, str]) -> list[Pair] | None:
    """The pair of the newest layout that is there."""
    for name, prompt, negative in (
        ("invokeai_metadata", "positive_prompt", "negative_prompt"),
        ("invokeai", "positive_conditioning", "negative_conditioning"),
    ):
        record = json_object(texts.get(name, ""))
        if record is not None:
            return _pairs(record.get(prompt), record.get(negative))
    record = json_object(texts.get("sd-metadata", ""))
    if record is not None:
        return _bracketed(_old_prompt(mapping(record, "image").get("prompt")))
    if "Dream" in texts:
        return _bracketed(_SWITCHES.sub("", texts["Dream"]).strip('" '))
    return None


def _old_prompt(prompt: Any) -> str:
    """A text, or a list of texts with weights."""
    parts = prompt if isinstance(prompt, list) else [{"prompt": prompt}]
    texts = (part.get("prompt") for part in parts if isinstance(part, Mapping))
    return " ".join(text for text in texts if isinstance(text, str))


def _bracketed(prompt: str) -> list[Pair]:
    negative = ", ".join(part.strip(" ,") for part in _BRACKETS.findall(prompt) if part.strip(" ,"))
    return _pairs(re.sub(r"\s{2,}", " ", _BRACKETS.sub(" ", prompt)).strip(" ,"), negative)


def _pairs(prompt: Any, negative: Any) -> list[Pair]:
    return [(_plain(text), _plain(without)) for text, without in pair_of(prompt, negative)]


def _plain(text: str) -> str:
    """InvokeAI's emphasis written as A1111's."""
    return _STRESSED.sub(lambda match: f"({match[1].strip('()')}:{1.1 ** len(match[2]):.2f})", text)
