"""The gates' arithmetic, on worlds so simple that the answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from training.miniature import check
from training.miniature.captions import STYLE_NAMES
from training.miniature.world import DEFECTS, OWN_DEFECT, STYLE_CHARM, STYLES, SUBJECTS

WISHES = [f"a {subject}" for subject in SUBJECTS]


class KnownWorld(check.Arena):
    """Rewards from a formula instead of pictures; `spoilt` says which defects a (negative, seed) has."""

    def __init__(self, reward: Any = None, spoilt: Any = None) -> None:
        self.reward, self.spoilt, self.made = reward, spoilt, 0
        self.judges: Any = SimpleNamespace(defect_rates=lambda pictures: pictures)

    def pictures(self, prompts: Sequence[str], negative: Sequence[str], seeds: Sequence[int]) -> Any:
        return np.array([self.spoilt(*one) for one in zip(prompts, negative, seeds, strict=True)])

    def calibrate(self, prompts: Sequence[str], seeds: Sequence[int]) -> Any:
        return self.pictures(prompts, [""] * len(prompts), seeds)

    def rewards(self, prompts: Sequence[str], negatives: Sequence[str], seeds: Sequence[int]) -> Any:
        self.made += len(prompts)
        return np.array([self.reward(*one) for one in zip(prompts, negatives, seeds, strict=True)], dtype=float)


def own_defect(prompt: str) -> str:
    return next(OWN_DEFECT[subject] for subject in SUBJECTS if subject in prompt)


def spoilt_half_the_time(prompt: str, negative: str, seed: int) -> list[float]:
    """The own defect in every second picture, and in every eighth when its name is the negative."""
    name = own_defect(prompt)
    every = 8 if negative == DEFECTS[name].names[0] else 2
    return [float(defect == name and seed % every == 0) for defect in DEFECTS]


def test_own_defects_are_counted_with_and_without() -> None:
    (gate,) = check._own_defect_halves(KnownWorld(spoilt=spoilt_half_the_time), WISHES)
    assert gate.value == pytest.approx(0.25)
    # by hand: residuals with - 0.25 * without are 0.75 in an eighth, -0.25 in three eighths, 0 in half of the pictures
    variance = (0.75**2 + 3 * 0.25**2) / 8
    assert gate.error == pytest.approx((variance / (48 * 8)) ** 0.5 / 0.5, rel=0.01)
    assert gate.passed
    assert "face 0.50->0.12" in gate.detail


def test_a_negative_without_effect_does_not_pass() -> None:
    world = KnownWorld(spoilt=lambda prompt, negative, seed: spoilt_half_the_time(prompt, "", seed))
    (gate,) = check._own_defect_halves(world, WISHES)
    assert (gate.value, gate.passed) == (1.0, False)
    never = KnownWorld(spoilt=lambda prompt, negative, seed: [0.0] * len(DEFECTS))
    assert not check._own_defect_halves(never, WISHES)[0].passed


def test_defects_a_picture_of_plain_prompts() -> None:
    (gate,) = check._plain_is_spoilt(KnownWorld(spoilt=spoilt_half_the_time), WISHES)
    assert (gate.value, gate.error, gate.passed) == (0.5, 0.0, True)


@pytest.mark.parametrize(("gain", "passed"), [(0.1, True), (0.0, True), (-0.1, False)])
def test_the_list_of_all_defects(gain: float, passed: bool) -> None:
    world = KnownWorld(reward=lambda prompt, negative, seed: seed + gain * (negative == check.ALL_DEFECTS))
    (gate,) = check._all_defects_do_no_harm(world, WISHES)
    assert gate.value == pytest.approx(gain)
    assert gate.passed is passed


def test_style_words_must_help_here_and_hurt_there() -> None:
    words = {STYLE_NAMES[STYLES[int(np.argmin(STYLE_CHARM[subject]))]][0] for subject in SUBJECTS}
    assert len(words) > 2

    def reward(prompt: str, negative: str, seed: int) -> float:
        return 0.0 if not negative else -1.0 if negative in prompt else 1.0 + 0.1 * (seed % 2)

    helps, hurts = check._style_words(KnownWorld(reward=reward), WISHES)
    assert (helps.value, helps.passed) == (pytest.approx(1.05), True)
    assert (hurts.value, hurts.passed) == (-1.0, True)
    always = check._style_words(KnownWorld(reward=lambda prompt, negative, seed: float(bool(negative))), WISHES)
    assert [gate.passed for gate in always] == [True, False]


def test_a_search_for_each_prompt_finds_what_no_fixed_list_has() -> None:
    """Each subject's own defect is worth 1 to it and costs 0.5 elsewhere; "blurry" is worth 0.2 everywhere."""

    def reward(prompt: str, negative: str, seed: int) -> float:
        terms = negative.split(", ")
        own = sum(
            1.0 if DEFECTS[own_defect(prompt)].names[0] == term else -0.5
            for term in terms
            if term in {DEFECTS[name].names[0] for name in OWN_DEFECT.values()}
        )
        return own + 0.2 * ("blurry" in terms) + 0.01 * (seed % 3)

    fixed, search = check._search_wins(KnownWorld(reward=reward), WISHES)
    assert fixed.value == pytest.approx(0.2)
    assert fixed.detail == "[blurry]"
    assert search.value == pytest.approx(1.0)
    assert search.passed
    same_for_all = KnownWorld(reward=lambda prompt, negative, seed: float("text" in negative))
    assert not check._search_wins(same_for_all, WISHES)[1].passed


def test_a_gate_says_what_failed() -> None:
    gate = check.Gate("defects a picture", 0.25, 0.031, False, "(at least 0.5)")
    assert str(gate) == "FAIL  defects a picture: 0.250 ± 0.031  (at least 0.5)"
