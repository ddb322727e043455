"""What the RL benchmark makes of two histories, by hand."""

from __future__ import annotations

from benchmarks.rl import DRAWS, SMOOTHED, Curve, Run, curve_of, figures_of

UNITS = {"aesthetics": (5.0, 2.0), "fidelity": (1.0, 0.5)}


def test_a_curve_is_the_mean_of_the_last_draws_in_common_units() -> None:
    last = SMOOTHED // DRAWS
    history = [{"pictures": 64.0 * (n + 1), "aesthetics": 5.0 + 2 * n, "fidelity": 1.0} for n in range(last + 1)]
    curve = curve_of(history, UNITS)
    assert list(curve.pictures) == [64 * last, 64 * (last + 1)]
    assert list(curve.reward) == [(last - 1) / 2, (last + 1) / 2]


def test_group_is_there_with_a_fifth_of_the_pictures() -> None:
    curves = {
        Run("ppo", 0): Curve([1000, 2000], [0.1, 0.5]),
        Run("group", 0): Curve([200, 400, 600], [0.2, 0.5, 0.9]),
    }
    figures = figures_of(curves)
    assert figures["seeds"] == [{"seed": 0, "reward": 0.5, "ppo": 2000, "group": 400, "share": 0.2}]
    assert figures["median_share"] == 0.2


def test_a_run_that_never_gets_there_leaves_no_median() -> None:
    curves = {Run("ppo", 0): Curve([1000], [0.5]), Run("group", 0): Curve([200], [0.2])}
    assert figures_of(curves)["median_share"] is None
