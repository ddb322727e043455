"""A small model of random weights that writes a handful of terms: what reinforcement learning begins from in tests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch

from negopt.tokenizer import TermTokenizer
from training.export import write_model
from training.model import new_network
from training.recipes import PRESETS
from training.vocabulary import build_vocabulary

TERMS = ["blurry", "grainy", "watermark", "text", "cropped", "extra eyes", "leaning", "wilted", "logo", "noise"]
PROMPTS = ["a face", "a house", "a red flower", "a blue boat at night"]


def tiny_policy(folder: Path, anchor: float, width: int = 32) -> Path:
    """Write the model into `folder`/model; with `anchor` 1 its terms are judged on their own, with 0 step by step."""
    rng = random.Random(0)
    lists = [rng.sample(TERMS, rng.randint(2, 6)) for _ in range(400)]
    tokenizer = folder / "vocabulary.json"
    build_vocabulary([rng.choice(PROMPTS) for _ in lists], lists).save(str(tokenizer))
    torch.manual_seed(0)
    recipe = PRESETS["mini"].changed(d_model=width, d_kv=8, d_ff=64, heads=4, encoder_layers=1, decoder_layers=1)
    network = new_network(len(TermTokenizer.from_file(tokenizer)), recipe)
    model = folder / "model"
    model.mkdir()
    settings = {"length": 4, "anchor": anchor, "terms": TERMS, "order": "free"}
    write_model(model, network, tokenizer, settings, torch.float32)
    return model


def read(texts: Sequence[str]) -> torch.Tensor:
    """Embeddings of texts, such as a critic needs: which of the words of `PROMPTS` stand there, [B, E]."""
    words = sorted({word for prompt in PROMPTS for word in prompt.split()})
    return torch.tensor([[float(word in text.split()) for word in words] for text in texts])
