"""The critic: which terms are best for a prompt, and how many, by an `Appraisal` of those that the first policy writes.

A list is worth what its terms are, and what its length is: one term alone may push a picture further than it should,
several dilute each other, and where nothing helps it is best to write nothing.

Prompts are told apart by what CLIP reads in them. What the first policy makes of a prompt is no help: it holds what has
mattered to people's lists, and what they overlook is what there is to learn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from negopt.terms import term_key

from .appraisal import Appraisal
from .aspects import Aspects, Read

TERMS = 64
"""The most terms that are judged."""
WORTHWHILE = 0.03
"""What a further term must add to the reward, in its spreads, to be written."""

Weights = Mapping[str, float | torch.Tensor]
"""What each metric counts: one number, or one a prompt, [B]."""


@dataclass(frozen=True)
class Ranking:
    """All terms for one prompt, the best first."""

    terms: list[str]
    worthwhile: int
    """How many of them make the best list; 0 where writing nothing is best."""


class Critic:
    """What each of some terms adds to each of `metrics`."""

    def __init__(
        self, terms: Sequence[str], prompts: Sequence[str], read: Read, metrics: Sequence[str], longest: int
    ) -> None:
        """`terms`: as they come in lists such as are to be judged; the commonest are. `prompts`: all that are to come.
        `read`: what prompts say. `longest`: the most terms of a list."""
        self.metrics = tuple(metrics)
        self.terms = [term for term, _ in Counter(terms).most_common(TERMS)]
        self._columns = {term_key(term): column for column, term in enumerate(self.terms)}
        self._aspects = Aspects(read, prompts)
        self._longest = longest
        self._appraisal = Appraisal(len(self.terms) + longest, len(self._aspects), len(self.metrics))

    def learn(
        self, prompts: Sequence[str], lists: Sequence[Sequence[str]], scores: Mapping[str, torch.Tensor], copies: int
    ) -> None:
        """Take note of lists of terms, the `copies` for a prompt side by side, and of their scores [B] in each metric;
        `prompts` has that of each list."""
        drawn = torch.zeros(len(lists), len(self.terms) + self._longest)
        for row, terms in enumerate(lists):
            keys = map(term_key, terms)
            drawn[row, [self._columns[key] for key in keys if key in self._columns]] = 1
            drawn[row, len(self.terms) :][: len(terms)] = 1  # a column each for a first term, a second, ...
        answers = torch.stack([scores[name] for name in self.metrics], 1)
        self._appraisal.learn(drawn, self._aspects(prompts), answers, copies)

    def rank(self, prompts: Sequence[str], weights: Weights) -> list[Ranking]:
        """The terms for each prompt by what each most likely adds to the reward, where metrics count `weights`."""
        return self._ranked(self._appraisal.worths(self._aspects(prompts)), weights)

    def suppose(self, prompts: Sequence[str], weights: Weights, random: torch.Generator) -> list[Ranking]:
        """As `rank`, but by what each might add: a guess for each prompt, as wide as what was seen leaves open."""
        return self._ranked(self._appraisal.supposed(self._aspects(prompts), random), weights)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {**self._aspects.state_dict(), **self._appraisal.state_dict()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        self._aspects.load_state_dict(state)
        self._appraisal.load_state_dict(state)

    def _ranked(self, worths: torch.Tensor, weights: Weights) -> list[Ranking]:
        counting = [torch.as_tensor(weights.get(name, 0.0)).expand(len(worths)) for name in self.metrics]
        totals = torch.einsum("bvm,bm->bv", worths, torch.stack(counting, 1).float())
        of_terms, of_places = totals.split([len(self.terms), self._longest], 1)
        sorted_worths, orders = of_terms.sort(dim=1, descending=True, stable=True)
        most = min(of_terms.shape[1], self._longest)
        gains = (sorted_worths[:, :most] + of_places[:, :most] - WORTHWHILE).cumsum(1)
        best = torch.cat([torch.zeros(len(gains), 1), gains], 1).argmax(1)
        return [
            Ranking([self.terms[column] for column in order], count)
            for order, count in zip(orders.tolist(), best.tolist(), strict=True)
        ]
