"""CLIP token counts: exact against transformers' CLIPTokenizer, and an estimate that is never too low."""

from __future__ import annotations

import gzip
import json
import random
import time
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import pytest

from negopt.clip_tokens import _SYMBOLS, END, ClipTokenCounter, _words, estimate_tokens
from negopt.errors import ModelError

WORDS = """worst low normal quality bad anatomy hands poorly drawn face extra missing fused fingers deformed disfigured
mutated blurry lowres text error cropped jpeg artifacts signature watermark username artist name monochrome grayscale
disconnected malformed limbs ugly duplicate morbid mutilated out of frame gross proportions cloned long neck it's
l'art naïve café мир 画像 don't we'll""".split()

TEXTS = [
    "",
    " ",
    "worst quality, (low quality:1.4), lowres",
    "bad_anatomy, jpeg artifacts!!! ... [[text]], ((((a)))), b&w, 3d, 2.5d, 100%",
    "it's don't we'll I'D they've 'tis ''",
    "Ünïcödé naïve café, e\u0301, ﬁ, ½ ² Ⅷ １２３ ٣",
    "日本語のテキスト, 画像, мир и война, مرحبا, สวัสดี",
    "🐱 cat 👩‍👩‍👧 🏳️‍🌈 ★☆",
    "a  b\t\tc\nd\u00a0e\u3000f",
    "x" * 60,
    "deformedmutatedlowres" * 3,
    "\\(style\\), <tag>, {a|b}",
]


@lru_cache(maxsize=1)
def small_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte-pair vocabulary in CLIP's layout, trained on `WORDS` the plain way."""
    counts = Counter({(*_bytes(word)[:-1], _bytes(word)[-1] + END): 100 - i for i, word in enumerate(WORDS)})
    merges: list[tuple[str, str]] = []
    for _ in range(150):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in counts.items():
            for pair in pairwise(word):
                pairs[pair] += count
        best = max(sorted(pairs), key=lambda pair: pairs[pair])
        merges.append(best)
        counts = Counter({_merged(word, best): count for word, count in counts.items()})
    base = sorted(_SYMBOLS)
    pieces = [*base, *(symbol + END for symbol in base), *dict.fromkeys(map("".join, merges))]
    return {piece: i for i, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}, merges


def _bytes(word: str) -> list[str]:
    return [_SYMBOLS[byte] for byte in word.encode()]


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    joined: list[str] = []
    for symbol in word:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return tuple(joined)


def random_texts(number: int) -> list[str]:
    chooser = random.Random(7)
    letters = "aabcdeeefghiilmnoorstuy"
    texts = []
    for _ in range(number):
        words = [
            chooser.choice(WORDS)
            if chooser.random() < 0.7
            else "".join(chooser.choices(letters, k=chooser.randint(1, 12)))
            for _ in range(chooser.randint(1, 20))
        ]
        texts.append("".join(word + chooser.choice([" ", ", ", ")", " (", ":1.2), ", "-", "'s "]) for word in words))
    return texts


def test_exact_against_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    vocabulary, merges = small_vocabulary()
    tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=merges)
    counter = ClipTokenCounter(vocabulary, merges)
    for text in [*TEXTS, *random_texts(300), "<|endoftext|> a <|startoftext|>"]:
        expected = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        assert counter.count(text) == expected, text


def test_the_order_of_the_vocabulary_stands_in_for_merges() -> None:
    vocabulary, merges = small_vocabulary()
    with_merges, without = ClipTokenCounter(vocabulary, merges), ClipTokenCounter(vocabulary)
    texts = [*TEXTS, *random_texts(300)]
    assert [without.count(text) for text in texts] == [with_merges.count(text) for text in texts]


def test_reads_every_layout_of_files(tmp_path: Path) -> None:
    vocabulary, merges = small_vocabulary()
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "bpe.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    expected = [ClipTokenCounter(vocabulary, merges).count(text) for text in TEXTS]
    for counter in (
        ClipTokenCounter.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt"),
        ClipTokenCounter.from_files(tmp_path / "vocab.json"),
        ClipTokenCounter.from_bpe_file(tmp_path / "bpe.txt.gz"),
        ClipTokenCounter.from_bpe_file(tmp_path / "merges.txt"),
        ClipTokenCounter(vocabulary, [" ".join(pair) for pair in merges]),
    ):
        assert [counter.count(text) for text in TEXTS] == expected


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\x1f\x8bnot gzip", b"\xff\xfe\x00"])
def test_a_bad_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad_vocab"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="bad_vocab"):
        ClipTokenCounter.from_files(path)
    with pytest.raises(ModelError, match="bad_vocab"):
        ClipTokenCounter.from_bpe_file(path)


def test_counting_is_linear() -> None:
    counter = ClipTokenCounter(*small_vocabulary())
    chooser = random.Random(1)
    word = "".join(chooser.choices("abcdefghijklmnopqrstuvwxyz", k=20000))
    started = time.process_time()
    for text in (word, "(" * 20000, "ﷺ" * 3000, "\ud800" * 3000, "word, " * 10000):
        assert counter.count(text) > 0
        assert estimate_tokens(text) > 0
    assert time.process_time() - started < 3


# Counted with the vocabulary of openai/CLIP, which is not part of this repository.
REAL_COUNTS = {
    "worst quality, low quality, normal quality": 8,
    "lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, cropped": 23,
    "jpeg artifacts, signature, watermark, username, blurry": 12,
    "deformed, distorted, disfigured, poorly drawn, bad anatomy, wrong anatomy, extra limb": 20,
    "(worst quality:1.4), (low quality:1.2)": 16,
    "monochrome, grayscale, b&w, sepia": 11,
    "mutated hands and fingers, disconnected limbs, malformed limbs": 13,
    "3d, cgi, 2girls, 1.5": 11,
}


def test_estimate_on_real_negatives() -> None:
    for text, real in REAL_COUNTS.items():
        assert real <= estimate_tokens(text) <= real * 1.25 + 1, text


def test_estimate_bounds_strange_words() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("xqzt") == 4
    assert estimate_tokens("画像") == 6
    assert estimate_tokens("!?#") == 3


def test_words_of_clip() -> None:
    assert _words("It's 1.4x, naïve!") == ["it", "'s", "1", ".", "4", "x", ",", "naïve", "!"]
