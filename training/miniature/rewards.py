"""The miniature's judges as rewards."""

from __future__ import annotations

from pathlib import Path

import torch

from training.rewards import Aesthetics, Alignment, Fidelity, Judge

from .diffusion import token_ids
from .judges import open_judges, picture_embedding, text_embedding


def judges_of(folder: Path) -> dict[str, Judge]:
    """Aesthetics, alignment and fidelity by the judges in `folder` (as `build` writes them). The classifier of
    defects is not among them: it is for reports only."""
    judges = open_judges(folder)

    def embed(images: torch.Tensor) -> torch.Tensor:
        return picture_embedding(judges.clip, 2 * images - 1)

    def classify(images: torch.Tensor) -> torch.Tensor:
        probabilities: torch.Tensor = judges.classifier(2 * images - 1).logits.softmax(-1)
        return probabilities

    return {
        "aesthetics": Aesthetics(embed, judges.head),
        "alignment": Alignment(embed, lambda texts: text_embedding(judges.clip, token_ids(judges.tokenizer, texts))),
        "fidelity": Fidelity(classify),
    }
