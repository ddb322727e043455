"""What several test files share: the bundled model, and a tiny world of pairs to train on."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

import negopt

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def generator() -> negopt.Generator:
    """The bundled model."""
    return negopt.load()


SUBJECTS = {
    "portrait of a fisherman": ["bad anatomy", "extra fingers", "cloned face", "deformed"],
    "landscape with mountains": ["people", "signature", "oversaturated", "frame"],
    "anime girl with a sword": ["bad hands", "lowres", "extra digits", "text"],
    "photo of a red car": ["cartoon", "drawing", "blurry", "license plate"],
}
PLACES = ["by the sea", "at night", "in a forest", "in the rain", "in paris", "on a hill", "at dawn", "indoors"]
LIGHTS = ["soft light", "harsh light", "neon light", "golden hour", "overcast", "backlight"]


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSONL file of 480 pairs in which the negative follows from the subject."""
    rng = random.Random(0)
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(480):
            subject = rng.choice(list(SUBJECTS))
            terms = rng.sample(SUBJECTS[subject], 3) + rng.sample(["worst quality", "watermark", "jpeg artifacts"], 2)
            prompt = f"{subject} {rng.choice(PLACES)}, {rng.choice(LIGHTS)}, number {number}"
            pair = {"prompt": prompt, "negative_prompt": ", ".join(terms), "page": f"p{number}"}
            file.write(json.dumps(pair) + "\n")
    return path


@pytest.fixture(scope="session")
def data_folder(pairs_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set that `data build` makes of it."""
    from training.__main__ import main

    folder = tmp_path_factory.mktemp("data") / "set"
    code = main(["data", "build", str(pairs_file), "--out", str(folder), "--validation", "0.1", "--test", "0.1"])
    assert code == 0
    return folder
