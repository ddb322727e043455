"""Never negate what was asked for: which terms a prompt forbids in its negative prompt.

A term is forbidden when it negates something that the prompt asks for, not because the two share a
word: "detailed hands" leaves "bad hands" alone, "black and white sketch" rules out "monochrome". The
knowledge of what means the same is in `families.json`, which a reader can extend; this file only
applies it. Knows nothing of tokens or networks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

from .errors import OptionError
from .phrases import NOWHERE, Pattern, Said, Span, WordForms
from .prompt import Prompt
from .syntax import word_set
from .terms import is_embedding, singular, split_words, term_key, words_of

FAMILIES = Path(__file__).with_name("families.json")
GAP_IN_FAMILY = 2
GAP_IN_TERM = 1
READ = 64
"""Prompts of which is remembered what they forbid: the copies of a batch. A long one takes 50 KB."""
LONGEST_ASKED = 4
"""A negation of more words than this is a sentence, not a term that one could write."""

# What a term may end with without meaning another thing: "cartoon style", "blur effect".
_TRAILING = word_set("style styled effect image picture look element")


@dataclass(frozen=True)
class _Meaning:
    """What the guard knows of a term: its identity, its words, its families, those that forbid it."""

    key: str
    pattern: Pattern
    member_of: frozenset[str]
    forbidden_by: frozenset[str]


class Guard:
    """The table of families, ready to judge prompts. Nothing changes after `__init__`: safe for threads."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        """`table` is what a file such as `families.json` holds; a wrong shape raises `OptionError`."""
        self.forms = WordForms(_phrases(table, "own_words"))
        self._lists = _read_lists(table)
        # By joined words or, for single words, by form (with a "~" before it): the families.
        self._member: dict[str, set[str]] = {}
        self._forbidden: dict[str, set[str]] = {}
        self._leading: dict[str, set[str]] = {}
        self._kept: set[tuple[str, str]] = set()
        # By joined words the families a run of words asks for; by first form those a pattern asks for.
        self._run_asks: dict[str, set[str]] = {}
        self._pattern_asks: dict[str, list[tuple[str, Pattern]]] = {}
        self._unless: dict[str, list[Pattern]] = {}
        self._together: list[tuple[str, list[Pattern]]] = []
        families = table.get("families")
        if not isinstance(families, list):
            raise OptionError('"families" must be a list')
        for family in families:
            self._add_family(family)
        self.meaning = lru_cache(maxsize=65536)(self._meaning)
        self._conflicts = lru_cache(maxsize=READ)(partial(Conflicts, self))

    @classmethod
    def default(cls) -> Guard:
        """The guard of the file that comes with NegOpt; read once."""
        return _default_guard()

    @classmethod
    def from_file(cls, path: str | Path) -> Guard:
        """The guard of a file in the shape that `families.json` describes; `OptionError` names what is wrong."""
        try:
            table = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise OptionError(f"{path}: cannot be read ({error.strerror or error})") from error
        except ValueError as error:
            raise OptionError(f"{path}: is not JSON ({error})") from error
        if not isinstance(table, dict):
            raise OptionError(f'{path}: must be an object with "families"')
        try:
            return cls(table)
        except OptionError as error:
            raise OptionError(f"{path}: {error}") from error

    def conflicts(self, prompt: Prompt, avoid: Sequence[str] = ()) -> Conflicts:
        """What `prompt` forbids, and `avoid`: its terms, their inflections and their families."""
        return self._conflicts(prompt, tuple(avoid))

    def families_asked_for(self, said: Said) -> set[str]:
        """The families that some phrases ask for."""
        spans: dict[str, set[Span]] = {}
        for run in said.runs.keys() & self._run_asks.keys():
            for name in self._run_asks[run]:
                spans.setdefault(name, set()).update(said.runs[run])
        for form in said.places.keys() & self._pattern_asks.keys():
            for name, pattern in self._pattern_asks[form]:
                spans.setdefault(name, set()).update(said.find(pattern, GAP_IN_FAMILY))
        for name, patterns in self._together:
            if all(any(said.find(pattern, GAP_IN_FAMILY)) for pattern in patterns):
                spans.setdefault(name, set()).add(NOWHERE)
        return {name for name, found in spans.items() if not self.excused(said, found, (name,))}

    def excused(self, said: Said, spans: Iterable[Span], families: Iterable[str]) -> bool:
        """Whether all spans lie within phrases in which, says `unless`, nothing asks for the families."""
        patterns = [pattern for name in families for pattern in self._unless.get(name, ())]
        excuses = [span for pattern in patterns for span in said.find(pattern, GAP_IN_TERM)]
        return all(any(start <= first and last <= end for start, end in excuses) for first, last in spans)

    def _meaning(self, term: str) -> _Meaning:
        if is_embedding(term):
            return _Meaning(term_key(term), (), frozenset(), frozenset())
        words = words_of(term)
        while len(words) > 1 and words[-1] in _TRAILING:
            words.pop()
        keys = ["".join(words), term_key(term)]
        forms = [f"~{form}" for form in self.forms.of(words[0])] if len(words) == 1 else []
        member_of = {name for key in (*keys, *forms) for name in self._member.get(key, ())}
        forbidden_by = {name for key in (*keys, *forms) for name in self._forbidden.get(key, ())}
        for length in range(1, min(len(words), 4)):
            forbidden_by.update(self._leading.get("".join(words[:length]), ()))
        kept = {name for name in forbidden_by if any((name, key) in self._kept for key in keys)}
        return _Meaning(
            keys[1],
            self.forms.pattern(" ".join(words)),
            frozenset(member_of - kept),
            frozenset((member_of | forbidden_by) - kept),
        )

    def _add_family(self, family: Any) -> None:
        if not isinstance(family, dict) or not isinstance(family.get("name"), str):
            raise OptionError('each of "families" must be an object with a "name"')
        name = family["name"]
        if unknown := family.keys() - _FIELDS:
            raise OptionError(f'family "{name}": unknown "{sorted(unknown)[0]}"; known: {", ".join(sorted(_FIELDS))}')
        leading, members = _phrases(family, "leading"), _phrases(family, "members")
        for phrase in (*leading, *members):
            self._add_term(self._member, name, phrase)
        for phrase in _phrases(family, "also"):
            self._add_term(self._forbidden, name, phrase)
        for phrase in leading:
            self._leading.setdefault("".join(words_of(phrase)), set()).add(name)
        for phrase in (*leading, *members, *_phrases(family, "triggers")):
            self._add_trigger(name, phrase)
        self._unless[name] = [self._pattern(phrase, name) for phrase in _phrases(family, "unless")]
        self._kept |= {(name, term_key(phrase)) for phrase in _phrases(family, "keep")}
        for together in family.get("together", []):
            phrases = _phrases({"together": together}, "together")
            self._together.append((name, [self._pattern(phrase, name) for phrase in phrases]))

    def _add_term(self, index: dict[str, set[str]], name: str, phrase: str) -> None:
        for words in product(*self._words(phrase, name)):
            index.setdefault("".join(map(singular, words)), set()).add(name)
            if len(words) == 1:
                for form in self.forms.of(words[0]):
                    index.setdefault(f"~{form}", set()).add(name)

    def _add_trigger(self, name: str, phrase: str) -> None:
        if "<" not in phrase and "=" not in phrase:
            self._run_asks.setdefault("".join(words_of(phrase)), set()).add(name)
        pattern = self._pattern(phrase, name)
        for form in pattern[0]:
            self._pattern_asks.setdefault(form, []).append((name, pattern))

    def _pattern(self, phrase: str, name: str) -> Pattern:
        words = [word for word in self._words(phrase, name) if word not in _ARTICLE_SLOTS]
        return tuple(
            self.forms.of(choices[0]) if len(choices) == 1 else frozenset().union(*map(self.forms.of, choices))
            for choices in words
        )

    def _words(self, phrase: str, family: str) -> list[tuple[str, ...]]:
        """A phrase of the table, for each word its choices: one, or those of a `<list>`."""
        words: list[tuple[str, ...]] = []
        for part in phrase.split() if "<" in phrase or "=" in phrase else [phrase]:
            if part.startswith("<") and part.endswith(">"):
                if part[1:-1] not in self._lists:
                    raise OptionError(f'family "{family}": "lists" has no {part}')
                words.append(self._lists[part[1:-1]])
            elif part.startswith("="):
                words.append((part,))
            else:
                words += [(word,) for word in split_words(part)]
        if not words:
            raise OptionError(f'family "{family}": "{phrase}" has no word in it')
        return words


_ARTICLE_SLOTS = (("a",), ("an",), ("the",))
_FIELDS = {"name", "comment", "members", "triggers", "also", "leading", "unless", "keep", "together"}


class Conflicts:
    """What one prompt, and what its artist wants to avoid, forbid in a negative prompt."""

    def __init__(self, guard: Guard, prompt: Prompt, avoid: Sequence[str]) -> None:
        self.guard = guard
        self.said = Said(prompt.wanted, guard.forms)
        denied = [phrase for phrase in prompt.unwanted if len(phrase.split()) <= LONGEST_ASKED]
        for phrase in denied:  # "no arms" asks for what "missing arms" would negate
            for word in ("no", "without", "missing"):
                self.said.runs.setdefault(f"{word}{term_key(phrase)}", []).append(NOWHERE)
        avoided = [guard.meaning(term) for term in avoid]
        self.avoided_keys = frozenset(meaning.key for meaning in avoided)
        self.avoided_families = frozenset().union(*(meaning.member_of for meaning in avoided))
        self.avoided_patterns = [meaning.pattern for meaning in avoided if meaning.pattern]
        asked = {term_key(phrase): phrase for phrase in denied if not self._is_avoided(guard.meaning(phrase))}
        self.asked_keys = frozenset(asked)
        self.asked = tuple(asked.values())
        """Terms that the prompt's own negation asks for: "no text" asks for "text"."""
        self._denied = frozenset(name for phrase in denied for name in guard.meaning(phrase).member_of)
        self.families = frozenset(guard.families_asked_for(self.said) - self._denied)

    def forbids(self, term: str) -> bool:
        """Whether `term` must not be written."""
        meaning = self.guard.meaning(term)
        if self._is_avoided(meaning):
            return True
        if meaning.key in self.asked_keys or not meaning.pattern:
            return False
        if self._denied.isdisjoint(meaning.member_of) and not self.families.isdisjoint(meaning.forbidden_by):
            return True
        return self._asks_for(meaning)

    def _is_avoided(self, meaning: _Meaning) -> bool:
        if meaning.key in self.avoided_keys or not self.avoided_families.isdisjoint(meaning.member_of):
            return True
        return any(
            len(pattern) == len(meaning.pattern) and not any(map(frozenset.isdisjoint, pattern, meaning.pattern))
            for pattern in self.avoided_patterns
        )

    def _asks_for(self, meaning: _Meaning) -> bool:
        """Whether the prompt says the term itself, perhaps inflected, or with a word in between."""
        spans = {*self.said.runs.get(meaning.key, ()), *self.said.find(meaning.pattern, GAP_IN_TERM)}
        return bool(spans) and not self.guard.excused(self.said, spans, meaning.member_of)


class TermIndex:
    """Finds the forbidden ones among many terms at once, without looking at each."""

    def __init__(self, terms: Sequence[str], guard: Guard | None = None) -> None:
        """`terms`: a vocabulary, which is kept. `guard`: the one whose `Conflicts` will come."""
        self._terms = list(terms)
        self._guard = guard or Guard.default()
        meanings = [self._guard.meaning(term) for term in self._terms]
        uses: dict[str, int] = {}
        for meaning in meanings:
            for forms in meaning.pattern:
                for form in forms:
                    uses[form] = uses.get(form, 0) + 1
        self._by: dict[str, list[int]] = {}
        for position, meaning in enumerate(meanings):
            clues = {f"={meaning.key}", *(f"<{name}" for name in meaning.forbidden_by)}
            if meaning.pattern:  # the word that is rarest among the terms tells most
                clues |= min(meaning.pattern, key=lambda forms: sum(uses[form] for form in forms))
            for clue in clues:
                self._by.setdefault(clue, []).append(position)

    def forbidden(self, conflicts: Conflicts) -> list[int]:
        """The positions of all terms for which `conflicts.forbids` is true, in order."""
        if conflicts.guard is not self._guard:
            return [i for i, term in enumerate(self._terms) if conflicts.forbids(term)]
        clues = {f"={run}" for run in conflicts.said.runs}
        clues.update(f"={key}" for key in conflicts.avoided_keys)
        clues.update(f"<{name}" for name in conflicts.families | conflicts.avoided_families)
        clues.update(form for pattern in conflicts.avoided_patterns for forms in pattern for form in forms)
        clues.update(conflicts.said.places)
        candidates = {position for clue in clues & self._by.keys() for position in self._by[clue]}
        return [position for position in sorted(candidates) if conflicts.forbids(self._terms[position])]


@lru_cache(maxsize=1)
def _default_guard() -> Guard:
    return Guard.from_file(FAMILIES)


def _read_lists(table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The word lists by name; a list may name earlier ones."""
    lists: dict[str, tuple[str, ...]] = {}
    entries = table.get("lists", {})
    if not isinstance(entries, dict):
        raise OptionError('"lists" must be an object')
    for name in entries:
        words: list[str] = []
        for word in _phrases(entries, name):
            if word.startswith("<"):
                if word[1:-1] not in lists:
                    raise OptionError(f'list "{name}": there is no list {word} before it')
                words += lists[word[1:-1]]
            elif len(split_words(word)) == 1:
                words.append(word)
            else:
                raise OptionError(f'list "{name}": "{word}" must be one word')
        lists[name] = tuple(words)
    return lists


def _phrases(table: Mapping[str, Any], field: str) -> list[str]:
    """The comma-separated phrases of a field: text, or a list of texts."""
    value = table.get(field, [])
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise OptionError(f'"{field}" must be text, or a list of texts')
    return [phrase.strip() for text in texts for phrase in text.split(",") if phrase.strip()]
