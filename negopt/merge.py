"""Several negative prompts as one: no term twice, none that negates what the prompt asks for.

Needs no network; the same guard that keeps the generator from negating the prompt reads what people or
other tools wrote.
"""

from __future__ import annotations

from dataclasses import dataclass

from .guard import Guard
from .prompt import read_prompt
from .terms import Term, format_terms, split_terms, term_key


@dataclass(frozen=True)
class Merged:
    """The union of some negative prompts: `text` as the hosts read it, and what became of each term."""

    text: str
    terms: tuple[Term, ...]
    conflicting: tuple[str, ...]
    """Terms left out because the prompt asks for them, or because they are to be avoided."""
    repeated: tuple[str, ...]
    """Terms left out because they stood there already, perhaps in another spelling."""


def merge(prompt: str, *negatives: str, avoid: str = "") -> Merged:
    """The union of `negatives` in order; of a repeated term the first stays, with its weight.

    `avoid`: terms, separated by commas, that are left out with their variants. Never raises.
    """
    conflicts = Guard.default().conflicts(read_prompt(prompt), [term.text for term in split_terms(avoid)])
    kept: dict[str, Term] = {}
    conflicting: list[str] = []
    repeated: list[str] = []
    for term in (term for negative in negatives for term in split_terms(negative)):
        key = term_key(term.text)
        if conflicts.forbids(term.text):
            conflicting.append(term.text)
        elif key in kept:
            repeated.append(term.text)
        else:
            kept[key] = term
    terms = tuple(kept.values())
    return Merged(format_terms(terms), terms, tuple(dict.fromkeys(conflicting)), tuple(repeated))
