"""What each term is worth for each prompt, learned from all pictures of the run so far.

A picture depends far more on its noise than on one term of its negative prompt, so the draws of a single step say next
to nothing about a term. All draws together say much: within a group, whose pictures begin in the same noise, the
scores are regressed on the terms that were drawn, each with a worth that may vary with what the prompt says. The
regression is a ridge regression, so a worth stays near 0 until pictures speak for it, and its state is one matrix,
however many draws it has seen.

Knows nothing of networks: terms and prompts come as vectors.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

PRIOR = 60.0
"""Draws whose noise a worth must overcome: the ridge."""


class Appraisal:
    """The worth of V tokens for a prompt, in M metrics, each in its own units."""

    def __init__(self, terms: torch.Tensor, features: int, metrics: int, prior: float = PRIOR) -> None:
        """`terms`: float [V, J], what is told of each token, with rows of length about 1; a row of zeros is worth
        nothing. `features`: K, how many numbers are told of a prompt, of squares that sum up to about 1."""
        self.terms, self.prior, self._shape = terms.double(), prior, (terms.shape[1], 1 + features, metrics)
        size = terms.shape[1] * (1 + features)
        self._gram = torch.zeros(size, size, dtype=torch.float64)
        self._right = torch.zeros(size, metrics, dtype=torch.float64)
        self._worths = torch.zeros(self._shape, dtype=torch.float64)

    def learn(self, counts: torch.Tensor, features: torch.Tensor, scores: torch.Tensor, copies: int) -> None:
        """Take note of N draws, the `copies` of a prompt side by side: how often each token stands in them [N, V],
        what their prompts say [N, K], and their scores [N, M]."""
        told = _with_one(features)
        drawn = (counts.double() @ self.terms).unsqueeze(2) * told.unsqueeze(1)
        inputs, answers = _centred(drawn.flatten(1), copies), _centred(scores.double(), copies)
        self._gram += inputs.T @ inputs
        self._right += inputs.T @ answers
        ridge = self._gram + self.prior * torch.eye(len(self._gram), dtype=torch.float64)
        solved = torch.cholesky_solve(self._right, torch.linalg.cholesky(ridge))
        self._worths = solved.view(self._shape)

    def worths(self, features: torch.Tensor) -> torch.Tensor:
        """float32 [N, V, M]: what each token adds to the scores of a draw for prompts that say this, [N, K]."""
        of_terms = torch.einsum("nk,jkm->njm", _with_one(features), self._worths)
        return torch.einsum("vj,njm->nvm", self.terms, of_terms).float()

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"gram": self._gram, "right": self._right, "worths": self._worths}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        self._gram, self._right, self._worths = (state[name].clone() for name in ("gram", "right", "worths"))


def principal(rows: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What tells N vectors apart, [N, D]: their mean [D], and a matrix [D, at most `most`] that takes a vector less
    the mean to its first principal components, scaled so that their squares sum up to 1 on average."""
    mean = rows.mean(0)
    _, spread, directions = torch.linalg.svd(rows - mean, full_matrices=False)
    length = (spread[:most].square().sum() / len(rows)).sqrt().clamp(min=1e-6)
    return mean, directions[:most].T / length


def _with_one(features: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.ones(len(features), 1, dtype=torch.float64), features.double()], 1)


def _centred(rows: torch.Tensor, copies: int) -> torch.Tensor:
    """Each row less the mean of its group."""
    groups = rows.view(-1, copies, rows.shape[1])
    return (groups - groups.mean(1, keepdim=True)).flatten(0, 1)
