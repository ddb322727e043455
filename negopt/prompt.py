"""What a prompt asks for, and what it asks to leave out, in plain words.

Reads tags ("1girl, red_dress, no humans") and sentences ("a street without people at night") alike.
Knows the hosts' syntax only through `syntax.py`, and nothing of negative prompts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from .negation import bare, closes_list, continues_list, split_parts
from .syntax import Fragment, plain_words, read_fragments, split_parameters

LONGEST_LIST = 8
"""Fragments a denied list may have before the "or" that shows it to be one."""


@dataclass(frozen=True)
class Prompt:
    """A prompt, read.

    `text` is all of it as plain lower-case words, fragments joined with ", ", without any syntax: the
    network's input. `wanted` are the phrases it asks for; `unwanted` those that it negates itself ("no
    text", "without people", "text-free", a weight of zero or below), without the negating word.
    """

    text: str
    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]


def read_prompt(prompt: str) -> Prompt:
    """Reads any prompt. Never raises; time is linear in its length."""
    reader = _Reader()
    for fragment in read_fragments(_PARAMETER.sub(_as_words, split_parameters(prompt)[0])):
        reader.read(fragment)
    return Prompt(", ".join(reader.texts), tuple(reader.wanted), tuple(reader.unwanted))


@lru_cache(maxsize=4096)
def in_words(prompt: str, embeddings: tuple[str, ...] = ()) -> str:
    """All of the prompt in plain words, for what knows no host's syntax; one of nothing but syntax stays as it is.
    `embeddings`: names that are no words, wherever they stand."""
    return read_prompt(_names(embeddings).sub("embedding:x", prompt) if embeddings else prompt).text or prompt


@lru_cache(maxsize=16)
def _names(embeddings: tuple[str, ...]) -> re.Pattern[str]:
    """Any of them, with the prefix or without, also in plain words."""
    longest_first = sorted(embeddings, key=len, reverse=True)
    either = "|".join(re.escape(name).replace("_", "[_ ]") for name in longest_first)
    return re.compile(rf"(?<!\w)(?:embedding\s?:\s?)?(?:{either})(?!\w)", re.IGNORECASE)


# Midjourney's parameters, which people paste along: `--no text, people --ar 2:3`.
_PARAMETER = re.compile(
    r"(?<![\w\-])--(?:no\s(?P<no>(?:(?!\s--)[^\n<]){1,2000})|[a-z]{1,12}(?:[ =][\d.:]{1,9}|(?=\s|$)))"
)


def _as_words(parameter: re.Match[str]) -> str:
    items = (parameter["no"] or "").split(",")
    return " , " + ", ".join(f"no {item}" for item in items if item.strip())


class _Reader:
    """Collects phrases, in order and each once (dictionaries serve as ordered sets)."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.wanted: dict[str, None] = {}
        self.unwanted: dict[str, None] = {}
        self._denied_last = ""
        self._since_denied: list[str] | None = None
        """What came after it, as long as that may turn out to belong to its list."""

    def read(self, fragment: Fragment) -> None:
        if fragment.text.lower().startswith("embedding:"):
            return
        text = plain_words(fragment.text.replace("(", " ").replace(")", " "))
        words = text.split()
        if not words:
            return
        if fragment.weight <= 0:
            self._add(self.unwanted, bare(words))
            return
        self.texts.append(text)
        if self._since_denied is not None and continues_list(words, self._denied_last):
            for phrase in self._since_denied if closes_list(words) else ():
                self.wanted.pop(phrase, None)
                self._add(self.unwanted, phrase)
            words = ["no", *words]
        parts = split_parts(words)
        for phrase, denied in parts:
            self._add(self.unwanted if denied else self.wanted, phrase)
        if parts and parts[-1][1]:
            self._denied_last, self._since_denied = parts[-1][0], []
        elif self._since_denied is not None and len(words) <= 3 and len(self._since_denied) < LONGEST_LIST:
            self._since_denied += [phrase for phrase, _ in parts]
        else:
            self._since_denied = None

    def _add(self, phrases: dict[str, None], phrase: str) -> None:
        if phrase:
            phrases.setdefault(phrase)
