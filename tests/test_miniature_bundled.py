"""The world that comes with the package: it opens, paints what is asked for, and its judges agree."""

from __future__ import annotations

import argparse

import torch

from training.miniature import BUNDLED
from training.miniature.captions import STYLE_NAMES
from training.miniature.world import STYLES, SUBJECTS
from training.samplers import Picture
from training.world import METRICS, World, add_world_arguments, open_world


def bundled() -> World:
    parser = argparse.ArgumentParser()
    add_world_arguments(parser)
    return open_world(parser.parse_args(["--sampler", "miniature"]))


def test_it_paints_the_subject_and_the_style_that_are_asked_for() -> None:
    world = bundled()
    prompts = [f"{subject}, {STYLE_NAMES[style][0]}" for subject in SUBJECTS for style in STYLES]
    images = world.sampler.sample([Picture(prompt, "", 7) for prompt in prompts])
    assert images.shape == (len(prompts), 3, 48, 48)
    seen = world.judges["fidelity"].observe(images, prompts).argmax(1)
    truth = torch.arange(len(prompts))
    assert (seen // len(STYLES) == truth // len(STYLES)).float().mean() > 0.9
    assert (seen % len(STYLES) == truth % len(STYLES)).float().mean() > 0.85
    shown = world.judges["alignment"].score(world.judges["alignment"].observe(images, prompts))
    others = world.judges["alignment"].score(world.judges["alignment"].observe(images, prompts[5:] + prompts[:5]))
    assert (shown > others).float().mean() > 0.9


def test_it_has_all_judges_and_is_small() -> None:
    world = bundled()
    assert set(world.judges) == set(METRICS)
    assert set(world.reporters) == {"defects"}
    assert sum(file.stat().st_size for file in BUNDLED.rglob("*")) < 20e6


def test_prompts_that_say_the_same_are_read_alike() -> None:
    """Both names of a style, be they "pixel art" and "8-bit", are nearer each other than the names of two styles."""
    read = bundled().read
    for subject in SUBJECTS:
        names = [[f"a {subject}, {STYLE_NAMES[style][row]}" for style in STYLES[1:]] for row in (0, 1)]
        embedded = [torch.nn.functional.normalize(read(prompts), dim=1) for prompts in names]
        assert torch.equal((embedded[0] @ embedded[1].T).argmax(1), torch.arange(len(STYLES) - 1)), subject
