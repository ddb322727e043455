"""A text in passages, as hosts split it: a text encoder reads 75 tokens at a time.

AUTOMATIC1111 and ComfyUI let it read a longer text passage by passage; `BREAK` begins one. Where a text names an
embedding, its vectors stand in place of tokens. Knows tokens, and no encoder.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NamedTuple

from negopt.errors import ModelError
from negopt.syntax import plain_unicode, read_emphasis

from .embeddings import Embedding

STAND_IN = 0
"""The number of a token in whose place a vector is read: what AUTOMATIC1111 takes."""


class Token(NamedTuple):
    """A token as a tokenizer numbers it, and its emphasis."""

    number: int
    weight: float


class Vector(NamedTuple):
    """A vector of an embedding."""

    embedding: Embedding
    row: int


@dataclass
class Passage:
    """What a text encoder reads at a time, without its special tokens."""

    tokens: list[Token] = field(default_factory=list)
    vectors: dict[int, Vector] = field(default_factory=dict)
    """What is read in place of the token at a place: one of these, or of those that fill the passage up."""

    def __len__(self) -> int:
        return len(self.tokens)


Numbers = Callable[[str], list[int]]
"""The tokens of plain text."""
Group = tuple[Sequence[int | Vector], bool]
"""Tokens and vectors, and whether all go into one passage."""
Find = Callable[[str], Iterator[Group]]
"""What stands in a piece of a text, embeddings among it."""


@dataclass(frozen=True)
class Reading:
    """How a host reads brackets and names of embeddings, and where it splits."""

    back_to_comma: int
    """A full passage ends at a comma, where one is among so many of its last tokens."""
    comfyui: bool
    """Whether brackets count as in ComfyUI."""
    finder: Callable[[Sequence[Embedding], Numbers, int], Find]
    """Of these embeddings, and passages of so many tokens."""


class Splitter:
    """Splits texts into passages of at most `room` tokens."""

    def __init__(self, reading: Reading, numbers: Numbers, room: int, embeddings: Sequence[Embedding] = ()) -> None:
        """Raises `ModelError` for an embedding that the host cannot read."""
        self._reading, self._room, self._comma = reading, room, numbers(",")
        self._find = reading.finder(embeddings, numbers, room)

    def __call__(self, text: str) -> list[Passage]:
        """The passages of a text, at least one."""
        split = _Split(self._room, self._reading.back_to_comma, self._comma)
        for piece in read_emphasis(text, comfyui=self._reading.comfyui):
            if piece is None:
                split.end()
                continue
            said, weight = piece
            for group, whole in self._find(said):
                split.add(group, weight, whole)
        return [*split.ended, split.passage] if split.passage or not split.ended else split.ended


class _Split:
    """Passages that have ended, and the one under construction."""

    def __init__(self, room: int, back_to_comma: int, comma: list[int]) -> None:
        self.ended: list[Passage] = []
        self.passage = Passage()
        self._room, self._back, self._comma = room, back_to_comma, comma
        self._after_comma = 0

    def add(self, group: Sequence[int | Vector], weight: float, whole: bool) -> None:
        if whole and group:
            self._make_room(is_comma=False)
            if len(self.passage) + len(group) > self._room:
                self.end()
        for number in group:
            is_comma = [number] == self._comma
            self._make_room(is_comma)
            if isinstance(number, Vector):
                self.passage.vectors[len(self.passage)] = number
                number = STAND_IN
            self.passage.tokens.append(Token(number, weight))
            if is_comma:
                self._after_comma = len(self.passage)

    def _make_room(self, is_comma: bool) -> None:
        if len(self.passage) == self._room:
            near = self._room - self._after_comma < self._back and not is_comma
            self.end(self._after_comma if near else self._room)

    def end(self, at: int | None = None) -> None:
        """End the passage, what stands from `at` on being the beginning of the next. Vectors stay where they are, as
        AUTOMATIC1111 has it: of an embedding behind the comma only the stand-ins go over."""
        tokens = self.passage.tokens
        at = len(tokens) if at is None else at
        self.ended.append(Passage(tokens[:at], self.passage.vectors))
        self.passage, self._after_comma = Passage(tokens[at:]), 0


def _by_tokens(embeddings: Sequence[Embedding], numbers: Numbers, room: int) -> Find:
    """AUTOMATIC1111's: wherever the tokens of a name stand, which know no capitals; the longest name first."""
    known: defaultdict[int, list[tuple[list[int], Embedding]]] = defaultdict(list)
    for embedding in embeddings:
        if len(embedding) > room:
            raise ModelError(f"{embedding.place}: {len(embedding)} vectors do not fit in a passage of {room} tokens")
        called = numbers(plain_unicode(embedding.name))
        if called:
            known[called[0]].append((called, embedding))
    for names in known.values():
        names.sort(key=lambda name: -len(name[0]))

    def find(said: str) -> Iterator[Group]:
        tokens, at = numbers(said), 0
        while at < len(tokens):
            there = (name for name in known.get(tokens[at], ()) if tokens[at : at + len(name[0])] == name[0])
            called, embedding = next(there, (None, None))
            yield ([tokens[at]], False) if embedding is None else (_vectors(embedding), True)
            at += len(called or [0])

    return find


PREFIX = "embedding:"
WHOLE = 8
"""Groups of fewer tokens go into one passage in ComfyUI."""


def _by_prefix(embeddings: Sequence[Embedding], numbers: Numbers, room: int) -> Find:
    """ComfyUI's: the word after `embedding:` where that begins a piece, or follows a space; a name that no file has is
    left out."""
    known: dict[str, Embedding] = {}
    for embedding in embeddings:
        parts = embedding.place.parts
        for start in range(len(parts)):
            path = PurePath(*parts[start:])
            known[os.path.normcase(path.with_suffix(""))] = known[os.path.normcase(path)] = embedding

    def find(said: str) -> Iterator[Group]:
        first, *others = re.split(f"[ \n]{PREFIX}", said)
        for word in (first, *(PREFIX + other for other in others)):
            if not word.startswith(PREFIX):
                rest = word
            else:
                embedding, rest = named(word[len(PREFIX) :])
                if embedding:
                    yield _vectors(embedding), len(embedding) < WHOLE
            if rest:
                said_in_it = numbers(rest)
                yield said_in_it, len(said_in_it) < WHOLE

    def named(words: str) -> tuple[Embedding | None, str]:
        """What the first of the words names, and what is left to read."""
        name, _, rest = " ".join(words.split()).partition(" ")
        embedding = known.get(os.path.normcase(name))
        bare = name.strip(",")
        if embedding is None and bare != name:
            return known.get(os.path.normcase(bare)), f"{name[len(bare) :]} {rest}"
        return embedding, rest

    return find


def _vectors(embedding: Embedding) -> list[Vector]:
    return [Vector(embedding, row) for row in range(len(embedding))]


A1111 = Reading(back_to_comma=20, comfyui=False, finder=_by_tokens)
COMFYUI = Reading(back_to_comma=0, comfyui=True, finder=_by_prefix)
