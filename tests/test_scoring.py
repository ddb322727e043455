"""Term F1, by hand."""

from __future__ import annotations

import pytest

from training.baselines import best_fixed_list, nearest_neighbour
from training.scoring import score


def test_f1_precision_and_recall_of_known_lists() -> None:
    result = score([["bad hands", "text"], ["blurry"]], [["bad hands", "lowres", "text", "logo"], ["noise"]])
    assert result.f1 == pytest.approx((2 * 2 / 6 + 0) / 2)
    assert result.precision == pytest.approx(0.5)
    assert result.recall == pytest.approx(0.25)
    assert result.pairs == 2


def test_spelling_and_repeats_make_no_difference() -> None:
    assert score([["Extra_Fingers", "extra finger"]], [["extra fingers"]]).f1 == 1.0


def test_lists_of_different_number_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        score([["a"]], [])


def test_best_fixed_list_takes_what_helps_and_leaves_what_does_not() -> None:
    train = [["blurry", "text"]] * 3 + [["rare thing"]]
    assert set(best_fixed_list(train, [["blurry", "text"], ["text", "blurry"]])) == {"blurry", "text"}


def test_nearest_neighbour_copies_the_likest_prompt() -> None:
    texts = ["a red car", "an old house", "a blue boat"]
    terms = [["car"], ["house"], ["boat"]]
    assert nearest_neighbour(texts, terms, ["old stone house", "boat"]) == [["house"], ["boat"]]
