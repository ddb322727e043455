"""The evaluation's figures: against numbers worked by hand, and on a stand-in whose best negative is known."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from negopt.errors import DataError
from tests.test_rl_stage import Painting, gallery
from training.evaluation.approaches import best_fixed, best_for, copied
from training.evaluation.cli import Evaluation
from training.evaluation.intervals import Interval, bootstrap, mean_interval
from training.evaluation.kept import KeptGallery
from training.evaluation.outcome import NONE, differences, judge, judge_one, pictures_of, rates, table, wins
from training.evaluation.report import best, verdict
from training.evaluation.search import Array, Terms, frequent_terms, mean_reward, racing
from training.rewards import Aesthetics, WeightedReward, inception_score
from training.rl.gallery import Gallery
from training.samplers import Picture


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


def test_a_score_of_variety_lies_within_its_interval() -> None:
    """A resample holds about two thirds of the prompts, so of ten classes it has fewer."""
    classes = torch.eye(10).repeat(2, 1)
    found = bootstrap(20, lambda picked: inception_score(classes[picked])[0])
    assert found.value == pytest.approx(10)
    assert found.low < 10 < found.high


def test_ties_are_half_a_win() -> None:
    assert wins(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 3.0, 2.0]])).tolist() == [[0.5, 0.0, 1.0]]


def test_the_table_tells_better_from_worse() -> None:
    prompts = [f"prompt {number}" for number in range(30)]
    approaches = {NONE: [""] * 30, "good": ["blurry, wilted"] * 30, "bad": ["text, logo"] * 30}
    outcomes = judge(gallery(), prompts, approaches, seeds=2)
    rows = table(outcomes, resamples=200)
    assert rows["good"]["reward"].low > rows[NONE]["reward"].high > rows["bad"]["reward"].high
    assert rows["good"]["wins against none"].value == 1
    assert rows["bad"]["wins against none"].value == 0
    assert rows[NONE]["wins against none"].value == 0.5
    assert rows[NONE]["reward"].value == pytest.approx(0, abs=1e-4)
    classes = outcomes["good"].classes.flatten(0, 1)
    assert rows["good"]["inception score"].value == pytest.approx(inception_score(classes)[0])


def test_differences_are_surer_than_rewards() -> None:
    """Brightness by noise differs much between seeds, and not at all between negatives on the same noise."""
    prompts = [f"prompt {number}" for number in range(20)]
    approaches = {NONE: [""] * 20, "good": ["blurry"] * 20, "better": ["blurry, wilted"] * 20}
    outcomes = judge(gallery(), prompts, approaches, seeds=2)
    rows, between = table(outcomes, 200), differences(outcomes, 200)
    found = between["better"]["good"]
    assert found.low > 0
    assert found.value == pytest.approx(-between["good"]["better"].value)
    assert found.value == pytest.approx(rows["better"]["reward"].value - rows["good"]["reward"].value, abs=1e-4)
    assert found.high - found.low < rows["good"]["reward"].high - rows["good"]["reward"].low
    assert "better" not in between["better"]


def test_some_prompts_of_an_outcome_and_one_more_approach_on_them() -> None:
    prompts = ["a", "b", "c"]
    made = gallery()
    outcomes = judge(made, prompts, {NONE: [""] * 3, "good": ["blurry", "", "wilted"]}, seeds=2)
    before = made.made
    first = judge_one(made, prompts[:2], ["blurry", ""], 2, "the same again")
    assert made.made == before, "their pictures were there"
    assert torch.equal(first.classes, outcomes["good"].classes[:2])
    assert torch.equal(first.scores["aesthetics"], outcomes["good"].scores["aesthetics"][:2])


def test_the_pictures_shown_are_those_that_were_judged() -> None:
    made, prompts = gallery(), ["a", "b"]
    outcomes = judge(made, prompts, {NONE: [""] * 2}, seeds=2)
    outcomes["good"] = judge_one(made, prompts, ["blurry", "wilted"], 8, "more seeds")
    evaluation = Evaluation(argparse.Namespace(seeds=2), made, None, None, {}, (), {})  # type: ignore[arg-type]
    for row, of_prompt in enumerate(evaluation._shown(prompts, outcomes)):
        for shown in of_prompt:
            brightness = made.observe([shown.picture])["aesthetics"]
            assert torch.equal(brightness[0], outcomes[shown.approach].seen["aesthetics"][row, 0])
            assert shown.reward == outcomes[shown.approach].reward[row, 0].item()


def test_no_two_prompts_share_a_noise() -> None:
    made = pictures_of(["a", "b", "c"], ["", "x", "y"], 2, first=10)
    assert [picture.seed for picture in made] == [10, 11, 12, 13, 14, 15]
    assert [picture.negative_prompt for picture in made] == ["", "", "x", "x", "y", "y"]


def test_fidelity_is_that_among_the_approachs_own_pictures() -> None:
    made = gallery()
    outcomes = judge(made, ["a", "b", "c"], {NONE: [""] * 3, "good": ["blurry", "", "wilted"]}, seeds=2)
    for outcome in outcomes.values():
        expected = inception_score(outcome.classes.flatten(0, 1))[0]
        assert outcome.scores["fidelity"].mean().exp().item() == pytest.approx(expected, rel=1e-5)


def test_rates_count_what_a_judge_sees() -> None:
    outcome = judge(gallery(), ["a", "b"], {NONE: ["", ""]}, seeds=2)[NONE]
    outcome.seen["defects"] = torch.tensor([[[0.9, 0.1], [0.6, 0.5]], [[0.2, 0.0], [0.7, 0.0]]])  # type: ignore[index]
    found = rates({NONE: outcome}, "defects", ["blur", "noise"])[NONE]
    assert found["blur"].value == pytest.approx(0.75)
    assert found["noise"].value == 0


def test_of_defects_the_fewest_are_best() -> None:
    rows = {
        name: {"reward": Interval(value, 0, 1), "defects": Interval(value, 0, 1)}
        for name, value in {"few": 0.2, "many": 0.8}.items()
    }
    assert (best(rows, "reward"), best(rows, "defects")) == ("many", "few")


@pytest.mark.parametrize(
    ("low", "high", "figure", "found"),
    [
        (0.1, 0.3, "reward", "better"),
        (-0.3, -0.1, "reward", "worse"),
        (-0.3, -0.1, "defects", "better"),
        (0.1, 0.3, "defects", "worse"),
        (-0.1, 0.3, "reward", ""),
        (0.0, 0.3, "defects", ""),
    ],
)
def test_a_difference_is_for_the_better_or_the_worse(low: float, high: float, figure: str, found: str) -> None:
    assert verdict(Interval((low + high) / 2, low, high), figure) == found


def test_a_race_spends_its_trials_on_those_ahead() -> None:
    """List n is worth n, but the first trial of list 0 is lucky."""
    asked: list[tuple[int, int]] = []

    def mean(lists: list[Terms], count: int) -> Array:
        asked.extend((int(terms[0]), count) for terms in lists)
        return np.array([float(terms[0]) + (99 if terms[0] == "0" and count == 1 else 0) for terms in lists])

    scores = racing(mean, [1, 2, 4])([(str(n),) for n in range(8)])
    assert scores.argmax() == 7
    assert [n for n, count in asked if count == 2] == [0, 7, 6, 5]
    assert [n for n, count in asked if count == 4] == [7, 6]
    assert scores.tolist() == [0, 0, 0, 0, 0, 5, 6, 7]
    lucky = racing(mean, [1])([("0",), ("1",)])
    assert lucky.tolist() == [99, 1]


def test_who_fell_out_counts_no_more_than_who_stayed() -> None:
    """After the first trial b leads and a is out; b then proves to be worth less than a's one trial."""
    worth = {("a", 1): 1.0, ("b", 1): 2.0, ("c", 1): 3.0, ("b", 2): 0.5, ("c", 2): 3.0}
    scores = racing(lambda lists, count: np.array([worth[x[0], count] for x in lists]), [1, 2])(
        [("a",), ("b",), ("c",)]
    )
    assert scores.tolist() == [0.5, 0.5, 3.0]


def test_a_lists_worth_is_the_mean_of_its_first_trials() -> None:
    made = gallery()
    trials = [("a", 1), ("b", 2), ("c", 3)]
    made.reward.warm_up(made.observe([Picture(prompt, "", seed) for prompt, seed in trials]))
    mean = mean_reward(made, trials)
    expected = made.reward(
        made.observe([Picture("a", "blurry, text", 1), Picture("b", "blurry, text", 2)])
    ).total.mean()
    assert mean([(), ("blurry", "text")], 2)[1] == pytest.approx(expected.item())
    before = made.made
    mean([(), ("blurry", "text")], 2)
    assert made.made == before, "what was tried is not made again"


def test_terms_are_counted() -> None:
    assert frequent_terms([["a", "b"], ["b"], ["c", "b", "a"]], 2) == ["b", "a"]


def test_the_best_fixed_list_is_found_among_lists_and_terms() -> None:
    negatives = ["text, logo", "blurry, text", "blurry, wilted", "noise"] * 3
    terms = [negative.split(", ") for negative in negatives]
    made = gallery()
    assert best_fixed(made, ["a", "b"], negatives, terms) == "blurry, wilted"
    assert made.reward.normal == {}, "rewards are left as they were"
    assert made.reward.judges["fidelity"].state_dict()["last"].numel() == 0


def test_the_best_fixed_list_may_be_one_that_nobody_wrote() -> None:
    negatives = ["text, blurry", "wilted, noise", "logo"]
    terms = [negative.split(", ") for negative in negatives]
    assert set(best_fixed(gallery(), ["a", "b"], negatives, terms).split(", ")) == {"blurry", "wilted"}


def test_a_search_finds_the_best_for_a_prompt_or_takes_what_is_known() -> None:
    made = gallery()
    made.reward.warm_up(made.observe([Picture("a", "", seed) for seed in range(8)]))
    terms = ["text", "wilted", "logo", "blurry"]
    assert set(best_for(made, "a", terms, ["", "noise"]).split(", ")) == {"blurry", "wilted"}
    assert best_for(made, "a", ["text"], ["", "blurry, wilted", "noise"]) == "blurry, wilted"
    assert best_for(made, "a", ["text", "logo"], ["noise"]) == "", "where every negative hurts, none is best"


def test_the_nearest_prompts_negative_is_copied() -> None:
    assert copied(["a red house", "a blue boat"], ["leaning", "sinking"], ["the blue boat at night"]) == ["sinking"]


WANTED = [Picture("a", "blurry", 1), Picture("a", "", 1), Picture("b", "text", 2)]


def kept(file: Path, painting: Painting) -> KeptGallery:
    return KeptGallery(painting, gallery().reward, file)


def test_what_was_judged_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "report" / "judged.safetensors"
    first = kept(file, Painting())
    assert not file.exists()
    monkeypatch.setattr("training.evaluation.kept.SECONDS_BETWEEN_SAVES", 0.0)
    seen = first.observe(WANTED)  # and the process is killed
    painting = Painting()
    second = kept(file, painting)
    again = second.observe(WANTED)
    assert painting.calls == 1, "only those made to see whether the file fits"
    assert all(torch.equal(again[name], rows) for name, rows in seen.items())
    assert second.made == 3


class Darker(Painting):
    """Another checkpoint by the same name."""

    def _paint(self, picture: Picture) -> torch.Tensor:
        return super()._paint(picture) / 2


def test_what_was_judged_in_another_world_is_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "judged.safetensors"
    first = kept(file, Painting())
    first.observe(WANTED)
    first.save()
    fresh = Gallery(Darker(), gallery().reward).observe(WANTED)
    assert torch.equal(kept(file, Darker()).observe(WANTED)["aesthetics"], fresh["aesthetics"])
    judge = Aesthetics(lambda images: images.mean((1, 2, 3)).unsqueeze(1), lambda x: x[:, 0])
    other = KeptGallery(Painting(), WeightedReward({"aesthetics": judge}, {"aesthetics": 1.0}), file)
    assert list(other.observe(WANTED)) == ["aesthetics"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "judged.safetensors"
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="delete it"):
        kept(file, Painting())
