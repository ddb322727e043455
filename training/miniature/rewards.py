"""The miniature's judges as rewards, and those that only report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import ConvNextForImageClassification

from training.rewards import Aesthetics, Alignment, Fidelity, Judge
from training.rewards.judge import Unlearning
from training.rewards.once import once

from .diffusion import token_ids
from .judges import Judges, picture_embedding, text_embedding
from .world import SIZE


def judges_of(judges: Judges) -> dict[str, Judge]:
    """Aesthetics, alignment and fidelity. The classifier of defects is not among them: it is for reports only."""

    @once
    def embed(images: torch.Tensor) -> torch.Tensor:
        return picture_embedding(judges.clip, _fitted(images))

    def classify(images: torch.Tensor) -> torch.Tensor:
        probabilities: torch.Tensor = judges.classifier(_fitted(images)).logits.softmax(-1)
        return probabilities

    return {
        "aesthetics": Aesthetics(embed, judges.head),
        "alignment": Alignment(embed, reader_of(judges)),
        "fidelity": Fidelity(classify),
    }


def reader_of(judges: Judges) -> Callable[[Sequence[str]], torch.Tensor]:
    """What gives the embeddings of texts, [B, E], each distinct one read once."""

    def read(texts: Sequence[str]) -> torch.Tensor:
        distinct = list(dict.fromkeys(texts))
        rows = dict(zip(distinct, text_embedding(judges.clip, token_ids(judges.tokenizer, distinct)), strict=True))
        return torch.stack([rows[text] for text in texts])

    return read


def _fitted(images: torch.Tensor) -> torch.Tensor:
    """As the judges take them, -1 to 1 and SIZE wide, from [B, 3, H, W], 0 to 1, of any size."""
    if images.shape[-2:] != (SIZE, SIZE):
        images = torch.nn.functional.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True)
    return 2 * images - 1


class Defects(Unlearning):
    """How many defects a picture has, as far as the classifier detects them (p > 0.5): fewer are better. For reports
    only, never a reward: a policy that is paid for it would no longer be judged by it."""

    def __init__(self, classifier: ConvNextForImageClassification) -> None:
        self._classifier = classifier
        self.labels = tuple(str(label) for _, label in sorted(dict(classifier.config.id2label or {}).items()))

    @torch.no_grad()
    def observe(self, images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """Each defect's probability, [B, len(labels)]."""
        probabilities: torch.Tensor = self._classifier(_fitted(images)).logits.sigmoid()
        return probabilities.float().cpu()

    def score(self, observed: torch.Tensor) -> torch.Tensor:
        return (observed > 0.5).sum(1).float()


def reporters_of(folder: Path) -> dict[str, Defects]:
    """The judges in `folder` that count for nothing but the record; none where there is no classifier of defects."""
    found = folder / "defect-classifier"
    if not found.is_dir():
        return {}
    return {"defects": Defects(ConvNextForImageClassification.from_pretrained(found, dtype=torch.float32).eval())}
