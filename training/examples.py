"""From rows of a data set to batches of token ids, in an order that is a function of the seed alone.

The whole training is one sequence of batches, `Schedule.batch(step)`: which rows, in which order, and
with which order of terms follows from (seed, step). A run that was killed therefore goes on exactly
where it was, with no state of a data loader to save.

A negative prompt is a set more than it is a sentence. With `order="free"` the terms of each example
are shuffled anew every time it is seen, and the target of a step that begins a term is the uniform
distribution over all terms that are still to come, which is the expectation over the orders that
share this beginning. `order="written"` keeps the author's order: ordinary teacher forcing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from negopt.tokenizer import TermTokenizer

Order = Literal["free", "written"]
PAD_TOKEN, END_TOKEN = 0, 1  # as in every T5; the decoder starts from the pad token
IGNORED = -1


@dataclass(frozen=True)
class Example:
    """One pair: the prompt's token ids (end token included) and each term's token ids."""

    prompt: list[int]
    terms: list[list[int]]
    embeddings: int = 0
    """How many of `terms`, the first ones, name an embedding."""
    plan: tuple[int, ...] = ()
    """The token that says how many terms the list has, before all others; () in a vocabulary without."""
    more: tuple[int, ...] = ()
    """First tokens of terms that did not fit: they are still to come, so the list does not end."""


@dataclass
class Batch:
    """Tensors of one step; B pairs, S source tokens, T target tokens, N terms (plus the end)."""

    input_ids: torch.Tensor
    """int64 [B, S], padded with 0."""
    attention_mask: torch.Tensor
    """int64 [B, S]."""
    decoder_input_ids: torch.Tensor
    """int64 [B, T]: the start token, then what is written before each step."""
    targets: torch.Tensor
    """int64 [B, T, R]: the tokens that are right at each step, filled up with IGNORED."""

    def to(self, device: torch.device) -> Batch:
        return Batch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.decoder_input_ids.to(device),
            self.targets.to(device),
        )


def count_terms(example: Example) -> int:
    """Terms that a drawn example writes, its end (if it is written) counted as one."""
    return len(example.terms) + (not example.more)


def encode_rows(
    tokenizer: TermTokenizer, rows: Iterable[dict], *, max_prompt_tokens: int, max_terms: int
) -> list[Example]:
    """Examples of data set rows (`text`, `terms`, `embeddings`); rows with no term at all are left out."""
    examples = []
    for row in rows:
        embeddings = [name.lower() for name in row["embeddings"]][:4]
        terms = embeddings + row["terms"][:max_terms]
        if row["terms"]:
            prompt = tokenizer.encode(row["text"], max_prompt_tokens)
            examples.append(Example(prompt, tokenizer.encode_terms(terms), len(embeddings)))
    return examples


@dataclass(frozen=True)
class Schedule:
    """Which batch comes at which step: epochs of shuffled examples, batched by like length."""

    examples: Sequence[Example]
    batch_size: int
    seed: int
    order: Order = "free"
    embedding_rate: float = 0.3
    """Share of the examples that keep the embeddings their author named."""
    between: Sequence[int] = ()
    """What is written between two terms (`TermTokenizer.between`)."""
    plan: Callable[[int], Sequence[int]] = lambda terms: ()
    """What begins a list of so many terms (`TermTokenizer.plan`)."""
    max_target_tokens: int = 56
    prompt_dropout: float = 0.02
    """Share of the examples whose prompt is hidden: what to write for a prompt that says nothing."""
    drop_last: bool = True
    """Leave an epoch's last batch out when it is not full (always kept for validation)."""

    @property
    def steps_per_epoch(self) -> int:
        return len(self.epoch(0))

    def epoch(self, epoch: int) -> list[list[int]]:
        """Positions of the examples of each batch of this epoch.

        Batches hold pairs of like length, so that little is padded: sorted by the negative's length
        within long stretches, and by the prompt's within short ones. Their order is random again.
        """
        rng = random.Random(f"{self.seed}/{epoch}")
        positions = list(range(len(self.examples)))
        rng.shuffle(positions)
        for stretch, length in ((64, self._target_length), (8, self._source_length)):
            size = stretch * self.batch_size
            parts = [positions[start : start + size] for start in range(0, len(positions), size)]
            positions = [position for part in parts for position in sorted(part, key=length)]
        batches = [positions[i : i + self.batch_size] for i in range(0, len(positions), self.batch_size)]
        if len(batches) > 1 and len(batches[-1]) < self.batch_size and self.drop_last:
            batches.pop()
        rng.shuffle(batches)
        return batches

    def _target_length(self, position: int) -> int:
        return sum(map(len, self.examples[position].terms))

    def _source_length(self, position: int) -> int:
        return len(self.examples[position].prompt)

    def draw(self, epoch: int, positions: Sequence[int]) -> list[Example]:
        """These examples as this epoch shows them: with or without embeddings, in its order of terms."""
        return [self._draw(i, random.Random(f"{self.seed}/{epoch}/{i}")) for i in positions]

    def collate(self, examples: Sequence[Example]) -> Batch:
        return collate(examples, order=self.order, between=self.between)

    def _draw(self, position: int, rng: random.Random) -> Example:
        example = self.examples[position]
        keep = example.embeddings and rng.random() < self.embedding_rate
        terms = list(example.terms if keep else example.terms[example.embeddings :])
        if self.order == "free":
            rng.shuffle(terms)
        prompt = [END_TOKEN] if rng.random() < self.prompt_dropout else example.prompt
        fitting = _fitting(terms, self.max_target_tokens)
        return Example(
            prompt, terms[:fitting], plan=tuple(self.plan(len(terms))), more=tuple(term[0] for term in terms[fitting:])
        )


def _fitting(terms: list[list[int]], most: int) -> int:
    """How many of the first terms fit into `most` tokens; at least one."""
    total = 0
    for number, term in enumerate(terms):
        total += len(term)
        if number and total > most:
            return number
    return len(terms)


def collate(examples: Sequence[Example], *, order: Order, between: Sequence[int] = ()) -> Batch:
    """Pad examples to one batch and set out what is right at each step (see the module's text)."""
    written = [_steps(example, order, between) for example in examples]
    source = max(len(example.prompt) for example in examples)
    target = max(len(steps) for steps in written)
    width = max(len(right) for steps in written for _, right in steps)
    input_ids = torch.tensor([_filled(example.prompt, source, PAD_TOKEN) for example in examples])
    lengths = torch.tensor([len(example.prompt) for example in examples])
    mask = (torch.arange(source) < lengths.unsqueeze(1)).long()
    before = [[PAD_TOKEN, *(token for token, _ in steps[:-1])] for steps in written]
    decoder_ids = torch.tensor([_filled(tokens, target, PAD_TOKEN) for tokens in before])
    nothing = [IGNORED] * width
    right = [[_filled(tokens, width, IGNORED) for _, tokens in steps] for steps in written]
    targets = torch.tensor([rows + [nothing] * (target - len(rows)) for rows in right])
    return Batch(input_ids, mask, decoder_ids, targets)


def _filled(tokens: Sequence[int], length: int, filling: int) -> list[int]:
    return [*tokens, *[filling] * (length - len(tokens))]


def _steps(example: Example, order: Order, between: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Each step of writing these terms: the token written, and all tokens that are right there."""
    firsts = [*(term[0] for term in example.terms), *example.more]
    steps = [(token, [token]) for token in example.plan]
    for number, term in enumerate(example.terms):
        if number:
            steps += [(token, [token]) for token in between]
        steps.append((term[0], firsts[number:] if order == "free" else [term[0]]))
        steps += [(token, [token]) for token in term[1:]]
    return steps if example.more else [*steps, (END_TOKEN, [END_TOKEN])]


def set_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy against the uniform distribution over each step's right tokens, summed over steps.

    `logits` float [steps, V]; `targets` int64 [steps, R], filled up with IGNORED, at least one right
    token a step. With R = 1 this is the ordinary token cross entropy.
    """
    wanted = targets != IGNORED
    picked = logits.gather(-1, targets.clamp(min=0)).float() * wanted
    return (torch.logsumexp(logits.float(), dim=-1) - picked.sum(-1) / wanted.sum(-1)).sum()
