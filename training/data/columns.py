"""From a record with named fields to a pair: the usual names of the prompt, the negative and the author.

Used for table rows, JSON objects and the JSON that several programs write into pictures. Knows nothing
about where the record came from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .pairs import KINDS, RawPair, page_id

# First hit wins. Names are compared in lower case without separators, so that `negative_prompt`,
# `negativePrompt` and `Negative Prompt` are one.
_PROMPT = (
    "prompt",
    "positiveprompt",
    "positive",
    "prompttext",
    "textpositive",
    "promptpositive",
    "caption",
    "text",
)
_NEGATIVE = (
    "negativeprompt", "negative", "negprompt", "promptnegative", "textnegative", "negativeprompts", "neg",
    "uc", "undesiredcontent", "nprompt",
)  # fmt: skip
_PAGE = (
    "page", "author", "authorid", "user", "userid", "username", "creator", "creatorid",
    "postid", "account",
)  # fmt: skip
_LICENCE = ("licence", "license")
_NESTED = ("meta", "metadata", "params", "parameters", "generation", "suiimageparams", "image", "data")


def plain_name(name: str) -> str:
    """A column's name as it is compared: lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def has_pair(names: list[str]) -> bool:
    """Whether columns of these names can give a pair."""
    plain = {plain_name(name) for name in names}
    return any(n in plain for n in _PROMPT) and any(n in plain for n in _NEGATIVE)


def wanted_columns(names: list[str]) -> list[str]:
    """Those of `names` that `pair_from_record` reads: a Parquet file need not give the others."""
    wanted = {*_PROMPT, *_NEGATIVE, *_PAGE, *_LICENCE, "source", "kind", "modelwritten"}
    return [name for name in names if plain_name(name) in wanted]


def pair_from_record(
    record: Mapping[str, Any], *, source: str, kind: str = "other", page: str | None = None, depth: int = 2
) -> RawPair | None:
    """The pair in `record`, or None where it has no prompt or no negative.

    `source`, `kind` and `page` are what to write where the record has no such field. Looks `depth` levels
    down into the fields in which programs are known to nest their parameters (`meta`, `params`, ...).
    """
    fields = {plain_name(str(name)): value for name, value in record.items()}
    prompt, negative = _first_text(fields, _PROMPT), _first_text(fields, _NEGATIVE)
    if prompt is None or negative is None:
        for name in _NESTED if depth else ():
            inner = fields.get(name)
            if isinstance(inner, Mapping):
                found = pair_from_record(inner, source=source, kind=kind, page=page, depth=depth - 1)
                if found is not None:
                    return found
        return None
    own_source = _first_text(fields, ("source",)) or source
    author = _first_text(fields, _PAGE)
    own_kind = _first_text(fields, ("kind",))
    return RawPair(
        prompt=prompt,
        negative=negative,
        source=own_source,
        page=page_id(own_source, author) if author else page,
        kind=own_kind if own_kind in KINDS else kind,
        licence=_first_text(fields, _LICENCE) or "unknown",
        model_written=str(fields.get("modelwritten", "")).lower() in ("true", "1", "yes"),
    )


def _first_text(fields: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, int) and not isinstance(value, bool) and names is _PAGE:
            return str(value)
    return None
