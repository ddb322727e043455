"""From logits to sequences: greedy, sampled, and diverse alternatives, for a batch at once.

Knows nothing of terms, text or tokenizers. What may be written next is said by one `Rule` for each
sequence; how the network works is behind a few methods of `T5`. A sequence never depends on its
neighbours in the batch: each has its own random numbers and its own rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from .errors import OptionError
from .network import T5

__all__ = ["Decoded", "Rule", "decode"]

# How many of the likeliest tokens a nucleus is first looked for in; sorting all costs ten times more.
NUCLEUS = 256
LOG_HALF = math.log(0.5)


class Rule(Protocol):
    """What one sequence may contain."""

    def begin(self, bias: Tensor) -> None:
        """Once, before the first token. `bias` [V] float32 is this sequence's own row and holds zeros: write
        -inf where a token is forbidden. It is added to every step's logits and may be kept, to be
        written again whenever `advance` is called."""

    def advance(self, token: int) -> bool:
        """After each token. False ends the sequence."""


@dataclass
class Decoded:
    """One finished sequence.

    tokens:    every token chosen, the one at which the rule ended the sequence included.
    log_probs: of each token among those its rule allowed, at temperature 1 and without the penalty of
               the alternatives: what the network thinks, whatever the draw.
    """

    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)

    def take(self, token: int, log_prob: float, rule: Rule, most: int) -> bool:
        """Add a token; False where the sequence ends, by its rule, at `most` tokens, or for want of any token."""
        if math.isnan(log_prob):  # softmax of nothing but -inf: no token is allowed
            return False
        self.tokens.append(token)
        self.log_probs.append(log_prob)
        return rule.advance(token) and len(self.tokens) < most


@torch.inference_mode()
def decode(
    net: T5,
    input_ids: Tensor,
    mask: Tensor | None,
    rules: Sequence[Rule],
    *,
    max_steps: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    generators: Sequence[torch.Generator] | None = None,
    alternatives: int = 1,
    diversity: float = 2.0,
    end_token: int | None = None,
    shared: Sequence[int] = (),
    prefixes: Sequence[Sequence[int]] | None = None,
    anchor: float = 0.0,
    shift: Tensor | None = None,
) -> list[list[Decoded]]:
    """Writes `alternatives` sequences for each prompt; returns them by prompt.

    input_ids [B, S] int64 and mask [B, S] bool (True at real tokens; None: all are) are the prompts, `first`
    [B, d_model], if given, is the embedding of what the encoder reads before each.
    `rules`, `generators` and `prefixes` hold B * alternatives entries, the alternatives of a prompt side by
    side. A sequence goes on from its prefix (of any tokens; not part of what is returned, nor shown to its
    rule) and ends when its rule says so, after `max_steps` tokens, or when its rule allows no token.

    temperature 0 takes the likeliest token; above, tokens are drawn from softmax(logits / temperature)
    cut to the smallest set that holds `top_p` (0..1] of it (nucleus sampling, Holtzman et al. 2020,
    arXiv:1904.09751). One number is drawn for each token from the sequence's own generator, on the
    CPU; without generators the draws are seeded by the system.

    More than one alternative is diverse beam search with one beam a group (Vijayakumar et al. 2016,
    arXiv:1610.02424): the alternatives are written step by step side by side (with `anchor` 1 one after the
    other), and each pays `diversity` (in logits) for a token as often as those before it have used it, at any
    position so far, except for `end_token` and the tokens `shared` (what stands between two terms, say). So the
    first alternative is the answer that would stand alone.

    At temperature 0 `end_token`, if given, is not one token among others but says when to stop: where the
    probability that the network would have ended the sequence by now passes one half, that is at the
    median of its lengths. The likeliest token would end a list far too soon: its many possible next
    terms share what is left of the probability, the end has all its own to itself.

    `anchor` (0 to 1) is the weight of each sequence's first step in all its later ones: a token is judged by
    (1 - anchor) log p(token | so far) + anchor log p(token | prompt, prefix). Where tokens are the members of a
    set, the second is how likely each is on its own. Without it the first few members decide which of the
    sets that people often copy is being written, and the rest follows, right or wrong. At 1 the first step
    settles everything: no further one is computed, the end stays as unlikely as it was there, and the rule
    has to say when the sequence is full.

    Raises OptionError for a value out of range, ValueError when rules, generators or prefixes are too few
    or many.
    """
    _check(max_steps, temperature, top_p, alternatives, diversity, anchor)
    rows = len(input_ids) * alternatives
    given: Sequence[Sequence[int]] = [()] * rows if prefixes is None else prefixes
    for each in (rules, given, generators):
        if each is not None and len(each) != rows:
            raise ValueError(f"{rows} sequences need as many rules, and as many generators and prefixes if any")
    if rows == 0:
        return []
    choose = _Chooser(net, rules, temperature, top_p, generators, alternatives, diversity, end_token, shared, anchor)
    longest = max(map(len, given))
    cache = net.start(net.encode(input_ids, mask, shift), longest + max_steps, copies=alternatives)
    decoded = [Decoded() for _ in range(rows)]
    alive = list(range(rows))
    tokens = [net.config.decoder_start_token_id] * rows
    for position in range(longest + max_steps):
        fed = torch.tensor(tokens, device=net.device)
        free = [place for place, row in enumerate(alive) if position >= len(given[row])]
        if not free:
            net.feed(fed, cache)
            tokens = [given[row][position] for row in alive]
            continue
        if choose.anchor is not None and choose.anchor.settled(alive):
            _write_settled(choose, rules, decoded, alive, alternatives, max_steps)
            break
        scores = net.step(fed, cache)
        if len(free) < len(alive):
            scores = scores[torch.tensor(free, device=net.device)]
        chosen = iter(choose(scores, [alive[place] for place in free]))
        going, tokens = [], []
        for place, row in enumerate(alive):
            if position < len(given[row]):
                token = given[row][position]
            else:
                token, log_prob = next(chosen)
                if not decoded[row].take(token, log_prob, rules[row], max_steps):
                    continue
            going.append(place)
            tokens.append(token)
        if not going:
            break
        if len(going) < len(alive):
            alive = [alive[place] for place in going]
            cache.keep(torch.tensor(going, device=net.device))
    return [decoded[i : i + alternatives] for i in range(0, rows, alternatives)]


def _write_settled(
    choose: _Chooser,
    rules: Sequence[Rule],
    decoded: Sequence[Decoded],
    alive: Sequence[int],
    alternatives: int,
    max_steps: int,
) -> None:
    """The rest of the sequences `alive`, for which the network has nothing left to say.

    The alternatives of a prompt are written one after the other, so that each pays for all that those before it
    hold: side by side they would only hand each other the same members of the set one step later.
    """
    waiting = [list(group) for _, group in groupby(alive, key=lambda row: row // alternatives)]
    while waiting:
        rows = [group[0] for group in waiting]
        for group, (token, log_prob) in zip(waiting, choose(None, rows), strict=True):
            if not decoded[group[0]].take(token, log_prob, rules[group[0]], max_steps):
                del group[0]
        waiting = [group for group in waiting if group]


class _Chooser:
    """Chooses the next token of any of the sequences, from the logits of what can be written."""

    def __init__(
        self,
        net: T5,
        rules: Sequence[Rule],
        temperature: float,
        top_p: float,
        generators: Sequence[torch.Generator] | None,
        alternatives: int,
        diversity: float,
        end_token: int | None,
        shared: Sequence[int],
        anchor: float,
    ) -> None:
        self.writable = net.writable
        self.tokens = list(range(net.config.vocab_size)) if net.writable is None else net.writable.tolist()
        self.temperature, self.top_p = temperature, top_p
        self.generators = generators if generators is not None or temperature == 0 else [_fresh() for _ in rules]
        self.bias = torch.zeros((len(rules), net.config.vocab_size), device=net.device)
        for rule, row in zip(rules, self.bias, strict=True):
            rule.begin(row)
        end = self.tokens.index(end_token) if end_token in self.tokens else None
        self.median = _Median(len(rules), end) if temperature == 0 and end is not None else None
        self.anchor = _Anchor(len(rules), len(self.tokens), anchor, end, net.device) if anchor > 0 else None
        self.penalty = None
        if alternatives > 1:
            costs = torch.full((net.config.vocab_size,), diversity, device=net.device)
            costs[list(shared) if end_token is None else [*shared, end_token]] = 0.0
            self.penalty = _Penalty(len(rules), alternatives, costs if net.writable is None else costs[net.writable])
        self._rows: Sequence[int] = list(range(len(rules)))
        self._index: Tensor | None = None  # the same on the device, once it is not all rows

    def __call__(self, logits: Tensor | None, rows: Sequence[int]) -> list[tuple[int, float]]:
        """The token for each of the sequences `rows`, of logits [len(rows), W] (None where their anchors have
        settled everything), and its log-probability."""
        index = self._index_of(rows)
        if self.anchor is not None:
            scores = self.anchor.judge(logits, rows, index)
        else:
            assert logits is not None
            scores = logits.float()
        scores.add_(self._bias_of(index))
        log_probs = scores.log_softmax(-1)
        if self.median is not None:
            self.median.decide(scores, log_probs, rows)
        draws = None
        if self.temperature > 0 and self.generators is not None:
            draws = _draw(self.generators, rows, scores.device)
        if self.penalty is None:
            places = _choose(scores, draws, self.temperature, self.top_p)
        else:
            places = self.penalty.choose(scores, rows, draws, self.temperature, self.top_p)
        chosen = log_probs.gather(1, places.unsqueeze(1)).squeeze(1)
        tokens = [self.tokens[place] for place in places.tolist()]
        return list(zip(tokens, chosen.tolist(), strict=True))

    def _index_of(self, rows: Sequence[int]) -> Tensor | None:
        """`rows` on the device; None for all rows."""
        if rows != self._rows:
            self._rows, self._index = rows, torch.tensor(rows, device=self.bias.device)
        return self._index

    def _bias_of(self, index: Tensor | None) -> Tensor:
        """[B, W] of the sequences `index`, as the rules have written it by now."""
        if self.writable is None:
            return self.bias if index is None else self.bias[index]
        if index is None:
            return self.bias.index_select(1, self.writable)
        return self.bias[index.unsqueeze(1), self.writable]


class _Anchor:
    """Holds each sequence to what its first step thought of every token."""

    def __init__(self, rows: int, width: int, weight: float, end: int | None, device: torch.device) -> None:
        self.weight, self.end = weight, end
        self.first = torch.zeros((rows, width), device=device)
        self.begun = [False] * rows

    def settled(self, rows: Sequence[int]) -> bool:
        """Is nothing left for the network to say of these sequences?"""
        return self.weight >= 1.0 and all(self.begun[row] for row in rows)

    def judge(self, logits: Tensor | None, rows: Sequence[int], index: Tensor | None) -> Tensor:
        """logits [B, W] of the sequences `rows` (`index`: the same as a tensor, None for all) as
        log-probabilities, mixed with those of their first step. Below weight 1 the end keeps its own: how
        likely it is depends on what stands there already."""
        if logits is None:
            return self.first.clone() if index is None else self.first[index]
        log_probs = logits.float().log_softmax(-1)
        for place, row in enumerate(rows):
            if not self.begun[row]:
                self.first[row] = log_probs[place]
                self.begun[row] = True
        mixed = torch.lerp(log_probs, self.first if index is None else self.first[index], self.weight)
        if self.end is not None and self.weight < 1.0:
            mixed[:, self.end] = log_probs[:, self.end]
        return mixed


class _Median:
    """Ends each row at the median of the lengths that the network gives its sequence."""

    def __init__(self, rows: int, end: int) -> None:
        self.end = end
        """The place of the end among the tokens that can be written."""
        self.log_open = [0.0] * rows
        """Log-probability that the row has not ended yet."""

    def decide(self, scores: Tensor, log_probs: Tensor, rows: Sequence[int]) -> None:
        """In scores [B, W], forbids the end where it is too soon, and all else where it is due."""
        scores[:, self.end] = -math.inf
        for place, (row, log_end) in enumerate(zip(rows, log_probs[:, self.end].tolist(), strict=True)):
            self.log_open[row] += math.log(-math.expm1(log_end)) if log_end < 0 else -math.inf
            if self.log_open[row] < LOG_HALF:
                scores[place] = -math.inf
                scores[place, self.end] = 0.0


class _Penalty:
    """Keeps the alternatives of one prompt apart: what each owes for tokens that earlier ones used."""

    def __init__(self, rows: int, alternatives: int, costs: Tensor) -> None:
        self.owed = costs.new_zeros((rows // alternatives, alternatives, len(costs)))
        self.costs = costs

    def choose(
        self, scores: Tensor, rows: Sequence[int], draws: Tensor | None, temperature: float, top_p: float
    ) -> Tensor:
        """Places [B] in scores [B, W] of the sequences `rows`, one alternative after the other, so that within
        a step too the later ones pay for what the earlier ones just took."""
        alternatives = self.owed.shape[1]
        places = torch.zeros(len(rows), dtype=torch.long, device=scores.device)
        for turn in range(alternatives):
            taking = [i for i, row in enumerate(rows) if row % alternatives == turn]
            if not taking:
                continue
            at = torch.tensor(taking, device=scores.device)
            prompts = torch.tensor([rows[i] // alternatives for i in taking], device=scores.device)
            left = scores[at] - self.owed[prompts, turn]
            picked = _choose(left, None if draws is None else draws[at], temperature, top_p)
            places[at] = picked
            self.owed[prompts, turn + 1 :, picked] += self.costs[picked].unsqueeze(1)
        return places


def _choose(scores: Tensor, draws: Tensor | None, temperature: float, top_p: float) -> Tensor:
    """A place [B] in each row of scores [B, W]: the likeliest, or by draws [B] in [0, 1)."""
    if draws is None:
        return scores.argmax(-1)
    # In float64, so that the running sum over a whole vocabulary neither loses nor gains a token.
    probs = (scores.double() / temperature).softmax(-1)
    if top_p >= 1.0:
        return _invert(probs, draws)
    best, order = probs.topk(min(NUCLEUS, probs.shape[1]))
    wide = best.sum(-1) < top_p
    tokens = order.gather(1, _nucleus(best, draws, top_p).unsqueeze(1)).squeeze(1)
    if bool(wide.any()):
        best, order = probs[wide].sort(-1, descending=True)
        tokens[wide] = order.gather(1, _nucleus(best, draws[wide], top_p).unsqueeze(1)).squeeze(1)
    return tokens


def _nucleus(descending: Tensor, draws: Tensor, top_p: float) -> Tensor:
    """Drawn positions [B] in rows of descending probabilities, cut after the one that reaches top_p."""
    before = descending.cumsum(-1) - descending
    return _invert(descending.masked_fill(before >= top_p, 0.0), draws)


def _invert(weights: Tensor, draws: Tensor) -> Tensor:
    """The position [B] at which each row's running sum passes its draw; never one of weight 0."""
    total = weights.cumsum(-1)
    target = (draws * total[:, -1]).unsqueeze(1)
    # `right`: past equal sums, which are positions of weight 0. The clamp is for rows of NaN only.
    return torch.searchsorted(total, target, right=True).squeeze(1).clamp_(max=weights.shape[1] - 1)


def _draw(generators: Sequence[torch.Generator], rows: Sequence[int], device: torch.device) -> Tensor:
    """One number in [0, 1) from the own generator of each of the rows: [B] float64."""
    numbers = [torch.rand((), generator=generators[row], dtype=torch.float64) for row in rows]
    return torch.stack(numbers).to(device)


def _fresh() -> torch.Generator:
    generator = torch.Generator()
    generator.seed()
    return generator


def _check(
    max_steps: int, temperature: float, top_p: float, alternatives: int, diversity: float, anchor: float
) -> None:
    if max_steps < 1:
        raise OptionError(f"max_steps is {max_steps}; it must be at least 1")
    if not (temperature >= 0.0 and math.isfinite(temperature)):
        raise OptionError(f"temperature is {temperature}; it must be 0 or more")
    if not 0.0 < top_p <= 1.0:
        raise OptionError(f"top_p is {top_p}; it must be above 0 and at most 1")
    if alternatives < 1:
        raise OptionError(f"alternatives is {alternatives}; it must be at least 1")
    if not (diversity >= 0.0 and math.isfinite(diversity)):
        raise OptionError(f"diversity is {diversity}; it must be 0 or more")
    if not 0.0 <= anchor <= 1.0:
        raise OptionError(f"anchor is {anchor}; it must be from 0 to 1")
