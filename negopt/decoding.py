"""From logits to sequences: greedy, sampled, and diverse alternatives, for a batch at once.

Knows nothing of terms, text or tokenizers. What may be written next is said by one `Rule` for each
sequence; how the network works is behind four methods of `T5`. A sequence never depends on its
neighbours in the batch: each has its own random numbers and its own rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
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
) -> list[list[Decoded]]:
    """Writes `alternatives` sequences for each prompt; returns them by prompt.

    input_ids [B, S] int64 and mask [B, S] bool (True at real tokens; None: all are) are the prompts.
    `rules` and `generators` hold B * alternatives entries, the alternatives of a prompt side by side.
    A sequence ends when its rule says so, after `max_steps` tokens, or when its rule allows no token.

    temperature 0 takes the likeliest token; above, tokens are drawn from softmax(logits / temperature)
    cut to the smallest set that holds `top_p` (0..1] of it (nucleus sampling, Holtzman et al. 2020,
    arXiv:1904.09751). One number is drawn for each token from the sequence's own generator, on the
    CPU; without generators the draws are seeded by the system.

    More than one alternative is diverse beam search with one beam a group (Vijayakumar et al. 2016,
    arXiv:1610.02424): the alternatives are written step by step side by side, and each pays
    `diversity` (in logits) for a token as often as those before it have used it, at any position so far,
    except for `end_token` and the tokens `shared` (what stands between two terms, say). So the first
    alternative is the answer that would stand alone.

    At temperature 0 `end_token`, if given, is not one token among others but says when to stop: where the
    probability that the network would have ended the sequence by now passes one half, that is at the
    median of its lengths. The likeliest token would end a list far too soon: its many possible next
    terms share what is left of the probability, the end has all its own to itself.

    Raises OptionError for a value out of range, ValueError when rules or generators are too few or many.
    """
    _check(max_steps, temperature, top_p, alternatives, diversity)
    rows = len(input_ids) * alternatives
    if len(rules) != rows or (generators is not None and len(generators) != rows):
        raise ValueError(f"{rows} sequences need as many rules, and as many generators if any are given")
    if rows == 0:
        return []
    if temperature > 0 and generators is None:
        generators = [_fresh() for _ in range(rows)]

    cache = net.start(net.encode(input_ids, mask), max_steps, copies=alternatives)
    bias = torch.zeros((rows, net.config.vocab_size), device=net.device)
    for rule, row in zip(rules, bias, strict=True):
        rule.begin(row)
    median = _Median(rows, end_token) if temperature == 0 and end_token is not None else None
    free = list(shared) if end_token is None else [*shared, end_token]
    penalty = _Penalty(bias, alternatives, diversity, free) if alternatives > 1 else None
    decoded = [Decoded() for _ in range(rows)]
    alive = list(range(rows))
    kept: Tensor | None = None  # `alive` on the device, once it is not all rows
    tokens = torch.full((rows,), net.config.decoder_start_token_id, device=net.device)
    for _ in range(max_steps):
        scores = net.step(tokens, cache).float()
        scores += bias if kept is None else bias[kept]
        log_probs = scores.log_softmax(-1)
        if median is not None:
            median.decide(scores, log_probs, alive)
        draws = _draw(generators, alive, net.device) if temperature > 0 and generators else None
        if penalty is None:
            tokens = _choose(scores, draws, temperature, top_p)
        else:
            tokens = penalty.choose(scores, alive, draws, temperature, top_p)
        chosen = log_probs.gather(1, tokens.unsqueeze(1)).squeeze(1)
        going = []
        for place, (token, log_prob) in enumerate(zip(tokens.tolist(), chosen.tolist(), strict=True)):
            row = alive[place]
            if math.isnan(log_prob):  # softmax of nothing but -inf: no token is allowed
                continue
            decoded[row].tokens.append(token)
            decoded[row].log_probs.append(log_prob)
            if rules[row].advance(token):
                going.append(place)
        if not going:
            break
        if len(going) < len(alive):
            alive = [alive[place] for place in going]
            kept = torch.tensor(alive, device=net.device)
            places = torch.tensor(going, device=net.device)
            tokens = tokens[places]
            cache.keep(places)
    return [decoded[i : i + alternatives] for i in range(0, rows, alternatives)]


class _Median:
    """Ends each row at the median of the lengths that the network gives its sequence."""

    def __init__(self, rows: int, end_token: int) -> None:
        self.end_token = end_token
        self.log_open = [0.0] * rows
        """Log-probability that the row has not ended yet."""

    def decide(self, scores: Tensor, log_probs: Tensor, alive: Sequence[int]) -> None:
        """In scores [B, V], forbids the end where it is too soon, and all else where it is due."""
        for place, log_end in enumerate(log_probs[:, self.end_token].tolist()):
            row = alive[place]
            self.log_open[row] += math.log(-math.expm1(log_end)) if log_end < 0 else -math.inf
            if self.log_open[row] < LOG_HALF:
                scores[place] = -math.inf
                scores[place, self.end_token] = 0.0
            else:
                scores[place, self.end_token] = -math.inf


class _Penalty:
    """Keeps the alternatives of one prompt apart: what each owes for tokens that earlier ones used."""

    def __init__(self, like: Tensor, alternatives: int, diversity: float, free: Sequence[int]) -> None:
        self.owed = like.new_zeros((len(like) // alternatives, alternatives, like.shape[1]))
        self.cost = like.new_full((like.shape[1],), diversity)
        self.cost[list(free)] = 0.0

    def choose(
        self, scores: Tensor, alive: Sequence[int], draws: Tensor | None, temperature: float, top_p: float
    ) -> Tensor:
        """Tokens [B] for the rows `alive` of scores [B, V], one alternative after the other, so that
        within a step too the later ones pay for what the earlier ones just took."""
        alternatives = self.owed.shape[1]
        tokens = torch.zeros(len(alive), dtype=torch.long, device=scores.device)
        for turn in range(alternatives):
            places = [i for i, row in enumerate(alive) if row % alternatives == turn]
            if not places:
                continue
            at = torch.tensor(places, device=scores.device)
            prompts = torch.tensor([alive[i] // alternatives for i in places], device=scores.device)
            left = scores[at] - self.owed[prompts, turn]
            picked = _choose(left, None if draws is None else draws[at], temperature, top_p)
            tokens[at] = picked
            self.owed[prompts, turn + 1 :, picked] += self.cost[picked].unsqueeze(1)
        return tokens


def _choose(scores: Tensor, draws: Tensor | None, temperature: float, top_p: float) -> Tensor:
    """A token [B] for each row of scores [B, V]: the likeliest, or by draws [B] in [0, 1)."""
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


def _draw(generators: Sequence[torch.Generator], alive: Sequence[int], device: torch.device) -> Tensor:
    """One number in [0, 1) from each living row's own generator: [B] float64."""
    numbers = [torch.rand((), generator=generators[row], dtype=torch.float64) for row in alive]
    return torch.stack(numbers).to(device)


def _fresh() -> torch.Generator:
    generator = torch.Generator()
    generator.seed()
    return generator


def _check(max_steps: int, temperature: float, top_p: float, alternatives: int, diversity: float) -> None:
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
