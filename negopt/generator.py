"""The generator: a prompt in, the negative prompt that suits it out.

Puts the parts together: what the prompt asks for (`prompt`), what must not be negated (`guard`), the
network that writes (`network`, `decoding`) in the vocabulary it writes with (`tokenizer`), and what
the artist asked for (`options`). Knows no host and no training.

A `Generator` keeps no state between calls: threads may share it, and the same arguments give the same
answer, alone or in a batch.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import torch

from .clip_tokens import estimate_tokens
from .decoding import Decoded, Rule, decode
from .errors import ModelError, OptionError
from .guard import Guard
from .locate import CONFIG, SETTINGS, TOKENIZER, locate
from .model_files import Settings, read_json, read_preferences, read_weights
from .network import T5, T5Config
from .options import Options
from .preference import Preferences, read_preference
from .prompt import read_prompt
from .rollout import RecordingRule, Rollout
from .rules import CountTokens, Task, TermRule, Vocabulary, writable_tokens
from .terms import Term, format_terms, is_embedding, split_terms, term_key, unique_terms
from .tokenizer import TermTokenizer

MAX_PROMPT_TOKENS = 96
"""What the network reads of a prompt. Training cuts somewhat sooner; T5's relative positions carry on from there."""
BATCH = 32
"""Prompts that are written side by side; more gain nothing on a CPU and cost memory."""
TOP_P = 0.95
"""Sampling leaves the least likely 5% out: there it finds misspellings, not ideas."""
DIVERSITY, DIVERSITY_OF_ALL = 1.0, 9.0
"""What an alternative pays, in logits, for each use of a term by those before it, at least; and for a use of each term
of a list: the shorter lists are, the sooner two are the same."""
STEPS_PER_TERM, SPARE_STEPS = 3, 12
"""How many steps a term may take on average before the text is cut off."""
CONDITIONS, CONDITION_TOKENS = 10, 16
"""How many of the artist's own terms the network is shown as already written, and how much of each."""

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
    """With the option n above 1: the n - 1 others. They differ, unless what the artist or the prompt itself wants there
    leaves no room."""

    def __str__(self) -> str:
        return self.text


class Generator:
    """Writes negative prompts with one model.

    `count_tokens`, when a host has a CLIP tokenizer at hand, says how many tokens a text takes
    (`clip_tokens.ClipTokenCounter(...).count`); otherwise a safe estimate serves. `embedding_name` says
    how the host writes the name of a textual-inversion file, or None if it has no such file: then the name
    is not written; otherwise names are written as their files are usually called.

    `preferences`, of a model that was trained for every weighting of several metrics, lets callers say by the option
    `prefer` which of them shall count how much: `prefer={"aesthetics": 1, "alignment": 0.5}`. Weights are relative,
    metrics left out count nothing, and without `prefer` all count alike. `OptionError` for a metric that the model does
    not know, for weights that say nothing, and for any preference where a model has none.
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
        preferences: Preferences | None = None,
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.settings = settings or Settings()
        self.preferences = preferences
        self._guard = guard
        self._count = lru_cache(maxsize=16384)(count_tokens or estimate_tokens)
        self._embedding_name = embedding_name or str

    @classmethod
    def open(cls, folder: Path, device: str | torch.device = "cpu", **parts: Any) -> Generator:
        """The model in `folder`; raises `ModelError` naming the file at fault, nothing half-loaded, and `OptionError`
        for a device that is not there."""
        check_device(device)
        config = T5Config.from_json(read_json(folder / CONFIG))
        tokenizer = TermTokenizer.from_file(folder / TOKENIZER)
        if len(tokenizer) > config.vocab_size:
            raise ModelError(
                f"{folder / TOKENIZER}: has {len(tokenizer)} pieces, but the network in {CONFIG} knows "
                f"only {config.vocab_size}; these files belong to different models"
            )
        settings = Settings.read(folder / SETTINGS)
        try:
            network = T5(config, read_weights(folder), device, writable=writable_tokens(tokenizer, settings, config))
        except ModelError as error:
            raise ModelError(f"{folder}: {error}") from error
        preferences = read_preferences(folder, settings.metrics, config.d_model)
        if preferences:
            preferences = replace(preferences, vectors=preferences.vectors.to(network.device, network.dtype))
        return cls(network, tokenizer, settings, preferences=preferences, **parts)

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

    def carrying(self, network: T5, preferences: Preferences | None = None) -> Generator:
        """The same model with other weights, in a network of the same configuration on the same device."""
        twin = copy(self)
        twin._vocabulary = self._vocabulary
        twin.network, twin.preferences = network, preferences
        return twin

    @property
    def metrics(self) -> tuple[str, ...]:
        """What `prefer` can weigh; nothing for most models."""
        return self.preferences.metrics if self.preferences else ()

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
        prefer = read_preference(checked.prefer) if checked.prefer else None
        return self._stream(prompts, checked, self._shares(prefer))

    def _stream(self, prompts: Iterable[str], options: Options, shares: tuple[float, ...]) -> Iterator[NegativePrompt]:
        batch: list[str] = []
        for prompt in prompts:
            batch.append(prompt)
            if len(batch) == BATCH:
                yield from self._answer(batch, options, shares)
                batch = []
        if batch:
            yield from self._answer(batch, options, shares)

    def _shares(self, prefer: Mapping[str, float] | None) -> tuple[float, ...]:
        """What each metric counts; nothing for a model without preferences."""
        if self.preferences:
            return self.preferences.shares(prefer)
        if prefer:
            raise OptionError("prefer: this model was not trained for preferences; leave it out or use another model")
        return ()

    def _answer(self, prompts: Sequence[str], options: Options, shares: tuple[float, ...]) -> list[NegativePrompt]:
        """The answers for one batch."""
        tasks = [self._task(prompt, options, shares) for prompt in prompts]
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
        decoded = self._decode(
            tasks,
            rules,
            [_random(options.seed, i) for _ in tasks for i in range(options.n)],
            max_terms=options.max_terms,
            temperature=options.creativity,
            top_p=TOP_P,
            diversity=max(DIVERSITY, DIVERSITY_OF_ALL / options.max_terms),
        )
        for rule, sequence in zip(rules, decoded, strict=True):
            rule.finish(sequence)

    def _decode(
        self,
        tasks: Sequence[Task],
        rules: Sequence[Rule],
        generators: Sequence[torch.Generator],
        *,
        max_terms: int,
        **how: float,
    ) -> list[Decoded]:
        """One sequence for each rule, those of a task side by side."""
        input_ids, mask = self._padded([task.prompt for task in tasks])
        copies = len(rules) // len(tasks)
        decoded = decode(
            self.network,
            input_ids,
            mask,
            rules,
            max_steps=STEPS_PER_TERM * max_terms + SPARE_STEPS,
            generators=generators,
            alternatives=copies,
            end_token=self.network.config.eos_token_id,
            shared=self.tokenizer.between,
            prefixes=[task.prefix for task in tasks for _ in range(copies)],
            anchor=self.settings.anchor,
            shift=None if self.preferences is None else self.preferences.shifts([task.shares for task in tasks]),
            **how,
        )
        return [sequence for alternatives in decoded for sequence in alternatives]

    def draw(
        self,
        prompts: Sequence[str],
        seeds: Sequence[Sequence[int]],
        *,
        prefer: Sequence[Mapping[str, float] | None] | None = None,
        **options: Any,
    ) -> list[list[Rollout]]:
        """For each prompt several draws from the network's whole distribution, independent of each other.

        `seeds` are those of each prompt's draws, as many for one as for another, and `prefer` what each prompt's
        draws shall prefer; a draw depends on its prompt, its seed, its preference and the options alone. Of the
        options n, creativity and seed mean nothing here; max_terms must not be 0. For training: what is drawn is
        spread as the network's probabilities are.
        """
        checked, copies = Options.of(options), len(seeds[0])
        tasks = self._preferring(prompts, prefer, checked)
        rules = [
            RecordingRule(TermRule(self._vocabulary, task, self._count, self._spelled))
            for task in tasks
            for _ in range(copies)
        ]
        generators = [torch.Generator().manual_seed(seed) for of_prompt in seeds for seed in of_prompt]
        decoded = self._decode(
            tasks, rules, generators, max_terms=checked.max_terms, temperature=1.0, top_p=1.0, diversity=0.0
        )
        drawn = [self._rollout(tasks[i // copies], rules[i], sequence) for i, sequence in enumerate(decoded)]
        return [drawn[start : start + copies] for start in range(0, len(drawn), copies)]

    def recite(
        self,
        prompts: Sequence[str],
        lists: Sequence[Sequence[str]],
        *,
        least: Sequence[int] | None = None,
        prefer: Sequence[Mapping[str, float] | None] | None = None,
        **options: Any,
    ) -> list[Rollout]:
        """A list of terms for each prompt as if it had been drawn, its log_probs all 0. For training.

        Terms that may not be written for their prompt are left out, and so are those beyond max_terms. `least` says
        how many of each list are wanted (all unless given): more are taken only if the list could not end before.
        """
        checked = Options.of(options)
        wanted = [len(terms) for terms in lists] if least is None else least
        tasks = self._preferring(prompts, prefer, checked)
        known = list({term: None for terms in lists for term in terms})
        ids_of = dict(zip(known, self.tokenizer.encode_terms(known), strict=True))
        return [self._recited(*each, ids_of) for each in zip(tasks, lists, wanted, strict=True)]

    def _recited(self, task: Task, terms: Sequence[str], wanted: int, ids_of: Mapping[str, Sequence[int]]) -> Rollout:
        rule = RecordingRule(TermRule(self._vocabulary, task, self._count, self._spelled))
        rule.begin(torch.zeros(self.network.config.vocab_size, device=self.network.device))
        end, written = self.network.config.eos_token_id, 0
        tokens: list[int] = []
        for text in terms:
            if written >= wanted and rule.permits(end):
                break
            ids = ids_of[text]
            if written < task.most and rule.permits(ids[0]) and not task.conflicts.forbids(text):
                for token in (*(self.tokenizer.between if tokens else ()), *ids):
                    tokens.append(token)
                    rule.advance(token)
                written += 1
        whole = written >= wanted or written < task.most
        if whole and rule.permits(end):
            tokens.append(end)
            rule.advance(end)
        return self._rollout(task, rule, Decoded(tokens, [0.0] * len(tokens)))

    def _preferring(
        self, prompts: Sequence[str], prefer: Sequence[Mapping[str, float] | None] | None, options: Options
    ) -> list[Task]:
        """The prompts with the same options, each under a preference of its own."""
        preferred = [None] * len(prompts) if prefer is None else prefer
        return [self._task(p, options, self._shares(w)) for p, w in zip(prompts, preferred, strict=True)]

    def _rollout(self, task: Task, rule: RecordingRule, sequence: Decoded) -> Rollout:
        rule.rule.finish(sequence)
        return Rollout(
            tuple(self.tokenizer.encode(task.prompt, MAX_PROMPT_TOKENS)),
            tuple(task.prefix),
            tuple(sequence.tokens),
            tuple(sequence.log_probs),
            rule.allowed(len(sequence.tokens)),
            self._negative_prompt(task, rule.rule),
            task.shares,
        )

    def _task(self, prompt: str, options: Options, shares: tuple[float, ...]) -> Task:
        """Read one prompt: what the network sees, what it may not write, what stands there already."""
        if not isinstance(prompt, str):
            raise OptionError(f"a prompt must be text, not {type(prompt).__name__}")
        read = read_prompt(prompt)
        kept = unique_terms(split_terms(options.keep))
        known = {term_key(term.text) for term in kept}
        conflicts = self.guard.conflicts(read, [term.text for term in split_terms(options.avoid)])
        asked = [term for term in unique_terms(map(Term, conflicts.asked)) if term_key(term.text) not in known]
        asked = self._fitting(asked[: options.max_terms], options)
        length = len(kept) + min(options.max_terms, self.settings.length)
        prefix = [*self.tokenizer.plan(length), *self._prefix([*kept, *asked])]
        standing = len(kept) + len(asked)
        least, most = self.tokenizer.least(length) - standing, options.max_terms - len(asked)
        if self.settings.anchor >= 1:  # terms judged on their own do not say when they are enough: the plan does
            least = most = length - standing
        return Task(read.text, options, tuple(kept), tuple(asked), conflicts, prefix, least, most, shares)

    def _fitting(self, asked: list[Term], options: Options) -> list[Term]:
        """The first of `asked` that have room beside what the artist keeps, each counted with its comma."""
        left = options.max_tokens - self._count(options.keep)
        for place, term in enumerate(asked if options.max_tokens else ()):
            left -= self._count(term.text) + 1
            if left < 0:
                return asked[:place]
        return asked

    def _prefix(self, terms: Sequence[Term]) -> list[int]:
        """Tokens of terms that stand there before the network writes, so that it adds what goes with them."""
        tokens: list[int] = []
        for ids in self.tokenizer.encode_terms([term.text.lower() for term in terms[:CONDITIONS]]):
            tokens += [*(self.tokenizer.between if tokens else []), *ids[:CONDITION_TOKENS]]
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


def check_device(device: str | torch.device) -> None:
    """Raises `OptionError` for a device that is not there."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # which of them depends on how torch was built
        raise OptionError(f"device {device}: {str(error).splitlines()[0]}") from error


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
