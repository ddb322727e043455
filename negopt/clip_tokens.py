"""How many CLIP tokens a text takes: exactly, given CLIP's vocabulary, or by a safe estimate without.

The rules are those of OpenAI's `clip/simple_tokenizer.py` (Radford et al. 2021): lower case, words of
letters, single digits, runs of punctuation, then byte-pair merges whose last piece ends in `</w>`.
Knows nothing of prompts or terms.
"""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from .errors import ModelError

END = "</w>"
LONGEST_WORD = 128
"""Longer words, which nobody writes, are merged in stretches of this many bytes, so that time stays linear."""

_CONTRACTION = "'s|'t|'re|'ve|'m|'ll|'d"
# The words of a text after `_letters_and_digits`, in which every letter is one of the alphabet.
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")
_WORD = re.compile(rf"<\|startoftext\|>|<\|endoftext\|>|{_CONTRACTION}|[a-z]+|[0-9]|[^\sa-z0-9]+")
_MERGES_IN_BPE_FILE = 49152 - 256 - 2


class ClipTokenCounter:
    """Counts tokens by CLIP's byte-pair rules."""

    def __init__(self, vocabulary: Mapping[str, int], merges: Iterable[str | tuple[str, str]] | None = None) -> None:
        """`vocabulary` maps pieces to ids; `merges` are pairs, best first ("a b" or ("a", "b")).

        Without `merges` the order of the vocabulary stands in for them, as its pieces are in the order
        in which they were merged.
        """
        if merges is None:
            self._ranks: dict[str, int] = dict(vocabulary)
            self._separator = ""
        else:
            pairs = (pair.split() if isinstance(pair, str) else pair for pair in merges)
            self._ranks = {" ".join(pair): rank for rank, pair in enumerate(pairs)}
            self._separator = " "
        self._pieces = lru_cache(maxsize=16384)(self._count_pieces)

    @classmethod
    def from_files(cls, vocabulary: str | Path, merges: str | Path | None = None) -> ClipTokenCounter:
        """From `vocab.json` and `merges.txt` of a Hugging Face tokenizer; `ModelError` names a bad file."""
        try:
            table = json.loads(Path(vocabulary).read_text(encoding="utf-8"))
            lines = None if merges is None else Path(merges).read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise ModelError(f"{vocabulary}: not a CLIP vocabulary ({error})") from error
        if not isinstance(table, dict):
            raise ModelError(f"{vocabulary}: not a CLIP vocabulary (an object of pieces and ids is expected)")
        return cls(table, None if lines is None else [line for line in lines if _is_merge(line)])

    @classmethod
    def from_bpe_file(cls, path: str | Path) -> ClipTokenCounter:
        """From OpenAI's `bpe_simple_vocab_16e6.txt.gz`, packed or not; `ModelError` if it is none."""
        try:
            data = Path(path).read_bytes()
            text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
        except (OSError, EOFError, ValueError) as error:
            raise ModelError(f"{path}: not a CLIP vocabulary ({error})") from error
        merges = [line for line in text.split("\n")[1 : _MERGES_IN_BPE_FILE + 1] if _is_merge(line)]
        if not merges:
            raise ModelError(f"{path}: not a CLIP vocabulary (no merges in it)")
        return cls({}, merges)

    def count(self, text: str) -> int:
        """Tokens in `text`, without those for start and end. Linear in the text's length."""
        return sum(self._pieces(word) for word in _words(text))

    def _count_pieces(self, word: str) -> int:
        if word in _SPECIAL:
            return 1
        data = word.encode("utf-8", errors="replace")
        return sum(
            len(self._merge([_SYMBOLS[byte] for byte in data[start : start + LONGEST_WORD]]))
            for start in range(0, len(data), LONGEST_WORD)
        )

    def _merge(self, symbols: list[str]) -> list[str]:
        symbols[-1] += END
        while len(symbols) > 1:
            ranks = [
                self._ranks.get(f"{first}{self._separator}{second}", _NEVER) for first, second in pairwise(symbols)
            ]
            best = min(ranks)
            if best == _NEVER:
                break
            symbols = _join(symbols, ranks, best)
        return symbols


def estimate_tokens(text: str) -> int:
    """A count without any vocabulary: that of common words is known, that of others bounded from above.

    Not below the real count for what people write in negative prompts, and within a few percent of it.
    """
    return sum(_estimate_word(word) for word in _words(text))


@lru_cache(maxsize=16384)
def _estimate_word(word: str) -> int:
    if not word.isascii():
        return len(word.encode("utf-8", errors="replace"))
    if not word.isalpha():
        return 1 if word in _SINGLE_MARKS else len(word)
    known = _known_words().get(word)
    if known is not None:
        return known
    if not _VOWEL.search(word):
        return len(word)
    # What other words of such a length take at most, but for one in a hundred that people write.
    return next((pieces for length, pieces in _BOUNDS if len(word) <= length), (len(word) + 1) // 2)


_VOWEL = re.compile("[aeiouy]")
_BOUNDS = ((2, 1), (5, 2), (8, 3), (11, 4), (14, 5))
_SINGLE_MARKS = frozenset(["((", "(((", "))", ")))", "))))", "),", ").", "):", ")(", "()", ",,", "...", "'s", "++"])


@lru_cache(maxsize=1)
def _known_words() -> dict[str, int]:
    table = json.loads(Path(__file__).with_name("clip_words.json").read_text(encoding="utf-8"))
    return {
        word: int(pieces)
        for pieces, lines in table.items()
        if pieces.isdecimal()
        for line in lines
        for word in line.split()
    }


_NEVER = 1 << 60


def _join(symbols: list[str], ranks: list[int], best: int) -> list[str]:
    """The symbols with every pair of rank `best` joined, from the left."""
    joined: list[str] = []
    index = 0
    while index < len(symbols):
        if index < len(ranks) and ranks[index] == best:
            joined.append(symbols[index] + symbols[index + 1])
            index += 2
        else:
            joined.append(symbols[index])
            index += 1
    return joined


def _is_merge(line: str) -> bool:
    return len(line.split()) == 2 and not line.startswith("#version")


def _words(text: str) -> list[str]:
    """The words that CLIP merges one by one: letters, single digits, runs of punctuation."""
    text = unicodedata.normalize("NFC", text).lower()
    if text.isascii():
        return _WORD.findall(text)
    return [text[match.start() : match.end()] for match in _WORD.finditer(_letters_and_digits(text))]


def _letters_and_digits(text: str) -> str:
    """`text` with every letter of another script as `z` and every digit as `0`."""
    return "".join(char if char.isascii() else _kind(char) for char in text)


@lru_cache(maxsize=4096)
def _kind(char: str) -> str:
    if char.isspace():
        return " "
    return {"L": "z", "N": "0"}.get(unicodedata.category(char)[0], "!")


def _byte_symbols() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


_SYMBOLS = _byte_symbols()
