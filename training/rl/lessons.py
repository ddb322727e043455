"""Learning by a critic: it says which lists to try out, and the policy is taught those that it finds best.

What a policy draws by itself is what people write, and what is good beyond that it hardly ever sees. So it does not
draw: lists are put together from the terms that people use, by guesses at what each may be worth, and the network only
learns to write, from a prompt alone, what the critic has found out.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import torch
from tqdm import trange

from negopt.errors import OptionError
from negopt.generator import Generator
from negopt.rollout import Rollout

from .aspects import Read
from .critic import Critic, Ranking, Weights
from .learner import Learner
from .policy import collate
from .preferences import draw_preferences, reward_weights
from .recipe import Recipe
from .seeds import generator_of, seed_of

TAUGHT = 256
"""Prompts of a lesson; they cost no pictures."""
SETTLING = 50
"""Lessons once the critic has seen all pictures: until then the network is always a little behind."""
SHOWN = 250
"""Prompts that show which terms the first policy writes."""

Preferring = Sequence[Mapping[str, float]] | None
"""What each prompt shall prefer, in a run that learns preferences."""


class Lessons:
    """A critic, and what comes of it for a policy."""

    def __init__(self, recipe: Recipe, prompts: Sequence[str], first: Generator, learner: Learner, read: Read) -> None:
        """`first`: the policy as it is at first, whose terms are judged. `prompts`: those to learn from. `read`: what
        prompts say. Raises `OptionError` if `first` writes nothing for them."""
        self._recipe, self._prompts, self._first, self._learner = recipe, prompts, first, learner
        self._critic = Critic(self._terms(), prompts, read, recipe.metrics, recipe.max_terms)

    def _terms(self) -> list[str]:
        writing = self._prompts[:SHOWN]
        seeds = [[seed_of(self._recipe.seed, 0, f"terms {row}")] for row in range(len(writing))]
        draws = self._first.draw(writing, seeds, max_terms=self._recipe.max_terms, max_tokens=0)
        terms = [term.text for (draw,) in draws for term in draw.answer.terms if term.origin == "model"]
        if not terms:
            raise OptionError("the model writes nothing for these prompts: a critic would have no terms to judge")
        return terms

    def lists(self, prompts: Sequence[str], prefer: Preferring, step: int) -> list[list[Rollout]]:
        """For each prompt lists that would be best if what each supposes of all terms were true (Thompson 1933): what
        is likely to be good comes up often, and so does what little is known of. One of each prompt's is of any
        length, from nothing on: what a length is worth shows against other lengths only."""
        copies, most = self._recipe.copies, self._recipe.max_terms
        of_each = [prompt for prompt in prompts for _ in range(copies)]
        told = None if prefer is None else [each for each in prefer for _ in range(copies)]
        random_numbers = generator_of(self._recipe.seed, step, "supposed")
        rankings = self._critic.suppose(of_each, self._counting(told), random_numbers)
        chance = random.Random(f"{self._recipe.seed}/{step}/lengths")
        lengths = [
            chance.randint(0, most) if place % copies == 0 else ranking.worthwhile
            for place, ranking in enumerate(rankings)
        ]
        recited = self._recite(of_each, rankings, lengths, told)
        return [recited[start : start + copies] for start in range(0, len(recited), copies)]

    def learn(
        self, prompts: Sequence[str], drawn: Sequence[Rollout], scores: Mapping[str, torch.Tensor], step: int
    ) -> dict[str, float]:
        """The critic from a step's pictures, `scores` [B] in each metric's own units; then the policy from the critic,
        for other prompts than the step's, too. Returns what was measured."""
        of_each = [prompt for prompt in prompts for _ in range(self._recipe.copies)]
        written = [[term.text for term in rollout.answer.terms] for rollout in drawn]
        self._critic.learn(of_each, written, scores, self._recipe.copies)
        return self._teach(step)

    def settle(self) -> None:
        """The policy catches up with what the critic knows in the end."""
        for turn in trange(SETTLING, desc="settling", unit="lesson", mininterval=2.0, leave=False):
            self._teach(self._recipe.steps + turn, pace=1 - turn / SETTLING)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self._critic.state_dict()

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        self._critic.load_state_dict(state)

    def _teach(self, lesson: int, pace: float = 1.0) -> dict[str, float]:
        """The policy learns to write what the critic finds best now, the best first."""
        recipe = self._recipe
        chance = random.Random(f"{recipe.seed}/{lesson}/taught")
        prompts = chance.sample(self._prompts, min(TAUGHT, len(self._prompts)))
        prefer = draw_preferences(recipe.seed, lesson, len(prompts), recipe.metrics) if recipe.preferences else None
        rankings = self._critic.rank(prompts, self._counting(prefer))
        lengths = [ranking.worthwhile for ranking in rankings]
        draws = collate(self._recite(prompts, rankings, lengths, prefer), self._learner.policy.writable)
        return self._learner.imitate(draws, generator_of(recipe.seed, lesson, "shuffle"), pace)

    def _recite(
        self, prompts: Sequence[str], rankings: Sequence[Ranking], lengths: Sequence[int], prefer: Preferring
    ) -> list[Rollout]:
        terms, most = [ranking.terms for ranking in rankings], self._recipe.max_terms
        return self._first.recite(prompts, terms, least=lengths, prefer=prefer, max_terms=most, max_tokens=0)

    def _counting(self, prefer: Preferring) -> Weights:
        """What each metric counts: as the recipe says, or as the preference of each prompt does."""
        if prefer is None:
            return self._recipe.weights
        metrics = self._recipe.metrics
        return reward_weights(torch.tensor([[weights[name] for name in metrics] for weights in prefer]), metrics)
