"""Whether a text says something: words, their inflections, and phrases with a little room between.

Knows nothing of prompts or families; `guard.py` asks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from .syntax import word_set
from .terms import singular, split_words

Forms = frozenset[str]
"""The forms under which a word is found: `blurry` also as `blur`; two words match when they share one."""
Pattern = tuple[Forms, ...]
"""A phrase: for each of its words the forms that will do."""
Span = tuple[int, int]

LONGEST_RUN = 4
MOST_PLACES = 64
"""A form is looked at where it stands first, and not more often than this, so that no text is slow."""

ARTICLES = word_set("a an the")
# Words that no gap in a phrase may contain: what stands behind them belongs to something else.
_BARRIERS = word_set(
    """and or nor but with without of in on at by for from to into onto over under behind near while as is are was
    wearing holding no not her his their its who that which
    armed headed legged eyed fingered tailed winged horned handed faced"""
)
_NUMBERS = {
    word: number
    for number, word in enumerate(
        """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty""".split()
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}


class WordForms:
    """Finds a word's forms; `own_words` are the words that are nobody's inflection."""

    def __init__(self, own_words: Iterable[str] = ()) -> None:
        self._own = frozenset(own_words)
        self.of: Callable[[str], Forms] = lru_cache(maxsize=65536)(self._forms)

    def _forms(self, word: str) -> Forms:
        """`blurred`: blurred, blur; `smoking`: smoking, smok, smoke; `=girls`: as it stands."""
        if word.startswith("="):
            return frozenset((word,))
        word = singular(word)
        forms = {word}
        if word not in self._own:
            for ending in ("ed", "ing", "y", "ish"):
                stem = word.removesuffix(ending)
                if stem != word and len(stem) >= 3:
                    forms |= {stem, stem + "e"}
                    if stem[-1] == stem[-2] and len(stem) > 3:
                        forms.add(stem[:-1])
        return frozenset(forms - self._own) | {word}

    def pattern(self, phrase: str) -> Pattern:
        return tuple(self.of(word) for word in split_words(phrase) if word not in ARTICLES)


class Said:
    """What some phrases say, indexed; a match never crosses from one phrase to the next."""

    def __init__(self, phrases: Iterable[str], forms: WordForms) -> None:
        self.runs: dict[str, list[Span]] = {}
        """Up to `LONGEST_RUN` neighbouring words written as one (`closeup`), and where they stand."""
        self.places: dict[str, list[int]] = {}
        """Where each form stands."""
        self._words: list[Forms] = []
        for phrase in phrases:
            self._add([word for word in _with_ages(split_words(phrase)) if word not in ARTICLES], forms)

    def _add(self, words: list[str], forms: WordForms) -> None:
        start = len(self._words)
        singulars = [singular(word) for word in words]
        for index, word in enumerate(words):
            place = start + index
            found = forms.of(word)
            self._words.append(found)
            for form in (*found, "=" + word):
                places = self.places.setdefault(form, [])
                if len(places) < MOST_PLACES:
                    places.append(place)
            run = ""
            for length in range(min(LONGEST_RUN, len(words) - index)):
                run += singulars[index + length]
                spans = self.runs.setdefault(run, [])
                if len(spans) < MOST_PLACES:
                    spans.append((place, place + length))
        self._words.append(_END)

    def find(self, pattern: Pattern, gap: int) -> Iterator[Span]:
        """Where the pattern's words follow each other with at most `gap` other words in between."""
        for place in sorted({place for form in pattern[0] for place in self.places.get(form, ())}):
            end = place
            for forms in pattern[1:]:
                following = self._next(end, forms, gap)
                if following is None:
                    break
                end = following
            else:
                yield place, end

    def _next(self, place: int, forms: Forms, gap: int) -> int | None:
        for step in range(place + 1, place + gap + 2):
            word = self._words[step]
            if not forms.isdisjoint(word):
                return step
            if word is _END or not word.isdisjoint(_BARRIERS):
                return None
        return None


NOWHERE: Span = (-1, -1)
"""The place of what is said without standing in any phrase."""
_END: Forms = frozenset(("",))


def _with_ages(words: list[str]) -> list[str]:
    """Ages as a word for the age: 70 year old, 70yo -> ageold."""
    if not any(word in _AGE_WORDS or word.endswith("yo") for word in words):
        return words
    result: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        unit = words[index + 1 : index + 3]
        if word.endswith("yo") and word[:-2].isdecimal():
            result.append(_age_group(int(word[:-2][:4])))
            index += 1
        elif (years := _number(word)) is not None and unit[:1] == ["yo"]:
            result.append(_age_group(years))
            index += 2
        elif years is not None and unit in (["years", "old"], ["year", "old"], ["y", "o"]):
            result.append(_age_group(years))
            index += 3
        else:
            result.append(word)
            index += 1
    return result


_AGE_WORDS = word_set("year years yo y")


def _number(word: str) -> int | None:
    return int(word[:4]) if word.isdecimal() else _NUMBERS.get(word)


def _age_group(years: int) -> str:
    return "agechild" if years < 13 else "ageteen" if years < 20 else "ageadult" if years < 55 else "ageold"
