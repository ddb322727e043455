"""Text to token ids and back, for vocabularies of terms and for ordinary word pieces alike.

The vocabulary that NegOpt trains (`training/vocabulary.py`) holds frequent terms whole: the piece
",bad anatomy" is one token, and its comma is the boundary between two terms. A T5 that somebody else
fine-tuned spells its terms from word pieces, with a comma token of its own. Both are read here as the
same thing: a stream of text in which a comma ends one term and begins the next.

A vocabulary of terms may also hold plans: special tokens, the first of a list, that say how many terms
it has at least and fewer than the next plan. People's lists have two terms or forty; without a plan, a
list that begins with the most popular terms looks like one of the short ones, and ends.

Knows nothing of prompts' syntax (`prompt.py`) nor of the network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import ModelError

BOUNDARY = ","
"""Stands between two terms; in a vocabulary of terms every term's first piece begins with it."""

_PLAN = re.compile(r"<terms:(\d+)>")
_SPACE_MARK = "\u2581"
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
_SENTINEL = re.compile(r"<[^<>]*>")


class TermTokenizer:
    """A `tokenizer.json` of the tokenizers library, with the text that each token writes.

    `pieces[i]` is what token i adds to a negative prompt ("" for special tokens); `whole_terms` maps
    the tokens that are one complete term to that term, `plans` each plan's least number of terms to
    its token, in rising order.
    """

    def __init__(self, tokenizer: Any) -> None:
        """`tokenizer`: a `tokenizers.Tokenizer`."""
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        self.pieces: list[str] = [""] * (max(vocabulary.values(), default=-1) + 1)
        plans: dict[int, int] = {}
        for piece, token in vocabulary.items():
            if piece.startswith("<"):
                self.pieces[token] = _written(piece)
                if plan := _PLAN.fullmatch(piece):
                    plans[int(plan[1])] = token
            else:
                self.pieces[token] = piece.replace(_SPACE_MARK, " ")
        self.plans = dict(sorted(plans.items()))
        self.whole_terms: dict[int, str] = {
            token: piece[1:]
            for token, piece in enumerate(self.pieces)
            if piece.startswith(BOUNDARY) and len(piece) > 1 and BOUNDARY not in piece[1:]
        }

    @classmethod
    def from_file(cls, path: Path) -> TermTokenizer:
        """Open `tokenizer.json`; raises `ModelError` naming the file when it cannot be read."""
        from tokenizers import Tokenizer

        if not path.is_file():
            raise ModelError(f"{path}: missing; a model folder needs its tokenizer.json")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception:  # the library raises bare Exception for every kind of damage
            pass  # an old library refuses new spellings, too: see `_in_old_spelling`
        try:
            return cls(Tokenizer.from_str(_in_old_spelling(path.read_text(encoding="utf-8"))))
        except Exception as error:
            raise ModelError(f"{path}: not a tokenizer file that can be opened ({error})") from error

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        """Token ids of `text` with the end token that the file's own template adds.

        Longer texts are cut to `max_tokens`, the end token kept: it is what a T5 encoder saw last in
        training.
        """
        ids: list[int] = self._tokenizer.encode(text).ids
        if max_tokens is None or len(ids) <= max_tokens:
            return ids
        return ids[: max_tokens - 1] + ids[-1:]

    @property
    def between(self) -> list[int]:
        """The ids written between two terms: none where each term's first piece holds its boundary."""
        return [] if self.whole_terms else [self._tokenizer.token_to_id(BOUNDARY)]

    def encode_terms(self, terms: Sequence[str]) -> list[list[int]]:
        """For each term the ids that write it, without end token and without what stands `between`."""
        encoded = self._tokenizer.encode_batch(list(terms), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def plan(self, terms: int) -> list[int]:
        """The token, as a list of one, that begins a list of so many terms; [] without plans."""
        least = self.least(terms)
        return [self.plans[least]] if least else []

    def least(self, terms: int) -> int:
        """The least number of terms that the plan for so many stands for; 0 without plans."""
        return max((least for least in self.plans if least <= terms), default=0)

    def text(self, ids: Sequence[int]) -> str:
        """What `ids` write, as plain text: terms with ", " between them."""
        written = "".join(self.pieces[i] for i in ids)
        return ", ".join(term for term in (part.strip() for part in written.split(BOUNDARY)) if term)


def _in_old_spelling(text: str) -> str:
    """A tokenizer.json with what tokenizers 0.13 to 0.15 want to see added; newer ones read it all the same.

    They ask Metaspace for `add_prefix_space`, which `prepend_scheme` has replaced, and know BPE merges as
    "a b" only. With the addition all versions from 0.13.3 on give the same ids.
    """

    def respell(part: Any) -> None:
        if isinstance(part, list):
            for inner in part:
                respell(inner)
        elif isinstance(part, dict):
            if part.get("type") == "Metaspace":
                part.setdefault("add_prefix_space", part.get("prepend_scheme") != "never")
            for inner in part.values():
                respell(inner)

    value = json.loads(text)
    for name in ("pre_tokenizer", "decoder"):
        respell(value.get(name))
    model = value.get("model", {})
    if model.get("type") == "BPE":
        model["merges"] = [m if isinstance(m, str) else " ".join(m) for m in model.get("merges", [])]
    return json.dumps(value)


def plan_piece(least: int) -> str:
    """The vocabulary's name of the plan for lists of at least so many terms."""
    return f"<terms:{least}>"


def _written(piece: str) -> str:
    """The text a vocabulary entry writes: nothing for special tokens and raw bytes."""
    if _SENTINEL.fullmatch(piece) or _BYTE_PIECE.fullmatch(piece):
        return ""
    return piece.replace(_SPACE_MARK, " ")
