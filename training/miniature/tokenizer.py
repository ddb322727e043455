"""The tokenizer of the miniature: CLIP's own kind (byte-level BPE with "</w>"), learned from its captions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

LENGTH = 64
"""Tokens of a prompt, with the two special ones; the list of all defects takes 45."""
START, END = "<|startoftext|>", "<|endoftext|>"
_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def learn_tokenizer(captions: Iterable[str], size: int = 1200) -> CLIPTokenizer:
    """A tokenizer that has each frequent word whole and spells all others."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    bpe.normalizer = normalizers.Lowercase()
    split = pre_tokenizers.Split(_regex(), behavior="removed", invert=True)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    bpe.decoder = decoders.BPEDecoder(suffix="</w>")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False, min_frequency=2
    )
    bpe.train_from_iterator(captions, trainer)
    merges: Any = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    pieces = alphabet + [letter + "</w>" for letter in alphabet] + ["".join(pair) for pair in merges] + [START, END]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = CLIPTokenizer(
        # by these names: transformers 5 ignores others without a word and makes a tokenizer of two tokens
        vocab=vocabulary, merges=merges, unk_token=END, bos_token=START, eos_token=END, pad_token=END,
    )  # fmt: skip
    tokenizer.model_max_length = LENGTH
    return tokenizer


def _regex():  # type: ignore[no-untyped-def]
    from tokenizers import Regex

    return Regex(_WORDS)


def open_tokenizer(folder: Path) -> CLIPTokenizer:
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
    return tokenizer
