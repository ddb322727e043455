"""Writing a model folder: what `negopt.load` and transformers' `from_pretrained` both open.

The layout is Hugging Face's: config.json, model.safetensors (half precision), tokenizer.json,
generation_config.json, and a model card; `negopt.json` holds what only the generator reads.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import T5ForConditionalGeneration

from negopt.locate import CONFIG, PREFERENCE, SETTINGS, TOKENIZER, WEIGHTS
from negopt.preference import Preferences

ENOUGH_AUTHORS = 5
TOKENIZER_CONFIG = "tokenizer_config.json"


def write_model(
    folder: Path,
    model: T5ForConditionalGeneration,
    tokenizer_file: Path,
    settings: dict[str, Any],
    dtype: torch.dtype = torch.float16,
    preferences: Preferences | None = None,
) -> None:
    """Write all files but the card into an existing, empty folder. The few vectors of `preferences` keep the precision
    that they have."""
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.named_parameters()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = {**model.config.to_diff_dict(), "dtype": str(dtype).removeprefix("torch.")}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    model.generation_config.save_pretrained(folder)
    shutil.copyfile(tokenizer_file, folder / TOKENIZER)
    described = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": 512,
    }
    (folder / TOKENIZER_CONFIG).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    if preferences:
        save_file(dict(zip(preferences.metrics, preferences.vectors.clone(), strict=True)), folder / PREFERENCE)
        settings = {**settings, "metrics": preferences.metrics}
    text = json.dumps(settings, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / SETTINGS).write_text(text + "\n", encoding="utf-8")


def learn_settings(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What the generator wants to know of people's habits: see `negopt.model_files.Settings`.

    A term's emphasis is the median of all weights that people gave it, plain ones counted as 1, where
    at least 20 wrote it; medians below 1.05 say that it is usually left plain. An embedding's name is
    its most frequent spelling.
    """
    weights: defaultdict[str, list[float]] = defaultdict(list)
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    authors: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        for term, weight in zip(row["terms"], row["weights"], strict=True):
            weights[term].append(weight)
            if len(authors[term]) < ENOUGH_AUTHORS:
                authors[term].add(row["page"])
        for name in row["embeddings"]:
            spellings[name.lower()][name] += 1
    medians = {t: statistics.median(ws) for t, ws in weights.items() if len(ws) >= 20}
    return {
        "emphasis": {t: round(min(w, 1.5), 2) for t, w in medians.items() if w >= 1.05},
        "embeddings": {
            name: max(counts, key=lambda spelled: (counts[spelled], spelled))
            for name, counts in spellings.items()
            if counts.total() >= 20
        },
        "terms": sorted(term for term, pages in authors.items() if len(pages) >= ENOUGH_AUTHORS),
    }
