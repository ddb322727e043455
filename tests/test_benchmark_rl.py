"""What the RL benchmark makes of histories and outcomes, by hand."""

from __future__ import annotations

import pytest
import torch

from benchmarks.rl import BEGUN_AS, SMOOTHED, Run, _parser, curve_of, figures_of, line_of
from training.evaluation.outcome import Outcome

UNITS = {"aesthetics": (5.0, 2.0), "fidelity": (1.0, 0.5)}


def test_a_curve_is_the_mean_of_the_last_draws_in_common_units() -> None:
    last = SMOOTHED // 64
    history = [{"pictures": 64.0 * (n + 1), "aesthetics": 5.0 + 2 * n, "fidelity": 1.0} for n in range(last + 1)]
    curve = curve_of(history, UNITS, draws=64)
    assert list(curve.pictures) == [64 * last, 64 * (last + 1)]
    assert list(curve.reward) == [(last - 1) / 2, (last + 1) / 2]


def test_a_difference_is_that_on_the_same_prompts() -> None:
    def outcome(reward: float) -> Outcome:
        return Outcome(("",) * 4, {}, {}, torch.tensor([[0.0, 1], [2, 3], [4, 5], [6, 7]]) + reward)

    outcomes = {BEGUN_AS: outcome(0.1), "ppo-0": outcome(0.3), "group-0": outcome(0.5)}
    (row,) = figures_of(outcomes, {Run("ppo", 0): 8000, Run("group", 0): 1600})
    assert row["ppo"] == (pytest.approx(0.2), 8000)
    assert row["group"] == (pytest.approx(0.4), 1600)
    assert row["above"]["group"] == pytest.approx((0.2, 0.2, 0.2))
    assert line_of(row) == (
        "seed 0: ppo +0.200 with 8,000 pictures; group +0.400 with 1,600 pictures; "
        "group above ppo by +0.200 (+0.200 to +0.200)"
    )


def test_what_is_compared_is_said_by_name_and_share(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--model m --prompts p --out o --sampler miniature --compare".split()
    assert _parser().parse_args([*words, "critic=1", "ppo=0.5"]).compare == {"critic": 1.0, "ppo": 0.5}
    for wrong in ("dpo=1", "ppo", "ppo=0", "ppo=inf"):
        with pytest.raises(SystemExit):
            _parser().parse_args([*words, wrong])
        assert f"--compare {wrong}: must be one of ppo, group, critic" in capsys.readouterr().err
