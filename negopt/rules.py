"""What one negative prompt may contain, in terms: none that is forbidden, none twice, no more than fit.

`TermRule` is the `decoding.Rule` of the generator; `Vocabulary` knows what each token means to it. Knows
nothing of how the network works.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .decoding import Decoded
from .guard import Conflicts, Guard, TermIndex
from .model_files import Settings
from .network import T5, T5Config
from .options import Options
from .terms import Term, is_embedding, term_key
from .tokenizer import BOUNDARY, TermTokenizer

CountTokens = Callable[[str], int]


@dataclass(frozen=True)
class Task:
    """One prompt with its options, read and ready to be written for."""

    prompt: str
    options: Options
    kept: tuple[Term, ...]
    asked: tuple[Term, ...]
    conflicts: Conflicts
    prefix: list[int]
    least: int
    """How many terms the plan wants from the model before the list may end."""
    most: int
    """How many terms the model may write."""
    shares: tuple[float, ...] = ()
    """What each metric counts, for a model with preferences."""


class TermRule:
    """What one sequence may contain, in terms: none that is forbidden, none twice, no more than fit.

    A term that is one token is forbidden by its token, so its probability goes to other terms. One
    that is spelled from pieces is known only when it is complete; it is then left out.
    """

    def __init__(
        self, vocabulary: Vocabulary, task: Task, count: CountTokens, spelled: Callable[[str], str | None]
    ) -> None:
        self.written: list[tuple[str, float]] = []
        """Accepted terms with their probabilities; filled in by `finish`."""
        self._vocabulary, self._task, self._count, self._spelled = vocabulary, task, count, spelled
        self._seen = {term_key(term.text) for term in (*task.kept, *task.asked)}
        self._tokens_left = self._room()
        self._accepted: list[tuple[str, slice]] = []
        self._text, self._start, self._position = "", 0, 0
        self._bias = torch.empty(0)

    def begin(self, bias: torch.Tensor) -> None:
        self._bias = bias
        bias += self._vocabulary.bias(self._task.options.embeddings)
        bias[self._vocabulary.forbidden(self._task.conflicts)] = -math.inf
        bias[[token for key in self._seen for token in self._vocabulary.tokens_of(key)]] = -math.inf
        if self._task.least > 0:
            bias[self._vocabulary.end] = -math.inf

    def advance(self, token: int) -> bool:
        self._position += 1
        if token == self._vocabulary.end:
            self._complete(self._position - 1)
            return False
        return self._append(token)

    def finish(self, sequence: Decoded) -> None:
        """Take over the probabilities of what was written, and the last term if it was cut off there."""
        self._complete(len(sequence.tokens))
        for text, span in self._accepted:
            self.written.append((text, math.exp(min(0.0, sum(sequence.log_probs[span])))))

    def _append(self, token: int) -> bool:
        """Add a token's text; False when the list is full."""
        piece = self._vocabulary.pieces[token]
        before, boundary, after = piece.partition(BOUNDARY)
        if not boundary:
            self._text += piece
            return True
        self._text += before
        self._complete(self._position - 1)
        self._text, self._start = after, self._position - 1
        for variant in self._vocabulary.variants_of(token):
            self._bias[variant] = -math.inf
        if len(self._accepted) + 1 >= self._task.least:
            self._bias[self._vocabulary.end] = 0.0
        return len(self._accepted) < self._task.most and self._tokens_left > 0

    def _complete(self, end: int) -> None:
        """The term begun last is whole: accept it, unless it is forbidden, known or too long."""
        text, self._text = self._text.strip(), ""
        key = term_key(text)
        if not key or key in self._seen or len(self._accepted) >= self._task.most:
            return
        if self._task.conflicts.forbids(text) or (is_embedding(text) and not self._task.options.embeddings):
            return
        spelled = self._spelled(text)
        if spelled is None:
            return
        cost = self._count(spelled) + 1
        self._tokens_left -= cost
        if self._tokens_left < 0:
            return
        self._seen.add(key)
        self._accepted.append((text, slice(self._start, end)))

    def _room(self) -> float:
        """CLIP tokens left for the model's terms, each counted with its comma."""
        options = self._task.options
        if not options.max_tokens:
            return math.inf
        taken = self._count(options.keep) + sum(self._count(term.text) + 1 for term in self._task.asked)
        return options.max_tokens - taken


class Vocabulary:
    """What a model's tokens mean to the rules; made once for a model, shared by all sequences."""

    def __init__(self, tokenizer: TermTokenizer, network: T5, guard: Guard, settings: Settings) -> None:
        size = network.config.vocab_size
        self.pieces = tokenizer.pieces
        self.end = network.config.eos_token_id
        named = named_tokens(tokenizer, settings)
        self._tokens = list(named)
        self._index = TermIndex(list(named.values()), guard)
        self._by_key: dict[str, list[int]] = {}
        for token, term in tokenizer.whole_terms.items():
            self._by_key.setdefault(term_key(term), []).append(token)
        parts = set(range(len(self.pieces))) - set(named) if tokenizer.whole_terms else set()
        silent = {token for token in range(size) if not self._speaks(token)}
        embeddings = {token for token, term in named.items() if term in settings.embeddings or is_embedding(term)}
        self._with_embeddings = self._mask(parts | silent, size).to(network.device)
        self._plain = self._mask(parts | silent | embeddings, size).to(network.device)

    def _speaks(self, token: int) -> bool:
        return token < len(self.pieces) and bool(self.pieces[token])

    def _mask(self, tokens: set[int], size: int) -> torch.Tensor:
        mask = torch.zeros(size)
        mask[sorted(tokens - {self.end})] = -math.inf
        return mask

    def bias(self, embeddings: bool) -> torch.Tensor:
        """float32 [V]: -inf at tokens that write nothing, and at names of embeddings unless allowed."""
        return self._with_embeddings if embeddings else self._plain

    def forbidden(self, conflicts: Conflicts) -> list[int]:
        """Tokens that are a whole term, or a further word of one, which the guard forbids."""
        return [self._tokens[position] for position in self._index.forbidden(conflicts)]

    def tokens_of(self, key: str) -> list[int]:
        """Tokens that are a whole term of this key."""
        return self._by_key.get(key, [])

    def variants_of(self, token: int) -> list[int]:
        """Tokens that are the same term as `token`, itself included; none if it is not a whole term."""
        piece = self.pieces[token]
        return self.tokens_of(term_key(piece[1:])) if piece.startswith(BOUNDARY) else []


def named_tokens(tokenizer: TermTokenizer, settings: Settings) -> dict[int, str]:
    """What each token says that the rules know by name.

    Of a vocabulary of terms: the whole terms and embeddings that the settings list; nothing else is
    written, so nothing is ever misspelled or patched together. Where none are listed, all whole terms and
    further words (" text" after ",bad hands": forbidden wherever ",text" is), but no parts of words.
    A vocabulary of word pieces can only spell: it has no entry here and all its pieces may be written.
    """
    whole = tokenizer.whole_terms
    if settings.terms:
        return {t: term for t, term in whole.items() if term in settings.terms or term in settings.embeddings}
    words = {token: piece.strip() for token, piece in enumerate(tokenizer.pieces) if piece.startswith(" ")}
    return {**whole, **{token: word for token, word in words.items() if word}} if whole else {}


def writable_tokens(tokenizer: TermTokenizer, settings: Settings, config: T5Config) -> list[int] | None:
    """The tokens whose logits a step needs to compute; None for all."""
    if not settings.terms or not tokenizer.whole_terms:
        return None
    return sorted({*named_tokens(tokenizer, settings), config.eos_token_id})
