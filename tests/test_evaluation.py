"""The evaluation's figures: against numbers worked by hand, and on a stand-in whose best negative is known."""

from __future__ import annotations

import pytest
import torch

from tests.test_rl_stage import gallery
from training.evaluation.approaches import best_fixed, copied
from training.evaluation.intervals import bootstrap, mean_interval
from training.evaluation.outcome import NONE, judge, table, wins
from training.rewards import inception_score


def test_a_mean_lies_in_its_interval_which_narrows_with_more_prompts() -> None:
    values = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    few, many = mean_interval(values[:25]), mean_interval(values)
    assert few.low < few.value < few.high
    assert many.value == pytest.approx(values.double().mean().item())
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(4, rel=0.35)
    assert (many.high - many.low) == pytest.approx(2 * 1.96 * (1 / 800) ** 0.5, rel=0.2)


def test_the_general_bootstrap_agrees_with_that_of_the_mean() -> None:
    values = torch.randn(60, 3, generator=torch.Generator().manual_seed(1))
    general = bootstrap(60, lambda picked: values[picked].mean().item())
    special = mean_interval(values)
    assert general.value == pytest.approx(special.value, abs=1e-6)
    assert general.low == pytest.approx(special.low, abs=0.02)
    assert general.high == pytest.approx(special.high, abs=0.02)


def test_ties_are_half_a_win() -> None:
    assert wins(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 3.0, 2.0]])).tolist() == [[0.5, 0.0, 1.0]]


def test_the_table_tells_better_from_worse() -> None:
    prompts = [f"prompt {number}" for number in range(30)]
    approaches = {NONE: [""] * 30, "good": ["blurry, wilted"] * 30, "bad": ["text, logo"] * 30}
    outcomes = judge(gallery(), prompts, approaches, seeds=[1, 2])
    rows = table(outcomes, resamples=200)
    assert rows["good"]["reward"].low > rows[NONE]["reward"].high > rows["bad"]["reward"].high
    assert rows["good"]["wins against none"].value == 1
    assert rows["bad"]["wins against none"].value == 0
    assert rows[NONE]["wins against none"].value == 0.5
    assert rows[NONE]["reward"].value == pytest.approx(0, abs=1e-4)
    classes = outcomes["good"].classes.flatten(0, 1)
    assert rows["good"]["inception score"].value == pytest.approx(inception_score(classes)[0])


def test_the_best_fixed_list_is_found_among_lists_and_terms() -> None:
    negatives = ["text, logo", "blurry, text", "blurry, wilted", "noise"] * 3
    terms = [negative.split(", ") for negative in negatives]
    assert best_fixed(gallery(), ["a", "b"], negatives, terms, seeds=[1, 2]) == "blurry, wilted"


def test_the_nearest_prompts_negative_is_copied() -> None:
    assert copied(["a red house", "a blue boat"], ["leaning", "sinking"], ["the blue boat at night"]) == ["sinking"]
