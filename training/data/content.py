"""What stays out of the data: explicit, hateful, and anything sexual about minors.

The words are in `content_words.json`; this file only compares. A word list is blunt by nature: it keeps
a data set decent, it is no judge of a picture.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources

_WORDS = re.compile(r"[^\W_]+")
_AGE = re.compile(r"\b(?:[1-9]|1[0-7])(?: years?| yrs?| ?yo| y o)(?: old)?\b")


class ContentFilter:
    """The questions that cleaning asks. Texts may come in any case and with any punctuation."""

    def __init__(self, lists: dict) -> None:
        self._allowed = {word: name for name, words in lists["allowed"].items() for word in words}
        self._explicit = _any_of(lists["explicit"], lists["explicit_parts"])
        self._intimate = _any_of(lists["intimate"])
        self._suggestive = _any_of([*lists["intimate"], *lists["suggestive"]])
        self._minors = _any_of(lists["minors"])
        self._never = _any_of(lists["minors_explicit"])
        self._hateful = _any_of(lists["hateful"])
        self._groups = _any_of(lists["groups"])
        self._people = _any_of(lists["people"])
        self._hashed = frozenset(lists["hateful_sha256"])
        self.clean_term = lru_cache(65_536)(self._clean_term)
        self._is_slur = lru_cache(65_536)(self._hashed_word)

    def reason_against(self, wanted: str, negative_terms: Iterable[str]) -> str | None:
        """Why the whole pair has to go, or None. `wanted` is what the prompt asks for, in words."""
        text = _plain(wanted)
        about_minors = bool(self._minors.search(text) or _AGE.search(text))
        explicit = bool(self._explicit.search(text))
        if self._never.search(text) or (about_minors and (explicit or self._suggestive.search(text))):
            return "sexual content about minors"
        if explicit:
            return "explicit prompt"
        if self._is_hateful(text):
            return "hateful prompt"
        if any(self._minors.search(term) and self._explicit.search(term) for term in map(_plain, negative_terms)):
            return "sexual content about minors"
        return None

    def is_against_people(self, term: str) -> bool:
        """Whether a negative's term names a group of people and nothing else: `asian`, `dark skinned woman`."""
        text = _plain(term)
        rest = self._groups.sub("", text)
        return rest != text and not self._people.sub("", rest).strip()

    def _clean_term(self, term: str) -> str | None:
        """The term as it may be written: itself, `nsfw` or `nude` in place of their variants, or None."""
        text = _plain(term)
        if text in self._allowed:
            return self._allowed[text]
        if any(p.search(text) for p in (self._explicit, self._intimate, self._never)) or self._is_hateful(text):
            return None
        return term

    def _is_hateful(self, text: str) -> bool:
        return bool(self._hateful.search(text)) or any(map(self._is_slur, text.split()))

    def _hashed_word(self, word: str) -> bool:
        return hashlib.sha256(word.encode()).hexdigest()[:16] in self._hashed


@lru_cache(1)
def default_filter() -> ContentFilter:
    """The filter with the lists that come with this package."""
    text = (resources.files(__package__) / "content_words.json").read_text("utf-8")
    return ContentFilter(json.loads(text))


def _plain(text: str) -> str:
    return " ".join(_WORDS.findall(unicodedata.normalize("NFKC", text).lower()))


def _any_of(words: Iterable[str], parts: Iterable[str] = ()) -> re.Pattern[str]:
    """Matches any of `words` as a whole, with or without a plural s, and any of `parts` anywhere."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("|".join([r"\b(?:" + "|".join(map(re.escape, longest_first)) + r")s?\b", *parts]))
