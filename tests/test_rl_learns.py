"""RL on the bundled miniature raises the reward, for real: from people's pairs through SFT, eight minutes on two cores.

    NEGOPT_SLOW_TESTS=1 python -m pytest tests/test_rl_learns.py

The pictures of prompts that were never trained on, made with what the model wrote before RL and after it, begin in
the same noise; the difference must be 3 standard errors above 0. Only the prompts are drawn at random, so the error
is that over prompts.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import negopt
from training.data.dataset import load_split
from training.evaluation.approaches import written
from training.rl.recipe import PRESETS, Recipe
from training.rl.stage import Stage
from training.samplers import Picture
from training.world import add_world_arguments, open_world

pytestmark = pytest.mark.skipif(not os.environ.get("NEGOPT_SLOW_TESTS"), reason="takes 8 minutes: NEGOPT_SLOW_TESTS")

WEIGHTS = {"aesthetics": 1.0}
"""One metric, of which so few pictures already say enough."""
PICTURES = 4_480
"""To learn from."""


def command(text: str) -> None:
    from training.__main__ import main

    assert main(text.split()) == 0


def miniature() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_world_arguments(parser)
    return parser.parse_args(["--sampler", "miniature"])


@pytest.mark.parametrize("preset", ["miniature", "miniature-group"])
def test_rl_raises_the_reward_of_prompts_that_it_never_saw(tmp_path: Path, preset: str) -> None:
    data, sft = tmp_path / "data", tmp_path / "sft"
    command(f"miniature people --out {tmp_path / 'pairs.jsonl'} --pairs 4000")
    command(f"data build {tmp_path / 'pairs.jsonl'} --out {data} --near 1 --cap-per-negative 0 --quiet")
    command(f"sft --preset miniature --data {data} --out {sft} --epochs 6")
    recipe = PRESETS[preset]
    recipe = replace(recipe, steps=PICTURES // (recipe.prompts * recipe.copies), weights=WEIGHTS)
    world = open_world(miniature())
    gallery = world.gallery(WEIGHTS)
    Stage(sft / "model", load_split(data, "train")["prompt"], gallery, recipe, tmp_path / "rl", world.read).run()

    prompts = load_split(data, "test")["prompt"][:96]

    def reward(model: Path) -> torch.Tensor:
        negatives = written(negopt.load(model), prompts, Recipe.max_terms)
        asked = [
            Picture(prompt, negative, seed)
            for prompt, negative in zip(prompts, negatives, strict=True)
            for seed in range(3)
        ]
        return gallery.reward(gallery.observe(asked)).total.double().view(-1, 3).mean(1)

    gained = reward(tmp_path / "rl" / "model") - reward(sft / "model")
    error = gained.std() / len(gained) ** 0.5
    assert gained.mean() > 3 * error, f"{gained.mean():.3f} ± {error:.3f}"
