"""The generator: a prompt in, the negative prompt that suits it out.

Puts the parts together: what the prompt asks for (`prompt`), what must not be negated (`guard`), the
network that writes (`network`, `decoding`) in the vocabulary it writes with (`tokenizer`), and what
the artist asked for (`options`). Knows no host and no training.

A `Generator` keeps no state between calls: threads may share it, and the same arguments give the same
answer, alone or in a batch.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import torch

from .clip_tokens import estimate_tokens
from .decoding import Decoded, decode
from .errors import ModelError, OptionError
from .guard import Conflicts, Guard, TermIndex
from .locate import CONFIG, INDEX, SETTINGS, TOKENIZER, WEIGHTS, locate
from .network import T5, T5Config
from .options import Options
from .prompt import read_prompt
from .terms import Term, format_terms, is_embedding, split_terms, term_key, unique_terms
from .tokenizer import BOUNDARY, TermTokenizer

MAX_PROMPT_TOKENS = 96
"""What the network reads of a prompt. Training cuts somewhat sooner; T5's relative positions carry on from there."""
BATCH = 32
"""Prompts that are written side by side; more gain nothing on a CPU and cost memory."""
TOP_P = 0.95
"""Sampling leaves the least likely 5% out: there it finds misspellings, not ideas."""
DIVERSITY = 1.0
"""What an alternative pays, in logits, for each use of a term by those before it."""
STEPS_PER_TERM, SPARE_STEPS = 3, 12
"""How many steps a term may take on average before the text is cut off."""
CONDITIONS = 10
"""How many of the artist's own terms the network is shown as already written."""

CountTokens = Callable[[str], int]
EmbeddingName = Callable[[str], str | None]


@dataclass(frozen=True)
class WrittenTerm:
    """One term of a negative prompt."""

    text: str
    weight: float
    probability: float
    """The network's probability (0 to 1] of this term being the next; 1 for terms it did not write."""
    origin: Literal["keep", "prompt", "model"]
    """Who wants it: the artist's `keep`, the prompt's own negation ("no text"), or the model."""


@dataclass(frozen=True)
class NegativePrompt:
    """A negative prompt: `text` as the host reads it, and its terms in order."""

    text: str
    terms: tuple[WrittenTerm, ...] = ()
    alternatives: tuple[NegativePrompt, ...] = ()
    """With the option n above 1: the n - 1 others, none like another."""

    def __str__(self) -> str:
        return self.text


class Generator:
    """Writes negative prompts with one model.

    `count_tokens`, when a host has a CLIP tokenizer at hand, says how many tokens a text takes
    (`clip_tokens.ClipTokenCounter(...).count`); otherwise a safe estimate serves. `embedding_name` says
    how the host writes the name of a textual-inversion file, or None if it has no such file: then the name
    is not written; otherwise names are written as their files are usually called.
    """

    def __init__(
        self,
        network: T5,
        tokenizer: TermTokenizer,
        settings: Settings | None = None,
        *,
        count_tokens: CountTokens | None = None,
        embedding_name: EmbeddingName | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.settings = settings or Settings()
        self._guard = guard
        self._count = lru_cache(maxsize=16384)(count_tokens or estimate_tokens)
        self._embedding_name = embedding_name or str

    @classmethod
    def open(cls, folder: Path, device: str | torch.device = "cpu", **parts: Any) -> Generator:
        """The model in `folder`; raises `ModelError` naming the file at fault, nothing half-loaded."""
        config = T5Config.from_json(_read_json(folder / CONFIG))
        tokenizer = TermTokenizer.from_file(folder / TOKENIZER)
        if len(tokenizer) > config.vocab_size:
            raise ModelError(
                f"{folder / TOKENIZER}: has {len(tokenizer)} pieces, but the network in {CONFIG} knows "
                f"only {config.vocab_size}; these files belong to different models"
            )
        settings = Settings.read(folder / SETTINGS)
        try:
            network = T5(config, _read_weights(folder), device, writable=_written_tokens(tokenizer, settings, config))
        except ModelError as error:
            raise ModelError(f"{folder}: {error}") from error
        return cls(network, tokenizer, settings, **parts)

    def beside(
        self, *, count_tokens: CountTokens | None = None, embedding_name: EmbeddingName | None = None
    ) -> Generator:
        """The same loaded model with a host's own token count and embeddings; costs no memory to speak of."""
        twin = copy(self)
        twin._vocabulary = self._vocabulary
        if count_tokens:
            twin._count = lru_cache(maxsize=16384)(count_tokens)
        if embedding_name:
            twin._embedding_name = embedding_name
        return twin

    @cached_property
    def guard(self) -> Guard:
        """What keeps the negative from negating the prompt; read at the first prompt, not at start-up."""
        return self._guard or Guard.default()

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.tokenizer, self.network, self.guard, self.settings)

    def generate(self, prompt: str, **options: Any) -> NegativePrompt:
        """The negative prompt for one prompt; `options` are those of `negopt.OPTIONS`."""
        return self.generate_batch([prompt], **options)[0]

    def generate_batch(self, prompts: Iterable[str], **options: Any) -> list[NegativePrompt]:
        """A negative prompt for each prompt, in order."""
        return list(self.stream(prompts, **options))

    def stream(self, prompts: Iterable[str], **options: Any) -> Iterator[NegativePrompt]:
        """As `generate_batch`, but yields each answer as its batch is done; `prompts` may be endless.

        Raises `OptionError` for a bad option before anything is read.
        """
        checked = Options.of(options)
        return self._stream(prompts, checked)

    def _stream(self, prompts: Iterable[str], options: Options) -> Iterator[NegativePrompt]:
        batch: list[str] = []
        for prompt in prompts:
            batch.append(prompt)
            if len(batch) == BATCH:
                yield from self._answer(batch, options)
                batch = []
        if batch:
            yield from self._answer(batch, options)

    def _answer(self, prompts: Sequence[str], options: Options) -> list[NegativePrompt]:
        """The answers for one batch."""
        tasks = [self._task(prompt, options) for prompt in prompts]
        rules = [
            TermRule(self._vocabulary, task, self._count, self._spelled) for task in tasks for _ in range(options.n)
        ]
        if options.max_terms:
            self._write(tasks, rules, options)
        return [
            _joined([self._negative_prompt(task, rule) for rule in rules[i * options.n : (i + 1) * options.n]])
            for i, task in enumerate(tasks)
        ]

    def _write(self, tasks: Sequence[Task], rules: Sequence[TermRule], options: Options) -> None:
        """Run the network for all tasks; each rule collects the terms of its sequence."""
        input_ids, mask = self._padded([task.prompt for task in tasks])
        decoded = decode(
            self.network,
            input_ids,
            mask,
            rules,
            max_steps=STEPS_PER_TERM * options.max_terms + SPARE_STEPS,
            temperature=options.creativity,
            top_p=TOP_P,
            generators=[_random(options.seed, i) for _ in tasks for i in range(options.n)],
            alternatives=options.n,
            diversity=DIVERSITY,
            end_token=self.network.config.eos_token_id,
            shared=self.tokenizer.between,
            prefixes=[task.prefix for task in tasks for _ in range(options.n)],
            anchor=self.settings.anchor,
        )
        sequences = [sequence for alternatives in decoded for sequence in alternatives]
        for rule, sequence in zip(rules, sequences, strict=True):
            rule.finish(sequence)

    def _task(self, prompt: str, options: Options) -> Task:
        """Read one prompt: what the network sees, what it may not write, what stands there already."""
        if not isinstance(prompt, str):
            raise OptionError(f"a prompt must be text, not {type(prompt).__name__}")
        read = read_prompt(prompt)
        kept = unique_terms(split_terms(options.keep))
        known = {term_key(term.text) for term in kept}
        conflicts = self.guard.conflicts(read, [term.text for term in split_terms(options.avoid)])
        asked = [term for term in unique_terms(map(Term, conflicts.asked)) if term_key(term.text) not in known]
        asked = asked[: options.max_terms]
        length = len(kept) + min(options.max_terms, self.settings.length)
        prefix = [*self.tokenizer.plan(length), *self._prefix([*kept, *asked])]
        standing = len(kept) + len(asked)
        least, most = self.tokenizer.least(length) - standing, options.max_terms - len(asked)
        if self.settings.anchor >= 1:  # terms judged on their own do not say when they are enough: the plan does
            least = most = length - standing
        return Task(read.text, options, tuple(kept), tuple(asked), conflicts, prefix, least, most)

    def _prefix(self, terms: Sequence[Term]) -> list[int]:
        """Tokens of terms that stand there before the network writes, so that it adds what goes with them."""
        tokens: list[int] = []
        for ids in self.tokenizer.encode_terms([term.text.lower() for term in terms[:CONDITIONS]]):
            tokens += [*(self.tokenizer.between if tokens else []), *ids]
        return tokens

    def _padded(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Token ids [B, S] of the prompts and their mask (None where nothing is padded)."""
        ids = [self.tokenizer.encode(text, MAX_PROMPT_TOKENS) for text in texts]
        longest = max(map(len, ids))
        pad = self.network.config.pad_token_id
        device = self.network.device
        input_ids = torch.tensor([row + [pad] * (longest - len(row)) for row in ids], device=device)
        if all(len(row) == longest for row in ids):
            return input_ids, None
        lengths = torch.tensor([len(row) for row in ids], device=device)
        return input_ids, torch.arange(longest, device=device) < lengths.unsqueeze(1)

    def _negative_prompt(self, task: Task, rule: TermRule) -> NegativePrompt:
        """What the artist keeps, what the prompt negates, and what the model wrote, as one text."""
        written = [WrittenTerm(term.text, term.weight, 1.0, "keep") for term in task.kept]
        written += [WrittenTerm(term.text, term.weight, 1.0, "prompt") for term in task.asked]
        written += [self._model_term(text, p, task.options) for text, p in rule.written]
        own = task.options.keep.strip(" ,\t\r\n")
        added = [Term(term.text, term.weight) for term in written if term.origin != "keep"]
        rest = format_terms(added, task.options.weights)
        return NegativePrompt(_appended(own, rest), tuple(written))

    def _model_term(self, text: str, probability: float, options: Options) -> WrittenTerm:
        weight = self.settings.emphasis.get(text, 1.0) if options.weights else 1.0
        return WrittenTerm(self._spelled(text) or text, weight, probability, "model")

    def _spelled(self, text: str) -> str | None:
        """A term as it is written: an embedding as its file is called here, None if there is none."""
        if not is_embedding(text):
            return text
        return self._embedding_name(self.settings.embeddings.get(text, text))


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
        named = _named(tokenizer, settings)
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


def _named(tokenizer: TermTokenizer, settings: Settings) -> dict[int, str]:
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


def _written_tokens(tokenizer: TermTokenizer, settings: Settings, config: T5Config) -> list[int] | None:
    """The tokens whose logits a step needs to compute; None for all."""
    if not settings.terms or not tokenizer.whole_terms:
        return None
    return sorted({*_named(tokenizer, settings), config.eos_token_id})


@dataclass(frozen=True)
class Settings:
    """What a model folder's negopt.json says besides the network; all of it may be missing."""

    emphasis: Mapping[str, float] = field(default_factory=dict)
    """The weight that people usually put on a term (for the option `weights`)."""
    length: int = 20
    """How many terms the model plans for, in a vocabulary with plans, unless fewer are asked for."""
    order: Literal["free", "written"] = "written"
    """Whether the model was trained on terms in any order or in the author's."""
    anchor: float = 0.0
    """How far each term is judged on its own, whatever stands there already (see `decoding.decode`)."""
    embeddings: Mapping[str, str] = field(default_factory=dict)
    """Names of embeddings as their files spell them, by their lower-case form."""
    terms: frozenset[str] = frozenset()
    """The terms that a model with a vocabulary of terms may write; all it knows where none are named."""

    @classmethod
    def read(cls, path: Path) -> Settings:
        """The file's settings, none if there is no file; raises `ModelError` for a damaged one."""
        if not path.is_file():
            return cls()
        values = _read_json(path)
        try:
            length = int(values.get("length", cls.length))
            order: Literal["free", "written"] = "free" if values.get("order") == "free" else "written"
            emphasis = {str(term): float(weight) for term, weight in values.get("emphasis", {}).items()}
            anchor = min(1.0, max(0.0, float(values.get("anchor", cls.anchor))))
            terms = frozenset(map(str, values.get("terms", ())))
            embeddings = {str(name): str(file) for name, file in values.get("embeddings", {}).items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError(
                f"{path}: emphasis and embeddings must be tables, terms a list, length and anchor numbers ({error})"
            ) from error
        return cls(emphasis, length, order, anchor, embeddings, terms)


def load(
    model: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
    *,
    folders: Sequence[Path] = (),
    count_tokens: CountTokens | None = None,
) -> Generator:
    """The generator of a model: the bundled one (None), a folder, a name in one of `folders` or of the
    models folders, or a Hugging Face Hub id (see `locate.locate`).

    Raises `ModelError` with one line that names what is wrong and what to do.
    """
    return Generator.open(locate(model, folders), device, count_tokens=count_tokens)


def _joined(answers: Sequence[NegativePrompt]) -> NegativePrompt:
    """The first answer with the others as its alternatives."""
    return replace(answers[0], alternatives=tuple(answers[1:]))


def _appended(own: str, rest: str) -> str:
    """The artist's own text, then the rest; on a line of its own where a comment would swallow it."""
    if not own or not rest:
        return own or rest
    comment = "#" in own.rsplit("\n", 1)[-1]
    return f"{own}{',' if not comment else ''}{chr(10) if comment else ' '}{rest}"


def _random(seed: int, alternative: int) -> torch.Generator:
    """Random numbers of one alternative: the same for a prompt wherever it stands in a batch."""
    return torch.Generator().manual_seed(random.Random(f"{seed}/{alternative}").getrandbits(63))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: holds no JSON object")
    return value


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the folder's safetensors file, or of the files that its index names."""
    from safetensors.torch import load_file

    files = [folder / WEIGHTS]
    if not files[0].is_file():
        names = set(_read_json(folder / INDEX).get("weight_map", {}).values())
        files = [folder / Path(name).name for name in sorted(names)]
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            tensors.update(load_file(str(file)))
        except Exception as error:  # the library's own class, OSError for a missing part, and others
            raise ModelError(
                f"{file}: damaged or not a safetensors file ({error}); fetch or export the model again"
            ) from error
    return tensors
