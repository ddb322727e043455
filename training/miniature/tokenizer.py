"""The tokenizer of the miniature: CLIP's own kind (byte-level BPE with "</w>"), learned from its captions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

LENGTH = 64
"""Tokens of a prompt, with the two special ones; the list of all defects takes about 40."""
START, END = "<|startoftext|>", "<|endoftext|>"
Pair = tuple[str, str]


def learn_tokenizer(captions: Iterable[str]) -> CLIPTokenizer:
    """A tokenizer that has each word of the captions whole and spells all others."""
    merges: Any = learn_merges(captions)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = letters + [letter + "</w>" for letter in letters] + ["".join(pair) for pair in merges] + [START, END]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = CLIPTokenizer(
        # by these names: transformers 5 ignores others without a word and makes a tokenizer of two tokens
        vocab=vocabulary,
        merges=merges,
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
    )
    tokenizer.model_max_length = LENGTH
    return tokenizer


def learn_merges(captions: Iterable[str]) -> list[Pair]:
    """Byte pair encoding to the end: the most frequent pair first, of equals the first in the alphabet.

    Written out because the trainer of `tokenizers` breaks ties by the order of a hash table, so that no two
    builds would number their words alike.
    """
    counts = Counter(word for text in captions for word in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", text.lower()))
    words = {word: [*word[:-1], word[-1] + "</w>"] for word in counts}
    merges: list[Pair] = []
    while True:
        pairs: Counter[Pair] = Counter()
        for word, pieces in words.items():
            for pair in pairwise(pieces):
                pairs[pair] += counts[word]
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for pieces in words.values():
            _join(pieces, best)


def _join(pieces: list[str], pair: Pair) -> None:
    place = 0
    while place + 1 < len(pieces):
        if (pieces[place], pieces[place + 1]) == pair:
            pieces[place : place + 2] = ["".join(pair)]
        place += 1


def open_tokenizer(folder: Path) -> CLIPTokenizer:
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
    return tokenizer
