"""What each term is worth for each prompt, learned from all pictures of the run so far, and how surely.

A picture depends far more on its noise than on one term of its negative prompt, so the draws of a single step say next
to nothing about a term. All draws together say much: within a group, whose pictures begin in the same noise, the
scores are regressed on the terms that were drawn, each with a worth that may vary with what the prompt says. The
regression is Bayesian: a worth stays near 0 until pictures speak for it, and it is known how far it may be off. How
far terms and words matter at all is learned, too: what colours do is soon left out, and styles are the sooner
understood. Its state is one matrix, however many draws it has seen.

Knows nothing of networks or texts: terms are columns, and prompts come as vectors.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

PRIOR = 10.0
"""Draws whose noise a worth must overcome: how much larger the noise of a draw is than a worth is likely to be, in
squares; at first, until the regression knows better."""
BETWEEN = 10
"""Batches of draws between two estimates of how far terms and words matter."""
LEAST, MOST = 1.0, 1e4
"""Bounds of `PRIOR`'s successors."""


class Appraisal:
    """The worth of V terms for a prompt, in M metrics, each in its own units."""

    def __init__(self, terms: int, features: int, metrics: int, prior: float = PRIOR) -> None:
        """`terms`: V. `features`: K, how many numbers are told of a prompt, each of about 1 or less."""
        self._shape = terms, 1 + features, metrics
        self._ridge = torch.full((terms, 1 + features), prior)
        size = terms * (1 + features)
        self._gram = torch.zeros(size, size, dtype=torch.float64)
        self._right = torch.zeros(size, metrics, dtype=torch.float64)
        self._squares = torch.zeros(metrics, dtype=torch.float64)
        self._free = 0
        """Draws that could differ: all but one of each group."""
        self._batches = 0
        self._solve()

    def learn(self, drawn: torch.Tensor, features: torch.Tensor, scores: torch.Tensor, copies: int) -> None:
        """Take note of N draws, the `copies` of a prompt side by side: which terms stand in them, 0 or 1 [N, V], what
        their prompts say [N, K], and their scores [N, M]."""
        inputs = _centred((drawn.unsqueeze(2) * _with_one(features).unsqueeze(1)).flatten(1), copies).double()
        answers = _centred(scores.double(), copies)
        self._gram.addmm_(inputs.T, inputs)
        self._right += inputs.T @ answers
        self._squares += answers.square().sum(0)
        self._free += len(drawn) // copies * (copies - 1)
        self._batches += 1
        self._solve()
        if self._batches % BETWEEN == 0:
            self._weigh()
            self._solve()

    def worths(self, features: torch.Tensor) -> torch.Tensor:
        """float32 [N, V, M]: what each term most likely adds to the scores of a draw, for prompts that say this,
        [N, K]."""
        return torch.einsum("nk,vkm->nvm", _with_one(features), self._worths.view(self._shape))

    def supposed(self, features: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """As `worths`, but each row by worths of its own, drawn from what may be true after all that was seen."""
        noise = torch.randn(len(self._worths), len(features) * self._shape[2], generator=random)
        off = torch.linalg.solve_triangular(self._root.T, noise, upper=True).view(*self._shape[:2], len(features), -1)
        return self.worths(features) + torch.einsum("nk,vknm->nvm", _with_one(features), off) * self._noise().sqrt()

    def state_dict(self) -> dict[str, torch.Tensor]:
        counted = torch.tensor([self._free, self._batches])
        sums = {"gram": self._gram, "right": self._right, "squares": self._squares}
        return {**sums, "ridge": self._ridge, "counted": counted}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        names = "gram", "right", "squares", "ridge"
        self._gram, self._right, self._squares, self._ridge = (state[name].clone() for name in names)
        self._free, self._batches = state["counted"].tolist()
        self._solve()

    def _solve(self) -> None:
        """In single precision, at half of the time: the ridge keeps the matrix far from singular."""
        matrix = self._gram.float()
        matrix.diagonal().add_(self._ridge.flatten())
        self._root = torch.linalg.cholesky(matrix)
        self._worths = torch.cholesky_solve(self._right.float(), self._root)

    def _weigh(self) -> None:
        """Let each worth be as large as those of its term and of its word have turned out to be: automatic relevance
        determination (MacKay 1994; a step of expectation maximisation, as in Tipping 2001), with the product of one
        number a term and one a word in place of one a worth."""
        noise = self._noise()
        if not noise.min() > 0:  # all alike so far
            return
        open_still = torch.cholesky_inverse(self._root).diagonal()
        sizes = ((self._worths.square() / noise).mean(1) + open_still).view(self._shape[:2])
        of_terms, of_words = sizes.mean(1, keepdim=True), sizes.mean(0, keepdim=True)
        self._ridge = (sizes.mean() / (of_terms * of_words)).clamp(LEAST, MOST)

    def _noise(self) -> torch.Tensor:
        """float32 [M]: the variance of a draw's scores within its group."""
        return (self._squares / max(self._free, 1)).float()


def _with_one(features: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.ones(len(features), 1), features], 1)


def _centred(rows: torch.Tensor, copies: int) -> torch.Tensor:
    """Each row less the mean of its group."""
    groups = rows.view(-1, copies, rows.shape[1])
    return (groups - groups.mean(1, keepdim=True)).flatten(0, 1)
