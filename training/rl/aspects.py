"""What tells prompts apart, in a few numbers each: the main directions in which their embeddings differ.

CLIP puts a text where pictures of what it says lie. So prompts that call for like pictures are near each other, in
whatever words, and whether a style is asked for at all is as plain there as which one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from negopt.prompt import read_prompt

MOST = 48
"""Aspects, of which each costs a critic as much as a term."""
KEPT = 0.999
"""Share of the embeddings' variance that aspects hold, where so many suffice: the rest is noise."""
SPREAD = 1.2
"""Root of the mean square of a prompt's aspects together; what is told of every prompt is 1."""

Read = Callable[[Sequence[str]], torch.Tensor]
"""The embeddings of texts, [B, E], of any length."""


class Aspects:
    """Prompts as vectors: principal components of their embeddings' directions. Each is scaled by the root of its
    spread: larger differences say more, but not as much more as they are larger."""

    def __init__(self, read: Read, prompts: Sequence[str]) -> None:
        """`prompts`: such as are to be told apart."""
        self._read = read
        embedded = self._embedded(prompts)
        self._mean = embedded.mean(0)
        _, spreads, directions = torch.linalg.svd(embedded - self._mean, full_matrices=False)
        variances = spreads.square() / spreads.square().sum().clamp(min=1e-12)
        kept = min(MOST, 1 + int((variances.cumsum(0) < KEPT).sum()), int((variances > 1e-6).sum()))
        scale = SPREAD * (len(prompts) / spreads[:kept].sum().clamp(min=1e-12)).sqrt()
        self._axes = scale * directions[:kept].T / spreads[:kept].sqrt()
        self._known: dict[str, torch.Tensor] = {}
        """Of prompts that were asked for: a run comes back to its prompts."""

    def __len__(self) -> int:
        """K, how many there are."""
        return self._axes.shape[1]

    def __call__(self, prompts: Sequence[str]) -> torch.Tensor:
        """float32 [B, K]."""
        if new := list(dict.fromkeys(prompt for prompt in prompts if prompt not in self._known)):
            self._known.update(zip(new, (self._embedded(new) - self._mean) @ self._axes, strict=True))
        return torch.stack([self._known[prompt] for prompt in prompts])

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"mean": self._mean, "axes": self._axes}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        self._mean, self._axes = state["mean"].clone(), state["axes"].clone()
        self._known = {}

    @torch.no_grad()
    def _embedded(self, prompts: Sequence[str]) -> torch.Tensor:
        said = [read_prompt(prompt).text for prompt in prompts]  # in plain words, without the hosts' syntax
        return torch.nn.functional.normalize(self._read(said).float().cpu(), dim=1)
