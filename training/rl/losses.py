"""What is minimised. Every loss is a mean over the real steps of its batch (mask True)."""

from __future__ import annotations

import torch


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean of values [B, T] where mask [B, T] is True."""
    return (values * mask).sum() / mask.sum()


def clipped_policy_loss(
    log_probs: torch.Tensor, drawn_log_probs: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor, clip: float
) -> torch.Tensor:
    """PPO's clipped surrogate, negated (Schulman et al. 2017, arXiv:1707.06347, equation 7). All [B, T]."""
    ratio = (log_probs - drawn_log_probs).exp()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return -masked_mean(surrogate, mask)


def clipped_value_loss(
    values: torch.Tensor, drawn_values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, clip: float
) -> torch.Tensor:
    """Half the squared error of the value head, which may not move by more than `clip` at once (as in PPO's own
    code, github.com/openai/baselines). All [B, T]."""
    moved = drawn_values + (values - drawn_values).clamp(-clip, clip)
    errors = torch.maximum((values - returns).square(), (moved - returns).square())
    return 0.5 * masked_mean(errors, mask)


def divergence(log_probs: torch.Tensor, reference_log_probs: torch.Tensor) -> torch.Tensor:
    """KL(policy || reference) in nats [B, T], exact, of log-probabilities [B, T, V] (-inf: not allowed).

    Its gradient is written out, as the sum of p (log p/q - KL) grad log p: equal to that of the definition, but
    exactly 0 where both agree, where the definition's is a sum of rounding errors that Adam would follow.
    """
    allowed = log_probs > -torch.inf
    known = torch.where(allowed, log_probs, 0.0)
    with torch.no_grad():
        p = log_probs.exp()
        difference = torch.where(allowed, log_probs - reference_log_probs, 0.0)
        total = (p * difference).sum(-1)
    slope = (p * (difference - total.unsqueeze(-1)) * known).sum(-1)
    return total + slope - slope.detach()


def entropy(log_probs: torch.Tensor) -> torch.Tensor:
    """In nats [B, T], of log-probabilities [B, T, V] (-inf: not allowed)."""
    return -(log_probs.exp() * torch.where(log_probs > -torch.inf, log_probs, 0.0)).sum(-1)


class AdaptiveKL:
    """A weight for the divergence that keeps it near a target (Ziegler et al. 2019, arXiv:1909.08593, section 2.2)."""

    def __init__(self, weight: float, target: float, horizon: int = 10_000) -> None:
        """`horizon`: draws over which the weight may change by its own size."""
        self.weight, self.target, self.horizon = weight, target, horizon

    def update(self, measured: float, draws: int) -> None:
        """Raise the weight where the divergence, in nats a draw, is above its target, lower it where below."""
        error = min(0.2, max(-0.2, measured / self.target - 1))
        self.weight *= 1 + error * draws / self.horizon
