"""Kinds of prompts, told by their words: what is good for all together may be bad for some.

--kinds "names a style=watercolour,line art" people=man,woman,face
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from negopt.errors import OptionError

ALL, OTHERS = "all prompts", "other prompts"

Kinds = Mapping[str, re.Pattern[str]]
"""What the prompts of a kind have in them."""


def read_kinds(given: Sequence[str]) -> Kinds:
    """From `NAME=WORD,WORD`, where a word may be several: each kind holds the prompts with any of its words, as whole
    words, large or small letters. Raises `OptionError`."""
    kinds: dict[str, re.Pattern[str]] = {}
    for text in given:
        name, _, listed = (part.strip() for part in text.partition("="))
        words = [word.strip() for word in listed.split(",") if word.strip()]
        if not name or not words:
            raise OptionError(f"--kinds takes NAME=WORD,WORD, not {text!r}")
        if name in (*kinds, ALL, OTHERS):
            raise OptionError(f"--kinds: {name!r} is taken, call it something else")
        kinds[name] = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", re.IGNORECASE)
    return kinds


def by_kind(prompts: Sequence[str], kinds: Kinds) -> dict[str, list[int]]:
    """The places of all prompts, of each kind's, which may share some, and of those of no kind; none of them empty."""
    found = {name: [row for row, prompt in enumerate(prompts) if has.search(prompt)] for name, has in kinds.items()}
    named = {row for rows in found.values() for row in rows}
    everything = list(range(len(prompts)))
    rest = [row for row in everything if row not in named] if kinds else []
    return {name: rows for name, rows in {ALL: everything, **found, OTHERS: rest}.items() if rows}
