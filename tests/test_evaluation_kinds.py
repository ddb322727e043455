"""Prompts by their kinds, and what is gained on each, against outcomes whose gains are known."""

from __future__ import annotations

import pytest

from negopt.errors import OptionError
from tests.test_rl_stage import gallery
from training.evaluation.kinds import ALL, OTHERS, by_kind, read_kinds
from training.evaluation.outcome import NONE, gains, judge


def test_a_kind_has_the_prompts_with_one_of_its_words() -> None:
    kinds = read_kinds(["a style= watercolour, line art,", "people=man,woman"])
    prompts = ["a man, Line Art", "a manor", "a cat in watercolours", "woman", "outline art", "WATERCOLOUR of a cat"]
    assert by_kind(prompts, kinds) == {ALL: [0, 1, 2, 3, 4, 5], "a style": [0, 5], "people": [0, 3], OTHERS: [1, 2, 4]}


def test_kinds_without_prompts_are_left_out() -> None:
    assert by_kind(["a cat", "a dog"], read_kinds(["cats=cat", "birds=bird", "dogs=dog"])) == {
        ALL: [0, 1],
        "cats": [0],
        "dogs": [1],
    }
    assert by_kind(["a cat"], {}) == {ALL: [0]}


def test_words_are_no_patterns() -> None:
    assert by_kind(["a cat (red)", "a cat red"], read_kinds(["odd=(red)"]))["odd"] == [0]


@pytest.mark.parametrize("given", ["cats", "=cat", "cats=", "cats= , ", f"{ALL}=cat", f"{OTHERS}=cat"])
def test_what_names_no_kind_is_refused(given: str) -> None:
    with pytest.raises(OptionError, match="--kinds"):
        read_kinds([given])


def test_a_kind_that_comes_twice_is_refused() -> None:
    with pytest.raises(OptionError, match="'cats' is taken"):
        read_kinds(["cats=cat", "cats=kitten"])


def test_what_helps_one_kind_and_harms_the_other() -> None:
    """The painting is better without what good negatives name, and worse for others."""
    prompts = [f"prompt {number}" for number in range(20)]
    mixed = ["blurry, wilted"] * 12 + ["text, logo"] * 8
    outcomes = judge(gallery(), prompts, {NONE: [""] * 20, "mixed": mixed}, seeds=2)
    first, second, both = (gains(outcomes, rows, 200) for rows in (range(12), range(12, 20), range(20)))
    assert NONE not in both
    assert first["mixed"]["reward"].low > 0 > second["mixed"]["reward"].high
    parts = 0.6 * first["mixed"]["reward"].value + 0.4 * second["mixed"]["reward"].value
    assert both["mixed"]["reward"].value == pytest.approx(parts)
    difference = (outcomes["mixed"].scores["aesthetics"] - outcomes[NONE].scores["aesthetics"]).double().mean().item()
    assert both["mixed"]["aesthetics"].value == pytest.approx(difference)
