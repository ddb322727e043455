"""A text in passages, as hosts split it: a text encoder reads 75 tokens at a time.

AUTOMATIC1111 and ComfyUI let it read a longer text passage by passage; `BREAK` begins one. Knows tokens, and no
encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from negopt.syntax import read_emphasis


class Token(NamedTuple):
    """A token as a tokenizer numbers it, and its emphasis."""

    number: int
    weight: float


Passage = list[Token]
"""What a text encoder reads at a time, without its special tokens."""
Numbers = Callable[[str], list[int]]
"""The tokens of plain text."""


@dataclass(frozen=True)
class Reading:
    """How a host reads brackets, and where it splits."""

    back_to_comma: int
    """A full passage ends at a comma, where one is among so many of its last tokens."""
    whole: int
    """A piece with emphasis of its own that has fewer tokens than this goes into one passage."""
    comfyui: bool
    """Whether brackets count as in ComfyUI."""


A1111 = Reading(back_to_comma=20, whole=0, comfyui=False)
COMFYUI = Reading(back_to_comma=0, whole=8, comfyui=True)


def split_text(text: str, numbers: Numbers, room: int, reading: Reading) -> list[Passage]:
    """The passages of a text, at least one, each of at most `room` tokens."""
    split = _Split(room, reading.back_to_comma, numbers(","))
    for piece in read_emphasis(text, comfyui=reading.comfyui):
        if piece is None:
            split.end()
            continue
        said, weight = piece
        found = numbers(said)
        if len(found) < reading.whole and len(split.passage) + len(found) > room:
            split.end()
        for number in found:
            split.add(Token(number, weight))
    return [*split.ended, split.passage] if split.passage or not split.ended else split.ended


class _Split:
    """Passages that have ended, and the one under construction."""

    def __init__(self, room: int, back_to_comma: int, comma: list[int]) -> None:
        self.ended: list[Passage] = []
        self.passage: Passage = []
        self._room, self._back, self._comma = room, back_to_comma, comma
        self._after_comma = 0

    def add(self, token: Token) -> None:
        is_comma = [token.number] == self._comma
        if len(self.passage) == self._room:
            near = self._room - self._after_comma < self._back and not is_comma
            self.end(self._after_comma if near else self._room)
        self.passage.append(token)
        if is_comma:
            self._after_comma = len(self.passage)

    def end(self, at: int | None = None) -> None:
        """End the passage, what stands from `at` on being the beginning of the next."""
        at = len(self.passage) if at is None else at
        self.ended.append(self.passage[:at])
        self.passage, self._after_comma = self.passage[at:], 0
