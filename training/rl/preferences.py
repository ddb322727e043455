"""Learning for every weighting of the metrics at once: what shall count how much is drawn anew for each prompt.

The network is told by a vector for each metric (see `negopt.preference`), and the draws for the prompt are paid as
they were told.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import torch
from transformers import T5ForConditionalGeneration

from negopt.preference import Preferences
from training.examples import END_TOKEN

APART = 1.0
"""How far the vectors begin from the end token, in units of the spread of all embeddings."""


def new_preferences(network: T5ForConditionalGeneration, metrics: Sequence[str], seed: int) -> Preferences:
    """Vectors for a network that knows none: the embedding of the end token, each with a direction of its own.

    A second end, before the prompt, says as good as nothing to a network whose prompts end once, so the policy begins
    as what it was (the bundled model's distributions move by less than 0.001 nats, in which two prompts differ by 0.2).
    The directions are there from the start, since the network itself can learn nothing of preferences from vectors
    that are all alike.
    """
    table = network.shared.weight.detach().float()
    directions = torch.randn(len(metrics), table.shape[1], generator=torch.Generator().manual_seed(seed))
    return Preferences(tuple(metrics), table[END_TOKEN] + APART * table.std() * directions)


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


def reward_weights(shares: torch.Tensor, metrics: Sequence[str]) -> Mapping[str, torch.Tensor]:
    """What each metric counts in the reward of each draw, float [B] by name, for shares float [B, M].

    The shares divided by their length, which leaves their proportions: the sum of independent metrics, each of spread
    1, then has the spread 1 under every preference, so that none is taught more eagerly than another.
    """
    scaled = shares / shares.norm(dim=1, keepdim=True)
    return dict(zip(metrics, scaled.T, strict=True))
