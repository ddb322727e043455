"""The painter: the same picture each time, and every subject, style and defect to be seen in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from training.miniature.painter import paint
from training.miniature.sheets import contact_sheet
from training.miniature.spoil import to_bytes
from training.miniature.world import (
    BACKGROUNDS,
    DEFECTS,
    OWN_DEFECT,
    SIZE,
    STYLES,
    SUBJECTS,
    Scene,
    defect_rate,
    draw_scene,
    quality,
)

CLEAN = Scene("house", "red", "meadow", "flat", frozenset(), 11, 8.0)


def halved(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Means of 2x2 pixels: what is still seen from afar, and after a coarse autoencoder."""
    return picture.reshape(SIZE // 2, 2, SIZE // 2, 2, 3).mean((1, 3))


def test_a_scene_is_painted_the_same_each_time() -> None:
    for index in range(40):
        scene = draw_scene(5, index)
        assert draw_scene(5, index) == scene
        first = paint(scene)
        assert first.shape == (SIZE, SIZE, 3)
        assert first.dtype == np.uint8
        assert np.array_equal(first, paint(scene))
    assert draw_scene(5, 0) != draw_scene(6, 0)


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("style", STYLES)
def test_a_defect_shows_from_afar(defect: str, style: str) -> None:
    """A good part of the picture changes plainly, more than another throw of the dice about grass would."""
    subject = DEFECTS[defect].subject or "house"
    clean = replace(CLEAN, subject=subject, style=style)
    changed = []
    for seed in range(5):
        scene = replace(clean, seed=seed)
        spoilt = replace(scene, defects=frozenset({defect}))
        difference = np.abs(halved(paint(scene)) - halved(paint(spoilt))).max(-1)
        changed.append((difference > 16).mean())
    assert np.mean(changed) > 0.03


@pytest.mark.parametrize("subject", SUBJECTS)
def test_subjects_and_styles_look_different(subject: str) -> None:
    pictures = [paint(replace(CLEAN, subject=subject, style=style)).astype(float) for style in STYLES]
    pictures += [paint(replace(CLEAN, subject=other)).astype(float) for other in SUBJECTS if other != subject]
    for number, one in enumerate(pictures):
        for other in pictures[number + 1 :]:
            assert np.abs(one - other).mean() > 3


def test_black_and_white_has_no_colour() -> None:
    picture = paint(replace(CLEAN, style="black and white")).astype(int)
    assert np.ptp(picture, axis=2).max() == 0
    assert np.ptp(picture) > 150


def test_pixel_art_is_made_of_large_pixels() -> None:
    picture = paint(replace(CLEAN, style="pixel art"))
    assert np.array_equal(picture, np.kron(picture[::3, ::3], np.ones((3, 3, 1), dtype=np.uint8)))


def test_places_differ_even_in_line_art() -> None:
    corners = {tuple(paint(replace(CLEAN, background=place, style="line art"))[24, 1]) for place in BACKGROUNDS}
    assert len(corners) == len(BACKGROUNDS)


def test_rates_are_those_of_the_table() -> None:
    scenes = [draw_scene(7, index) for index in range(8000)]
    assert sum(bool(scene.defects) for scene in scenes) / len(scenes) >= 0.7
    for subject in SUBJECTS:
        own = [scene for scene in scenes if scene.subject == subject]
        assert len(own) > 800
        for name in DEFECTS:
            if name == "duplicate":  # not where the picture is cropped
                continue
            share = sum(name in scene.defects for scene in own) / len(own)
            expected = defect_rate(subject, name)
            assert share == pytest.approx(expected, abs=4 * (expected * (1 - expected) / len(own)) ** 0.5 + 1e-9)


def test_defects_depend_on_the_subject() -> None:
    for name, defect in DEFECTS.items():
        rates = [defect_rate(subject, name) for subject in SUBJECTS]
        assert max(rates) >= 4 * min(rates)
        if defect.subject:
            assert OWN_DEFECT[defect.subject] == name
            assert sum(rate > 0 for rate in rates) == 1


def test_quality_is_charm_less_defects() -> None:
    assert quality("cat", "flat", "meadow", frozenset()) == pytest.approx(7.5 + 1.2 + 0.2)
    assert quality("cat", "flat", "meadow", frozenset({"blur", "extra tail"})) == pytest.approx(8.9 - 2.0 - 2.2)
    everything = frozenset(DEFECTS)
    assert quality("cat", "flat", "meadow", everything) == 0.0


def test_bright_pixels_do_not_wrap_around() -> None:
    assert to_bytes(np.array([-0.5, 0.0, 0.5, 1.0, 1.5], dtype=np.float32)).tolist() == [0, 0, 128, 255, 255]


def test_the_contact_sheet_has_a_row_for_each_subject() -> None:
    sheet = contact_sheet()
    side = SIZE * 3 + 4
    assert sheet.height == side * len(SUBJECTS)
    assert sheet.width == side * (len(STYLES) + 3 + 8)
