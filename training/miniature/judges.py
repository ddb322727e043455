"""The judges of the miniature: they look at pictures only, and know the world only from painted ones.

* a small CLIP (transformers `CLIPModel`), trained by contrast on pictures and captions: alignment;
* an aesthetics head on its picture embedding, in the form of LAION's predictor, that learned the
  painter's quality score;
* a classifier of subject and style (40 classes), for the Inception Score;
* a classifier of defects, for reports only: it never judges what a policy is paid for.

Half of what they are shown went through the autoencoder, so that its touch is no news to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    ConvNextConfig,
    ConvNextForImageClassification,
)

from training.atomic import replace_folder, write_bytes

from .album import as_tensor
from .captions import caption
from .diffusion import text_config, token_ids
from .stage import Stage, rng_of
from .world import DEFECTS, SIZE, STYLES, SUBJECTS, Scene

CLASSES = tuple(f"{subject}, {style}" for subject in SUBJECTS for style in STYLES)
HEAD = "aesthetics.safetensors"


@dataclass
class Views:
    """Pictures to learn from: painted ones, and the autoencoder's reconstruction of the first of them."""

    scenes: Sequence[Scene]
    painted: NDArray[np.uint8]
    rebuilt: NDArray[np.uint8]

    def pick(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Pictures for `batch`, drawn with equal chances."""
        half = count // 2
        return np.concatenate(
            [rng.integers(len(self.painted), size=half), rng.integers(len(self.rebuilt), size=count - half)]
        )

    def batch(self, indices: NDArray[np.int64]) -> torch.Tensor:
        """(n, 3, SIZE, SIZE), -1..1: the first half painted, the second rebuilt."""
        half = len(indices) // 2
        return as_tensor(np.concatenate([self.painted[indices[:half]], self.rebuilt[indices[half:]]]))


def class_of(scene: Scene) -> int:
    return SUBJECTS.index(scene.subject) * len(STYLES) + STYLES.index(scene.style)


def defects_of(scene: Scene) -> list[float]:
    return [float(name in scene.defects) for name in DEFECTS]


class AestheticsHead(torch.nn.Module):
    """Quality, 0 to 10, from a picture embedding of length 1 (LAION's improved-aesthetic-predictor, smaller,
    with an activation between its layers)."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(width, 128),
            torch.nn.GELU(),
            torch.nn.Dropout(0.2),
            torch.nn.Linear(128, 32),
            torch.nn.GELU(),
            torch.nn.Dropout(0.1),
            torch.nn.Linear(32, 1),
        )

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """(n, width) to (n,)."""
        unit = embedding / embedding.norm(dim=-1, keepdim=True)
        # scaled to unit variance per element, which a fresh layer expects
        scores: torch.Tensor = self.layers(unit * unit.shape[-1] ** 0.5)[:, 0] * 2.0 + 5.0
        return scores


def new_clip(tokenizer: CLIPTokenizer, width: int, layers: int, embedding: int) -> CLIPModel:
    text = text_config(tokenizer, width, 2)
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=3 * width,
        projection_dim=embedding,
        num_hidden_layers=layers,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=8,
        hidden_act="gelu",
    )
    clip = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=embedding))
    clip.set_attn_implementation("eager")  # a third of the fused attention's time at this size, on a CPU
    return clip


def new_classifier(labels: Sequence[str], widths: Sequence[int], several: bool) -> ConvNextForImageClassification:
    """`several`: each label on its own may be true (defects)."""
    config = ConvNextConfig(
        num_channels=3,
        patch_size=2,  # a third eye is two pixels wide
        num_stages=len(widths),
        hidden_sizes=list(widths),
        depths=[1] * (len(widths) - 1) + [2],
        image_size=SIZE,
        layer_scale_init_value=0.1,
    )
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    config.problem_type = "multi_label_classification" if several else "single_label_classification"
    return ConvNextForImageClassification(config)


def picture_embedding(clip: CLIPModel, pictures: torch.Tensor) -> torch.Tensor:
    """(n, 3, h, w), -1..1, to (n, embedding), of length 1."""
    embedded = clip.visual_projection(clip.vision_model(pixel_values=pictures).pooler_output)
    return embedded / embedded.norm(dim=-1, keepdim=True)


def text_embedding(clip: CLIPModel, ids: torch.Tensor) -> torch.Tensor:
    """(n, LENGTH) ids to (n, embedding), of length 1."""
    embedded = clip.text_projection(clip.text_model(input_ids=ids).pooler_output)
    return embedded / embedded.norm(dim=-1, keepdim=True)


def train_clip(
    folder: Path,
    clip: CLIPModel,
    tokenizer: CLIPTokenizer,
    views: Views,
    test: Views,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    bf16: bool,
    minutes: float | None,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Contrast of pictures and captions, both ways (Radford et al. 2021, figure 3)."""

    def logits(shown: Views, picked: NDArray[np.int64], rng: np.random.Generator) -> torch.Tensor:
        texts = [caption(shown.scenes[i], rng) for i in picked]
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            seen = picture_embedding(clip, shown.batch(picked))
            read = text_embedding(clip, token_ids(tokenizer, texts))
        return (seen.float() @ read.float().T) * clip.logit_scale.exp().clamp(max=100)

    def loss(step: int) -> torch.Tensor:
        rng = rng_of(4, step)
        table = logits(views, views.pick(rng, batch), rng)
        own = torch.arange(batch)
        cross_entropy = torch.nn.functional.cross_entropy
        return (cross_entropy(table, own) + cross_entropy(table.T, own)) / 2

    def evaluate() -> dict[str, float]:
        table = logits(test, np.arange(min(128, len(test.scenes))), rng_of(5))
        return {"matched_of_128": (table.argmax(1) == torch.arange(len(table))).float().mean().item()}

    stage = Stage(
        folder / "clip", clip, steps=steps, learning_rate=learning_rate, every=250, evaluate=evaluate, facts=facts
    )
    return stage.run(loss, minutes)


@torch.no_grad()
def embed_all(clip: CLIPModel, pictures: NDArray[np.uint8]) -> torch.Tensor:
    return torch.cat([picture_embedding(clip, as_tensor(pictures[i : i + 256])) for i in range(0, len(pictures), 256)])


def train_aesthetics(
    folder: Path,
    head: AestheticsHead,
    clip: CLIPModel,
    views: Views,
    test: Views,
    *,
    steps: int,
    minutes: float | None,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """The head alone, on embeddings made once. It begins anew for every CLIP."""
    known = torch.cat([embed_all(clip, views.painted), embed_all(clip, views.rebuilt)])
    worth = torch.tensor([scene.quality for scene in [*views.scenes, *views.scenes[: len(views.rebuilt)]]])
    unknown = embed_all(clip, test.rebuilt)
    truth = torch.tensor([scene.quality for scene in test.scenes])

    def loss(step: int) -> torch.Tensor:
        picked = torch.from_numpy(rng_of(6, step).integers(len(known), size=512))
        return torch.nn.functional.mse_loss(head(known[picked]), worth[picked])

    def evaluate() -> dict[str, float]:
        return {"r2": (1 - (head(unknown) - truth).square().mean() / truth.var()).item()}

    return Stage(
        folder / f"aesthetics-{facts['clip']}",
        head,
        steps=steps,
        learning_rate=2e-3,
        every=1000,
        evaluate=evaluate,
        facts=facts,
    ).run(loss, minutes)


def train_classifier(
    folder: Path,
    model: ConvNextForImageClassification,
    views: Views,
    test: Views,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    bf16: bool,
    minutes: float | None,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Classes (of subject and style) or defects, whichever the model is for."""
    several = model.config.problem_type == "multi_label_classification"
    labels = targets(model, views.scenes)

    def loss(step: int) -> torch.Tensor:
        picked = views.pick(rng_of(7, step), batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            guessed = model(views.batch(picked)).logits.float()
        if several:
            return torch.nn.functional.binary_cross_entropy_with_logits(guessed, labels[picked])
        return torch.nn.functional.cross_entropy(guessed, labels[picked], label_smoothing=0.02)

    def evaluate() -> dict[str, float]:
        return {
            f"{kind}_{name}": value
            for kind, pictures in (("painted", test.painted), ("rebuilt", test.rebuilt))
            for name, value in accuracy(model, pictures, test.scenes).items()
        }

    name = "defect-classifier" if several else "classifier"
    stage = Stage(
        folder / name, model, steps=steps, learning_rate=learning_rate, every=250, evaluate=evaluate, facts=facts
    )
    return stage.run(loss, minutes)


def targets(model: ConvNextForImageClassification, scenes: Sequence[Scene]) -> torch.Tensor:
    if model.config.problem_type == "multi_label_classification":
        return torch.tensor([defects_of(scene) for scene in scenes])
    return torch.tensor([class_of(scene) for scene in scenes])


@torch.no_grad()
def classify(model: ConvNextForImageClassification, pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Probabilities, (n, labels), of (n, h, w, 3) bytes: shares of 1, or each label's own."""
    parts = [model(as_tensor(pictures[i : i + 256])).logits for i in range(0, len(pictures), 256)]
    logits = torch.cat(parts)
    return logits.sigmoid() if model.config.problem_type == "multi_label_classification" else logits.softmax(-1)


def accuracy(
    model: ConvNextForImageClassification, pictures: NDArray[np.uint8], scenes: Sequence[Scene]
) -> dict[str, float]:
    """Shares of right answers; of defects the mean over defects of (sensitivity + specificity) / 2."""
    seen, truth = classify(model, pictures), targets(model, scenes)
    if model.config.problem_type == "multi_label_classification":
        hit, has = (seen > 0.5).float(), truth > 0.5
        halves = [((hit[has[:, d], d].mean() + 1 - hit[~has[:, d], d].mean()) / 2).item() for d in range(len(DEFECTS))]
        return {"balanced": float(np.nanmean(halves)), "worst": float(np.nanmin(halves))}
    guess = seen.argmax(-1)
    subject = (guess // len(STYLES) == truth // len(STYLES)).float().mean().item()
    style = (guess % len(STYLES) == truth % len(STYLES)).float().mean().item()
    return {"subject": subject, "style": style}


@dataclass
class Judges:
    """All of them, ready to judge."""

    clip: CLIPModel
    tokenizer: CLIPTokenizer
    head: AestheticsHead
    classifier: ConvNextForImageClassification
    defects: ConvNextForImageClassification

    def alignment(self, pictures: NDArray[np.uint8], prompts: Sequence[str]) -> NDArray[np.float64]:
        """Cosine of picture and prompt, -1..1, (n,)."""
        with torch.no_grad():
            read = text_embedding(self.clip, token_ids(self.tokenizer, prompts))
            return (embed_all(self.clip, pictures) * read).sum(-1).double().numpy()

    def aesthetics(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Quality as the painter would score it, about 0 to 10, (n,)."""
        with torch.no_grad():
            return self.head(embed_all(self.clip, pictures)).double().numpy()

    def classes(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        """p(subject and style), (n, 40)."""
        return classify(self.classifier, pictures).double().numpy()

    def defect_rates(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        """p(defect) of each defect, (n, 16)."""
        return classify(self.defects, pictures).double().numpy()


def save_clip(folder: Path, clip: CLIPModel, tokenizer: CLIPTokenizer) -> None:
    """`folder` as transformers knows it, in half precision."""
    with replace_folder(folder) as fresh:
        deepcopy(clip).half().save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)


def save_head(folder: Path, head: AestheticsHead) -> None:
    """Beside the CLIP in `folder` that it reads."""
    write_bytes(folder / HEAD, save(_half(head)))


def save_classifier(folder: Path, model: ConvNextForImageClassification) -> None:
    """`folder` as transformers knows it, in half precision."""
    with replace_folder(folder) as fresh:
        deepcopy(model).half().save_pretrained(fresh)


def _half(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach().half().contiguous() for name, weight in model.state_dict().items()}


def open_judges(folder: Path) -> Judges:
    clip = CLIPModel.from_pretrained(folder / "clip", dtype=torch.float32).eval()
    head = AestheticsHead(clip.config.projection_dim).eval()
    head.load_state_dict({name: weight.float() for name, weight in load_file(folder / "clip" / HEAD).items()})
    classifier = ConvNextForImageClassification.from_pretrained(folder / "classifier", dtype=torch.float32).eval()
    defects = ConvNextForImageClassification.from_pretrained(folder / "defect-classifier", dtype=torch.float32).eval()
    return Judges(clip, CLIPTokenizer.from_pretrained(folder / "clip"), head, classifier, defects)
