"""The model card: it says of the data what the data set's build says, and nothing of where files lay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import T5Config, T5ForConditionalGeneration

from training.card import model_card, taught_card

from .tiny_t5 import config_json

CIVITAI = "dfanr/CivitaiModelList"
STATE = {
    "recipe": {"base": "mini"},
    "history": [{"step": 1, "nats_per_term": 5.0, "term_f1": 0.3}],
    "pairs": 90,
    "step": 1,
    "seconds": 1.0,
    "best_step": 1,
}


def card_of(folder: Path, **build: Any) -> str:
    """The card of a model that learned from a data set whose build.json holds `build`."""
    record = {
        "options": {"keep_model_written": False},
        "one_author": False,
        "shared_prompts": False,
        "rows": {"train": 90, "validation": 5, "test": 5},
        "sources": {"pics": 100},
        "licences": {"unknown": 100},
        **build,
    }
    (folder / "build.json").write_text(json.dumps(record), "utf-8")
    network = T5ForConditionalGeneration(T5Config(**config_json()))
    return model_card(STATE, folder, network)


def test_of_ones_own_pictures_it_claims_nothing_that_nobody_knows(tmp_path: Path) -> None:
    card = card_of(tmp_path, one_author=True)
    assert "nearly all by one author, who is in all of them; from one source." in card
    assert "pairs that people wrote" in card
    assert "language model wrote were left out, too" in card
    for word in ("no author or page", "public", "pics", "1 source", "2023", "anime"):
        assert word not in card


def test_it_says_what_was_kept_and_how_it_was_split(tmp_path: Path) -> None:
    card = card_of(tmp_path, options={"keep_model_written": True}, shared_prompts=True, licences={"cc0-1.0": 100})
    assert "language model wrote were kept" in card
    assert "no prompt in two of them" in card
    for words in ("no author or page", "were left out, too", "pairs that people wrote", "states no licence"):
        assert words not in card


def test_what_is_known_of_the_bundled_data_is_said_of_no_other(tmp_path: Path) -> None:
    card = card_of(tmp_path, sources={CIVITAI: 95, "mine.jsonl": 5})
    assert f"no author or page in two of them; from 2 sources, 95% of the pairs from the largest ({CIVITAI})." in card
    assert "Most of its pairs are English, from 2023" in card
    assert "for most of them their source states no licence" in card
    assert "2023" not in card_of(tmp_path, sources={CIVITAI: 40, "mine.jsonl": 60})


@pytest.mark.parametrize("record", [None, "no JSON", "[1]", '{"rows": {}}'])
def test_of_a_data_set_of_another_making_it_says_so(tmp_path: Path, record: str | None) -> None:
    if record is not None:
        (tmp_path / "build.json").write_text(record)
    card = model_card(STATE, tmp_path, T5ForConditionalGeneration(T5Config(**config_json())))
    assert "No record of a build was found" in card
    assert "2023" not in card


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("/home/me/ink.safetensors", "ink.safetensors"),
        ("../private/me/ink.safetensors", "ink.safetensors"),
        ("me/ink.safetensors", "ink.safetensors"),
        ("C:\\me\\ink.safetensors", "ink.safetensors"),
        ("../private/sd15", "sd15"),
        ("private/me/sd15", "sd15"),
        ("owner/name-1.5", "owner/name-1.5"),
        ("miniature", "miniature"),
    ],
)
def test_a_checkpoint_is_named_without_its_folders(given: str, named: str) -> None:
    state = {
        "recipe": {"algorithm": "group", "weights": {}},
        "history": [{"reward": 0.1, "pictures": 8}],
        "step": 1,
        "seconds": 1.0,
        "sampler": {"checkpoint": given, "steps": 20},
    }
    assert json.dumps({"checkpoint": named, "steps": 20}, indent=1) in taught_card(state, "mini", config_json())
