"""Learning for every weighting of the metrics at once: what shall count how much is drawn anew for each prompt.

The network is told by a vector for each metric (see `negopt.preference`), and the draws for the prompt are paid as
they were told.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from transformers import T5ForConditionalGeneration

from negopt.preference import Preferences
from training.rl.policy import Draws, Policy
from training.rl.seeds import seed_of

LIKELIER = 2.0
"""How much more than another a draw may count that is likelier under the preference that it is looked at with."""


def new_preferences(network: T5ForConditionalGeneration, metrics: Sequence[str]) -> Preferences:
    """Vectors for a network that knows none: zeros, with which it is what it was."""
    return Preferences(tuple(metrics), torch.zeros(len(metrics), network.config.d_model))


def draw_preference(seed: int, place: int, metrics: Sequence[str]) -> dict[str, float]:
    """Weights of the metrics, of sum 1, for the prompt at `place` in the run.

    In turn each metric alone, all alike, and as often as these together anything between, every weighting as likely
    as another (Dirichlet with concentration 1). An even draw hardly ever comes near a metric alone, where weights
    matter most; and taken in turn, a step has some of all.
    """
    generator, turn = random.Random(seed), place % (2 * len(metrics) + 2)
    if turn < len(metrics):
        return {name: float(turn == row) for row, name in enumerate(metrics)}
    if turn == len(metrics):
        return dict.fromkeys(metrics, 1 / len(metrics))
    parts = [generator.expovariate(1.0) for _ in metrics]
    return {name: part / sum(parts) for name, part in zip(metrics, parts, strict=True)}


def draw_preferences(seed: int, step: int, rows: int, metrics: Sequence[str]) -> list[dict[str, float]]:
    """What each of so many prompts of a step shall prefer."""
    return [
        draw_preference(seed_of(seed, step, f"preference {row}"), step * rows + row, metrics) for row in range(rows)
    ]


def reward_weights(shares: torch.Tensor, metrics: Sequence[str]) -> Mapping[str, torch.Tensor]:
    """What each metric counts in the reward of each draw, float [B] by name, for shares float [B, M].

    The shares divided by their length, which leaves their proportions: the sum of independent metrics, each of spread
    1, then has the spread 1 under every preference, so that none is taught more eagerly than another.
    """
    scaled = shares / shares.norm(dim=1, keepdim=True)
    return dict(zip(metrics, scaled.T, strict=True))


@torch.no_grad()
def retold(draws: Draws, policy: Policy) -> Iterator[tuple[Draws, torch.Tensor]]:
    """The draws as they were told, then as if they had been told each metric alone; and what each counts, float [B].

    What the judges say of a picture does not depend on what the draw was told, so each draw shows what is good under
    every preference, and what tells the preferences apart is learned from the same pictures, without the noise of
    others. A draw counts by how much likelier it is under its new preference (importance sampling, cut off at
    `LIKELIER` so that a few do not outweigh all others).
    """
    yield draws, torch.ones(len(draws))
    for alone in torch.eye(draws.shares.shape[1]):
        told = replace(draws, shares=alone.expand_as(draws.shares))
        told = replace(told, log_probs=policy(told).log_probs)
        yield told, (told.log_probs - draws.log_probs).sum(1).exp().clamp(max=LIKELIER)
