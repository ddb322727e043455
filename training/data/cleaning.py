"""From a pair as written to a row of the data set, or to the reason why it is dropped.

One pair at a time: the prompt language is `negopt.prompt`'s, the terms are `negopt.terms`', what is
indecent is `content`'s. Knows nothing of other rows; what repeats is `dedup`'s business.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from negopt.prompt import Prompt, read_prompt
from negopt.terms import Term, is_embedding, split_terms, term_key, unique_terms

from .content import ContentFilter, default_filter
from .pairs import RawPair, page_id
from .readers.infotext import split_infotext, without_settings

LONGEST_PROMPT = 6000
"""Characters; longer ones are texts pasted by mistake."""
MOST_WORDS = 500
"""Words of a prompt."""
MOST_TERMS = 150
"""Terms of a negative: beyond it are dumps of word lists."""
LONGEST_TERM = 60
"""Characters of a term; longer ones are sentences, which a list of terms cannot learn from."""
MOST_TERM_WORDS = 7
COPIED = 0.5
"""From this part of its terms on a negative that also stands in the prompt was copied or swapped."""

# Where a style says "your prompt here": A1111 and Fooocus `{prompt}`, AI Horde `{p}` and `{np}`.
_PLACEHOLDER = re.compile(r"\{(?:prompt|p|np|negative|negative_prompt)\}|\[prompt\]|###.*", re.IGNORECASE | re.DOTALL)
_LABEL = re.compile(r"^\W*negative[ _]?prompts?\b[\s:,.=]*", re.IGNORECASE)
# What Lumina's kin are told before the prompt, either side (ComfyUI's CLIPTextEncodeLumina2 writes it so).
_SYSTEM_PROMPT = re.compile(r"^\s*You are an assistant\b[^<]{0,1000}<Prompt Start>\s*")
_EMPTY_FRAGMENT = re.compile(r"(?:^|(?<=[,.]))\s*[,.](?=\s|$)")
# What is no term: a word left alone by the name of an embedding, or such a name taken apart into words.
_REMNANT = re.compile(
    r"(?:and|or|the|an?|of|by|with|in|on|at|to|for|from|is|not|no|negs?|negatives?|(?:\w+ )?negative prompts?|prompts?"
    r"|seed|sampler|steps|cfg(?: scale)?|by by|by (?:an? )?bad artists?(?: anime)?|.*\b\d+ vecs)"
    r"|.*\b(?:bad (?:image|prompt|artist|hands?|quality|dream)|deep ?negative|negative) v ?\d.*"
    r"|.*\bv ?\d[\d.]* ?t?|v\d.*|.*\d{5,}"
)
# A weight whose colon or bracket the author forgot: "signature 1.2", "black lines0.9", "(worst quality 1.4)".
_WEIGHT_LEFT = re.compile(r"\s*\d?\.\d+\)*$")
_WRITTEN_BY_MODEL = re.compile(
    r"\bas an ai\b|\blanguage model\b|^(?:sure|certainly|of course)[,!]"
    r"|^here(?:'s| is| are) (?:a|an|the|your|some)\b"
    r"|\bi(?:'m sorry, but| cannot (?:create|generate|fulfil|provide))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class CleanPair:
    """One row, ready for the store. `prompt` .. `licence` are the published columns of those names.

    `pair_key` and `negative_key` are signed 64-bit hashes of what the row says in a normal form; `prompt_set`
    and `term_set` are sorted uint32 hashes of the prompt's words and word pairs and of the terms.
    """

    prompt: str
    text: str
    terms: list[str]
    embeddings: list[str]
    weights: list[float]
    page: str
    kind: str
    source: str
    licence: str
    pair_key: int
    negative_key: int
    prompt_set: bytes
    term_set: bytes


class Cleaner:
    """Cleans pairs and counts. `dropped` counts pairs by reason, `changed` terms by what was done to them."""

    def __init__(self, keep_model_written: bool = False, content: ContentFilter | None = None) -> None:
        self.keep_model_written = keep_model_written
        self.content = content or default_filter()
        self.read = 0
        self.dropped: Counter[str] = Counter()
        self.changed: Counter[str] = Counter()

    def clean(self, raw: RawPair) -> CleanPair | None:
        """The row that `raw` becomes, or None; then the reason is counted in `dropped`."""
        self.read += 1
        result = self._clean(raw)
        if isinstance(result, str):
            self.dropped[result] += 1
            return None
        return result

    def _clean(self, raw: RawPair) -> CleanPair | str:
        written, negative = repair(raw.prompt, raw.negative)
        if not self.keep_model_written and (raw.model_written or _WRITTEN_BY_MODEL.search(written)):
            return "written by a language model"
        if not negative.strip():
            return "no negative prompt"
        if len(written) > LONGEST_PROMPT or len(negative) > LONGEST_PROMPT:
            return "too long"
        prompt = read_prompt(written)
        if not any(map(str.isalpha, prompt.text)):
            return "no words in the prompt"
        if len(prompt.text.split()) > MOST_WORDS:
            return "too long"
        all_terms = unique_terms(split_terms(negative))
        against = self.content.reason_against(_asked_for(prompt), [term.text for term in all_terms])
        if against:
            return against
        embeddings = [term.text for term in all_terms if is_embedding(term.text)]
        terms = self._usable(term for term in all_terms if not is_embedding(term.text))
        self.changed["embeddings set aside"] += len(embeddings)
        if not terms:
            return "only embeddings in the negative" if embeddings else "no usable term in the negative"
        if len(terms) > MOST_TERMS:
            return "too long"
        if _is_copy(prompt, terms):
            return "negative repeats the prompt"
        return _row(raw, written, prompt, terms, embeddings)

    def _usable(self, terms: Iterable[Term]) -> list[Term]:
        kept: list[Term] = []
        for term in terms:
            text = _WEIGHT_LEFT.sub("", term.text).strip(" ()") if term.text[-1] in "0123456789)" else term.text
            if not _says_something(text):
                self.changed["remnants among the terms dropped"] += 1
                continue
            if self.content.is_against_people(text):
                self.changed["terms against groups of people dropped"] += 1
                continue
            decent = self.content.clean_term(text)
            if decent is None:
                self.changed["indecent terms dropped"] += 1
                continue
            if len(decent) > LONGEST_TERM or len(decent.split()) > MOST_TERM_WORDS:
                self.changed["sentences among the terms dropped"] += 1
                continue
            if decent != text:
                self.changed["terms rewritten as nsfw or nude"] += 1
            kept.append(Term(decent, term.weight))
        return unique_terms(kept)


def repair(prompt: str, negative: str) -> tuple[str, str]:
    """Prompt and negative without what copying left in them.

    HTML entities, generation settings at the end, a negative prompt at the end of the prompt's field, the
    places where a style wants the artist's prompt, instructions to a text encoder before it.
    """
    if "&" in prompt or "&" in negative:
        prompt, negative = html.unescape(prompt), html.unescape(negative)
    if "<Prompt Start>" in prompt or "<Prompt Start>" in negative:
        prompt, negative = _SYSTEM_PROMPT.sub("", prompt), _SYSTEM_PROMPT.sub("", negative)
    parts = split_infotext(prompt)
    if parts is not None:
        prompt, negative = parts[0], negative or parts[1]
    prompt, negative = without_settings(prompt), _LABEL.sub("", without_settings(negative))
    if "{" in prompt or "[" in prompt or "#" in prompt:
        prompt = _without_placeholder(prompt)
    if "{" in negative or "[" in negative:
        negative = _without_placeholder(negative)
    return prompt.strip(), negative.strip()


def _says_something(term: str) -> bool:
    """Whether a term can tell a picture anything: the text encoders read the Latin alphabet alone."""
    return bool(re.search(r"[a-z]", term, re.IGNORECASE)) and not _REMNANT.fullmatch(term.lower())


def _without_placeholder(text: str) -> str:
    bare = _PLACEHOLDER.sub(" ", text)
    if bare == text:
        return text
    tidy = re.sub(r"[ \t]+([,.])", r"\1", re.sub(r"[ \t]{2,}", " ", bare))
    return _EMPTY_FRAGMENT.sub("", tidy).strip(" ,.\t\n")


def _asked_for(prompt: Prompt) -> str:
    """The prompt's words without what it negates itself: `no nudity` does not ask for nudity."""
    return ", ".join(prompt.wanted) if prompt.unwanted else prompt.text


def _is_copy(prompt: Prompt, terms: list[Term]) -> bool:
    if len(terms) < 4:
        return False
    fragments = {term_key(fragment) for fragment in prompt.text.split(", ")}
    return sum(term_key(term.text) in fragments for term in terms) >= COPIED * len(terms)


def _row(raw: RawPair, written: str, prompt: Prompt, terms: list[Term], embeddings: list[str]) -> CleanPair:
    keys = sorted(term_key(term.text) for term in terms)
    words = re.findall(r"\w+", prompt.text)
    pairs_of_words = map(" ".join, pairwise(words))
    negative_key = _signed64("\x1f".join(keys))
    return CleanPair(
        prompt=written,
        text=prompt.text,
        terms=[term.text for term in terms],
        embeddings=embeddings,
        weights=[round(float(term.weight), 3) for term in terms],
        # Where the source names no author, rows that share a negative are taken for one page.
        page=raw.page or page_id("negative", *keys),
        kind=raw.kind,
        source=raw.source,
        licence=raw.licence,
        pair_key=_signed64(" ".join(words) + "\x1e" + "\x1f".join(keys)),
        negative_key=negative_key,
        prompt_set=_hash_set([*words, *pairs_of_words]),
        term_set=_hash_set([f"-{key}" for key in keys]),
    )


def _signed64(text: str) -> int:
    return int.from_bytes(_digest(text, 8), "big", signed=True)


def _hash_set(texts: list[str]) -> bytes:
    return np.unique(np.array([_hash32(text) for text in texts], dtype=np.uint32)).tobytes()


@lru_cache(1 << 16)
def _hash32(text: str) -> int:
    return int.from_bytes(_digest(text, 4), "big")


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
