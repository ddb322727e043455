"""What each term is worth for each prompt, learned from all pictures of the run so far, and how surely.

A picture depends far more on its noise than on one term of its negative prompt, so the draws of a single step say next
to nothing about a term. All draws together say much: within a group, whose pictures begin in the same noise, the
scores are regressed on the terms that were drawn, each with a worth that may vary with what the prompt says. The
regression is Bayesian: a worth stays near 0 until pictures speak for it, and it is known how far it may be off. How
far each term and each aspect of prompts matters to a metric is learned, too: what a colour does is soon left out, and
styles are the sooner understood. Its state is one matrix, however many draws it has seen.

Knows nothing of networks or texts: terms are columns, and prompts come as vectors.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

PRIOR = 10.0
"""Draws whose noise a worth must overcome: how much larger the noise of a draw is than a worth is likely to be, in
squares; at first, until the regression knows better."""
BETWEEN = 5
"""Batches of draws between two estimates of how far terms and features matter."""
LEAST, MOST = 1.0, 1e4
"""Bounds of `PRIOR`'s successors."""
LITTLE = 1e-3
"""The least that pictures count as having settled of a worth."""


class Appraisal:
    """The worth of V terms for a prompt, in M metrics, each in its own units."""

    def __init__(self, terms: int, features: int, metrics: int, prior: float = PRIOR) -> None:
        """`terms`: V. `features`: K, how many numbers are told of a prompt, each of about 1 or less."""
        self._shape = metrics, terms, 1 + features
        self._ridge = torch.full(self._shape, prior)
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
        return torch.einsum("nk,mvk->nvm", _with_one(features), self._worths.view(self._shape))

    def supposed(self, features: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """As `worths`, but each row by worths of its own, drawn from what may be true after all that was seen."""
        noise = torch.randn(*self._worths.shape, len(features), generator=random)
        off = torch.linalg.solve_triangular(self._root.mT, noise, upper=True).view(*self._shape, len(features))
        return self.worths(features) + torch.einsum("nk,mvkn->nvm", _with_one(features), off) * self._noise().sqrt()

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
        """In single precision, at half of the time: the ridge keeps the matrices far from singular."""
        matrices = torch.diag_embed(self._ridge.flatten(1)).add_(self._gram.float())
        self._root = torch.linalg.cholesky(matrices)
        self._worths = torch.cholesky_solve(self._right.float().T.unsqueeze(2), self._root).squeeze(2)

    def _weigh(self) -> None:
        """Let each worth be as large as those of its term and of its feature have turned out to be in its metric:
        automatic relevance determination by MacKay's fixed point (1992, Bayesian Interpolation: the sum of squares over
        the prior's variance is the number of well-determined parameters), with the product of one number a term and
        one a feature in place of one a worth."""
        noise = self._noise().view(-1, 1, 1)
        if not noise.min() > 0:  # all alike so far
            return
        open_still = torch.cholesky_inverse(self._root).diagonal(dim1=1, dim2=2).view(self._shape)
        settled = (1 - self._ridge * open_still).clamp(min=LITTLE)
        squares = self._ridge * self._worths.view(self._shape).square() / noise

        def larger_than_supposed(*over: int) -> torch.Tensor:
            return squares.sum(over, keepdim=True).clamp(min=1e-9) / settled.sum(over, keepdim=True)

        ratio = larger_than_supposed(1, 2) / (larger_than_supposed(2) * larger_than_supposed(1))
        self._ridge = (self._ridge * ratio).clamp(LEAST, MOST)

    def _noise(self) -> torch.Tensor:
        """float32 [M]: the variance of a draw's scores within its group."""
        return (self._squares / max(self._free, 1)).float()


def _with_one(features: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.ones(len(features), 1), features], 1)


def _centred(rows: torch.Tensor, copies: int) -> torch.Tensor:
    """Each row less the mean of its group."""
    groups = rows.view(-1, copies, rows.shape[1])
    return (groups - groups.mean(1, keepdim=True)).flatten(0, 1)
