"""The critic of `group`: an `Appraisal` of the tokens that a policy can write, for prompts as the first policy reads
them.

Prompts and tokens are told apart by the first policy's own vectors, which stay what they are while the policy learns,
so that draws of the whole run speak of the same things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from training.examples import END_TOKEN

from .appraisal import Appraisal, principal
from .policy import Draws, Policy

TOKENS, FEATURES = 64, 16
"""The most numbers that are told of a token; and of a prompt, by its words and by what the policy makes of them."""
PROMPTS = 1_000
"""So many show what tells prompts apart."""


class Critic:
    """What each token of a policy's vocabulary adds to each of `metrics`."""

    def __init__(self, first: Policy, sources: Sequence[Sequence[int]], metrics: Sequence[str]) -> None:
        """`first`: a policy that does not learn. `sources`: the tokens of prompts such as it will read."""
        self._first, self.metrics = first, tuple(metrics)
        seen = first.meanings(sources[:PROMPTS])
        self._views = [principal(seen[:, view], FEATURES) for view in range(seen.shape[1])]
        features = sum(basis.shape[1] for _, basis in self._views)
        self._appraisal = Appraisal(_told_of_tokens(first), features, len(self.metrics))

    def learn(self, draws: Draws, scores: Mapping[str, torch.Tensor], copies: int) -> None:
        """Take note of draws, the `copies` of a prompt side by side, and their scores [B] in each metric."""
        answers = torch.stack([scores[name] for name in self.metrics], 1)
        self._appraisal.learn(_counts(draws), self._features(draws), answers, copies)

    def worths(self, draws: Draws, weights: Mapping[str, float | torch.Tensor]) -> torch.Tensor:
        """float32 [B, W]: what each token adds to the reward of a draw, where each metric counts its weight, one
        number or [B]."""
        found = self._appraisal.worths(self._features(draws))
        counting = [torch.as_tensor(weights.get(name, 0.0)).expand(len(draws)) for name in self.metrics]
        return torch.einsum("bwm,bm->bw", found, torch.stack(counting, 1).float())

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self._appraisal.state_dict()

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        self._appraisal.load_state_dict(state)

    def _features(self, draws: Draws) -> torch.Tensor:
        read = self._first.meaning(draws.input_ids, draws.attention_mask)
        told = [(read[:, view] - mean) @ basis for view, (mean, basis) in enumerate(self._views)]
        return torch.cat(told, 1) / len(told) ** 0.5


def expected_of(draws: Draws, worths: torch.Tensor) -> torch.Tensor:
    """float32 [B]: the sum of the worths [B, W] of what was drawn."""
    return (worths.gather(1, draws.tokens) * draws.mask).sum(1)


def _counts(draws: Draws) -> torch.Tensor:
    """How often each of the W tokens was drawn, float [B, W]."""
    counts = torch.zeros(len(draws), draws.allowed.shape[-1])
    return counts.scatter_add_(1, draws.tokens, draws.mask.float())


def _told_of_tokens(policy: Policy) -> torch.Tensor:
    """[W, at most TOKENS]: each token by itself where they are few, else the main directions of their embeddings. The
    end of a list is worth nothing."""
    if len(policy.writable) <= TOKENS:
        told = torch.eye(len(policy.writable))
    else:
        embedded = policy.network.shared.weight.detach()[policy.writable].float()
        mean, basis = principal(embedded, TOKENS)
        told = (embedded - mean) @ basis
    told[torch.eq(policy.writable, END_TOKEN)] = 0.0
    return told
