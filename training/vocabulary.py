"""The vocabulary of terms: a tokenizer in which frequent terms are single tokens.

A negative prompt is a list of terms, and a few thousand of them cover nearly all that people write.
Each is one piece here, its boundary included (",bad anatomy"), so that a negative of 15 terms is 15 to
20 decoding steps. Rare terms spell out from words (" anatomy") and parts of words. Prompts are read
with the same pieces: one vocabulary, one embedding table, as T5 has it.

The file is a `tokenizer.json` of the tokenizers library whose every part opens in 0.13.3, the oldest
one that a supported host pins (no Metaspace, no Prepend, no byte fallback).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from negopt.tokenizer import BOUNDARY, plan_piece

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
SPECIAL = (PAD, END, UNKNOWN)
PLANS = (1, 4, 8, 13, 19, 26, 36)
"""Least numbers of terms of the plans that a list may begin with (see `negopt.tokenizer`)."""


@dataclass(frozen=True)
class VocabularySize:
    """How many pieces of each kind; their sum, less what coincides, is the size of the vocabulary."""

    terms: int = 3000
    """Whole terms of negative prompts."""
    tags: int = 1000
    """Whole comma-separated parts of prompts ("looking at viewer")."""
    words: int = 4000
    """Whole words, each in the form in which it is used: at the start of a term or after a space."""
    parts: int = 1000
    """Parts of words, learned by a unigram model from the words themselves."""


def build_vocabulary(
    prompts: Iterable[str],
    negatives: Iterable[Iterable[str]],
    size: VocabularySize | None = None,
    plans: Sequence[int] = PLANS,
) -> Tokenizer:
    """Tokenizer learned from plain prompts (`negopt.prompt.read_prompt(...).text`) and lists of terms. `plans`: the
    least numbers of terms that a list can be planned for; none where the network says itself when it has enough.

    A piece needs to occur at least three times: what occurs less cannot be learned, only memorised.
    """
    size = size or VocabularySize()
    terms = Counter(BOUNDARY + term for negative in negatives for term in negative)
    tags = Counter(BOUNDARY + tag for prompt in prompts for tag in prompt.split(", ") if tag)
    words = _words(terms) + _words(tags)

    whole = [(terms, size.terms), (tags, size.tags), (words, size.words)]
    chosen: Counter[str] = Counter()
    for counts, most in whole:
        for piece, count in counts.most_common(most):
            if count >= 3:
                chosen[piece] += count
    total = sum(chosen.values()) or 1
    scores = {piece: math.log(count / total) for piece, count in chosen.items()}
    # Parts come last: a word that is whole in the vocabulary is never written from its parts.
    floor = min(scores.values(), default=0.0)
    for piece, score in _word_parts(words, size.parts):
        scores.setdefault(piece, floor + score)
    return _tokenizer(scores, plans)


def _words(phrases: Counter[str]) -> Counter[str]:
    """Words of the phrases in the form they are used in: ",bad", " anatomy"."""
    words: Counter[str] = Counter()
    for phrase, count in phrases.items():
        for word in re.findall(r"[ ,][^ ,]+", phrase):
            words[word] += count
    return words


def _word_parts(words: Counter[str], size: int) -> Iterator[tuple[str, float]]:
    """Pieces of words with their log-probability, single characters among them."""
    tokenizer = Tokenizer(models.Unigram())
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=[UNKNOWN], unk_token=UNKNOWN, show_progress=False)
    # Each word as often as its square root says: the parts serve rare words, not the frequent ones.
    texts = (word for word, count in sorted(words.items()) for _ in range(math.isqrt(count)))
    tokenizer.train_from_iterator(texts, trainer)
    pieces: list[tuple[str, float]] = _unigram_pieces(tokenizer)
    lowest = min((score for _, score in pieces), default=0.0)
    known = {piece for piece, _ in pieces}
    letters = {c for word, count in words.items() if count >= 3 for c in word} | {BOUNDARY, " "}
    yield from pieces
    yield from ((letter, lowest) for letter in sorted(letters - known))


def _unigram_pieces(tokenizer: Tokenizer) -> list[tuple[str, float]]:
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    return [(piece, score) for piece, score in vocabulary if piece != UNKNOWN]


def _tokenizer(scores: dict[str, float], plans: Sequence[int]) -> Tokenizer:
    lowest = min(scores.values(), default=0.0)
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    names = [*SPECIAL, *map(plan_piece, plans)]
    specials = [(name, lowest - 10.0) for name in names]
    tokenizer = Tokenizer(models.Unigram([*specials, *ranked], unk_id=SPECIAL.index(UNKNOWN)))
    tokenizer.add_special_tokens(names)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Replace(Regex(r" ?,[ ,]*"), BOUNDARY),
            normalizers.Replace(Regex(r"[ ,]+\z"), ""),
            normalizers.Replace(Regex(r"\A[ ,]*"), BOUNDARY),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(BOUNDARY, "merged_with_next")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Fuse(), decoders.Strip(BOUNDARY, 1, 0), decoders.Replace(BOUNDARY, BOUNDARY + " ")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, SPECIAL.index(END))]
    )
    return tokenizer
