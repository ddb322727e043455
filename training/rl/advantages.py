"""How much better than expected a draw was: against the other draws of its prompt, or against a value head."""

from __future__ import annotations

import torch


def group_advantages(rewards: torch.Tensor) -> torch.Tensor:
    """float [P, G]: each reward of a prompt's G draws less the mean of the others', in units of the spread.

    The baseline leaves the draw itself out, so that it does not depend on it and the gradient stays unbiased
    (Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for free!"). The unit is one for all prompts,
    the root mean square within the groups: dividing by each group's own spread would make much of prompts
    whose draws hardly differ. All zeros where nothing differs. G must be at least 2.
    """
    draws = rewards.shape[1]
    against_mean = rewards - rewards.mean(1, keepdim=True)
    spread = against_mean.square().mean().sqrt()
    return against_mean * (draws / (draws - 1)) / spread if spread > 0 else torch.zeros_like(rewards)


def generalized_advantages(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, discount: float = 1.0, decay: float = 0.95
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns, float [B, T] each, 0 outside the mask (GAE, Schulman et al. 2016, arXiv:1506.02438,
    equation 16).

    `rewards` [B, T] given after each step, `values` [B, T] expected before it, `mask` bool [B, T] True at real
    steps, which come first. After the last real step nothing more is expected.
    """
    steps = rewards.shape[1]
    advantages = torch.zeros_like(rewards)
    later = torch.zeros_like(rewards[:, 0])
    for step in reversed(range(steps)):
        here = mask[:, step]
        goes_on = mask[:, step + 1] if step + 1 < steps else torch.zeros_like(here)
        following = torch.where(goes_on, values[:, step + 1] if step + 1 < steps else later, 0.0)
        surprise = rewards[:, step] + discount * following - values[:, step]
        later = torch.where(here, surprise + discount * decay * later, 0.0)
        advantages[:, step] = later
    return advantages, torch.where(mask, advantages + values, 0.0)
