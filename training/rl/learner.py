"""One step of learning: from draws and their advantages to a changed network.

Knows nothing of pictures, prompts or rewards: those are whose business it is to say how good a draw was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from negopt.errors import ModelError
from negopt.generator import Generator
from negopt.network import T5
from negopt.t5_config import T5Config
from training.rl.losses import clipped_policy_loss, clipped_value_loss, divergence, entropy, masked_mean
from training.rl.policy import Draws, Policy, Scored


@dataclass(frozen=True)
class Learning:
    """How fast and how far one step may go."""

    learning_rate: float = 1e-4
    """At first."""
    vector_rate: float = 100.0
    """How many times faster the vectors of a model with preferences learn: their numbers are so much larger than those
    of a matrix, and the faster they part, the sooner each preference goes its own way."""
    epochs: int = 4
    """How often each draw is used."""
    minibatches: int = 2
    clip: float = 0.2
    """How far the probability of a draw may move in one step before its gradient stops (PPO's epsilon)."""
    kl_weight: float = 0.02
    """What a nat of divergence from the reference costs, in units of advantage."""
    entropy_weight: float = 0.0
    value_weight: float = 0.5
    max_gradient: float = 1.0


@dataclass(frozen=True)
class Expectations:
    """What PPO's value head is taught: float [B, T] each."""

    values: torch.Tensor
    """As they were when the draws were made."""
    returns: torch.Tensor


class Learner:
    """Changes `policy`, and holds it near `reference`, a copy of what it was at first."""

    def __init__(self, policy: Policy, reference: Policy, learning: Learning) -> None:
        self.policy, self.reference, self.learning = policy, reference, learning
        # A large epsilon: where there is nothing to learn, Adam must not make steps of rounding errors.
        self.optimizer = torch.optim.AdamW(
            _groups(policy, learning), lr=learning.learning_rate, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.0
        )
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        policy.eval()  # no dropout: the draws were made without
        reference.eval().requires_grad_(False)

    @torch.no_grad()
    def score(self, draws: Draws) -> tuple[Scored, Scored]:
        """What the policy and the reference say of the draws."""
        return self.policy(draws), self.reference(draws)

    def update(
        self,
        draws: Draws,
        advantages: torch.Tensor,
        shuffle: torch.Generator,
        expectations: Expectations | None = None,
        kl_weight: float | None = None,
        pace: float = 1.0,
    ) -> dict[str, float]:
        """Learn from the draws; `advantages` [B, T], or [B, 1] where all steps of a draw share one. Raises `ModelError`
        where the gradient is not finite.

        `shuffle` decides which draws go together. `kl_weight` takes the place of the settings' (0 where the
        advantages hold the divergence's price already). `pace`: share of the settings' learning rate. Returns the
        means of what was measured on the way, "kl" and "entropy" in nats a step, "clipped" the share of steps whose
        gradient had stopped.
        """
        learning = self.learning
        price = learning.kl_weight if kl_weight is None else kl_weight
        advantages = advantages.expand_as(draws.log_probs)
        sums: defaultdict[str, list[float]] = defaultdict(list)
        for rows in self._minibatches(draws, shuffle, pace):
            expected = expectations and Expectations(expectations.values[rows], expectations.returns[rows])
            for name, value in self._step(draws.rows(rows), advantages[rows], expected, price).items():
                sums[name].append(value)
        return _means(sums)

    def imitate(self, draws: Draws, shuffle: torch.Generator, pace: float = 1.0) -> dict[str, float]:
        """Learn to write what was drawn, wherever it came from: the cross entropy of its tokens falls. Otherwise as
        `update`, but "kl" and "entropy" are measured on the last minibatch alone."""
        losses = []
        for rows in self._minibatches(draws, shuffle, pace):
            part = draws.rows(rows)
            scored = self.policy(part)
            loss = -masked_mean(scored.log_probs, part.mask)
            self._descend(loss)
            losses.append(loss.item())
        with torch.no_grad():
            kl = masked_mean(divergence(scored.distributions, self.reference(part).distributions), part.mask)
            spread = masked_mean(entropy(scored.distributions), part.mask)
        return {"policy_loss": sum(losses) / len(losses), "kl": kl.item(), "entropy": spread.item()}

    def _minibatches(self, draws: Draws, shuffle: torch.Generator, pace: float) -> Iterator[torch.Tensor]:
        """The rows that go together, epoch after epoch."""
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = pace * rate
        for _ in range(self.learning.epochs):
            order = torch.randperm(len(draws), generator=shuffle)
            yield from order.tensor_split(min(self.learning.minibatches, len(draws)))

    def _step(
        self, draws: Draws, advantages: torch.Tensor, expected: Expectations | None, kl_weight: float
    ) -> dict[str, float]:
        learning = self.learning
        scored = self.policy(draws)
        with torch.no_grad():  # of the same rows, so that both agree as far as can be where nothing was learned
            reference = self.reference(draws).distributions
        gain = clipped_policy_loss(scored.log_probs, draws.log_probs, advantages, draws.mask, learning.clip)
        kl = masked_mean(divergence(scored.distributions, reference), draws.mask)
        spread = masked_mean(entropy(scored.distributions), draws.mask)
        loss = gain + kl_weight * kl - learning.entropy_weight * spread
        measured = {"policy_loss": gain, "kl": kl, "entropy": spread}
        if expected is not None:
            assert scored.values is not None
            error = clipped_value_loss(scored.values, expected.values, expected.returns, draws.mask, learning.clip)
            loss = loss + learning.value_weight * error
            measured["value_loss"] = error
        self._descend(loss)
        moved = (scored.log_probs.detach() - draws.log_probs).exp()
        measured["clipped"] = masked_mean(((moved - 1).abs() > learning.clip).float(), draws.mask)
        return {name: value.item() for name, value in measured.items()}

    def _descend(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.learning.max_gradient)
        if not torch.isfinite(norm):
            raise ModelError(
                "the gradient is not finite, and the policy was left as it was; lower the learning rate or raise the "
                "KL weight, with another --out"
            )
        self.optimizer.step()


def _means(sums: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: sum(values) / len(values) for name, values in sums.items()}


def _groups(policy: Policy, learning: Learning) -> list[dict[str, Any]]:
    """The parameters, those with a learning rate of their own apart."""
    vectors = [] if policy.vectors is None else [policy.vectors]
    others = [parameter for parameter in policy.parameters() if parameter is not policy.vectors]
    return [{"params": others}, {"params": vectors, "lr": learning.vector_rate * learning.learning_rate}]


def as_generator(policy: Policy, generator: Generator) -> Generator:
    """`generator` with the policy's present weights."""
    config = T5Config.from_json(policy.network.config.to_dict())
    tensors = {name: tensor.detach() for name, tensor in policy.network.named_parameters()}
    writable = generator.network.writable
    network = T5(config, tensors, writable=None if writable is None else writable.tolist())
    return generator.carrying(network, policy.preferences)
