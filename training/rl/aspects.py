"""What tells prompts apart, in a few numbers each: the main directions in which their embeddings differ.

CLIP puts a text where pictures of what it says lie. So prompts that call for like pictures are near each other, in
whatever words, and whether a style is asked for at all is as plain there as which one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch.nn.functional import normalize
from tqdm import tqdm

from negopt.errors import OptionError
from negopt.prompt import in_words

MOST = 48
"""Aspects, of which each costs a critic as much as a term."""
KEPT = 0.999
"""Share of the embeddings' variance that aspects hold, where so many suffice: the rest is noise."""
SPREAD = 1.2
"""Root of the mean square of a prompt's aspects together; what is told of every prompt is 1."""
AT_ONCE = 256
"""Prompts between two moves of the progress bar."""

Read = Callable[[Sequence[str]], torch.Tensor]
"""The embeddings of texts, [B, E], of any length."""


class Aspects:
    """Prompts as vectors: principal components of their embeddings' directions. Each is scaled by the root of its
    spread: larger differences say more, but not as much more as they are larger."""

    def __init__(self, read: Read, prompts: Sequence[str]) -> None:
        """Reads all of `prompts`, which takes a while where there are thousands; there are vectors for no others."""
        distinct = list(dict.fromkeys(prompts))
        self._rows = {prompt: row for row, prompt in enumerate(distinct)}
        self._vectors = _components(_embedded(read, distinct))

    def __len__(self) -> int:
        """K, how many there are."""
        return self._vectors.shape[1]

    def __call__(self, prompts: Sequence[str]) -> torch.Tensor:
        """float32 [B, K]."""
        return self._vectors[[self._rows[prompt] for prompt in prompts]]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The vectors as they are: on another machine components may come in another order, or with another sign."""
        return {"aspects": self._vectors}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """`OptionError` for those of other prompts."""
        if state["aspects"].shape != self._vectors.shape:
            raise OptionError("the run was begun with other prompts: its critic knows nothing of these")
        self._vectors = state["aspects"].clone()


@torch.no_grad()
def _embedded(read: Read, prompts: Sequence[str]) -> torch.Tensor:
    """Of length 1, [B, E]."""
    said = [in_words(prompt) for prompt in prompts]
    parts = []
    hidden = len(said) <= AT_ONCE
    with tqdm(total=len(said), desc="reading", unit="prompt", mininterval=2.0, leave=False, disable=hidden) as bar:
        for start in range(0, len(said), AT_ONCE):
            part = said[start : start + AT_ONCE]
            parts.append(read(part).float().cpu())
            bar.update(len(part))
    return normalize(torch.cat(parts), dim=1)


def _components(embedded: torch.Tensor) -> torch.Tensor:
    """[B, K] of [B, E]."""
    centred = embedded.double() - embedded.double().mean(0)
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    variances, axes = variances.flip(0).clamp(min=0), axes.flip(1)
    whole = variances.sum().clamp(min=1e-12)
    kept = min(MOST, 1 + int((variances.cumsum(0) < KEPT * whole).sum()), int((variances > 1e-6 * whole).sum()))
    spreads = variances[:kept].sqrt()
    return (SPREAD * (centred @ axes[:, :kept]) / (spreads * spreads.sum()).sqrt()).float()
