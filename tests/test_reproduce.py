"""`reproduce`: its steps are commands that there are, run in their order, once; and what the table should show."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import pytest

from negopt.errors import DataError, NegOptError
from training.__main__ import COMMANDS
from training.evaluation.claims import LEARNED, RIVALS, SPECIALISTS, claims_of, read_table
from training.evaluation.intervals import Interval
from training.reproduce import miniature_steps
from training.steps import Step, run_all

FIGURES = ("inception score", "aesthetics", "alignment", "fidelity", "reward")


def test_every_step_is_a_command_that_is_understood(tmp_path: Path) -> None:
    steps = miniature_steps(tmp_path / "John Doe", f"miniature:{tmp_path / 'a world'}")
    for step in steps:
        parser = argparse.ArgumentParser(exit_on_error=False)
        importlib.import_module(COMMANDS[step.command[0]][0]).add_arguments(parser)
        parser.parse_args(step.command[1:])
    done: set[str] = set()
    while waiting := [step for step in steps if step.name not in done]:
        ready = {step.name for step in waiting if set(step.after) <= done}
        assert ready
        done |= ready


def test_on_windows_no_step_needs_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert miniature_steps(tmp_path, "miniature", jobs=4)[-1].processes == 4
    monkeypatch.setattr("sys.platform", "win32")
    assert {step.processes for step in miniature_steps(tmp_path, "miniature", jobs=4)} == {1}


def people(name: str, out: Path, *after: str, pairs: int = 3) -> Step:
    return Step(name, ("miniature", "people", "--out", str(out / f"{name}.jsonl"), "--pairs", str(pairs)), after)


def test_steps_run_in_order_and_only_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [people("second", tmp_path, "first"), people("first", tmp_path)]
    run_all(steps, tmp_path, jobs=2)
    printed = capsys.readouterr().out
    assert printed.index("first.jsonl") < printed.index("second.jsonl")
    assert len((tmp_path / "second.jsonl").read_text().splitlines()) == 3
    (tmp_path / "second.jsonl").unlink()
    run_all([people("second", tmp_path, "first", pairs=4), people("first", tmp_path)], tmp_path, jobs=1)
    assert "first.jsonl" not in capsys.readouterr().out  # it was done; the other is another command now
    assert len((tmp_path / "second.jsonl").read_text().splitlines()) == 4


def test_what_was_built_on_a_step_is_done_anew_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    after = {"first": [], "second": ["first"], "third": ["second"], "other": []}
    for pairs in (3, 4):
        steps = [people(name, tmp_path, *before) for name, before in after.items() if name != "first"]
        run_all([people("first", tmp_path, pairs=pairs), *steps], tmp_path, jobs=2)
    printed = capsys.readouterr().out
    assert {name: printed.count(f"{name}.jsonl") for name in after} == {"first": 2, "second": 2, "third": 2, "other": 1}
    (tmp_path / "logs" / "third.done").write_text(" ".join(steps[1].command))  # as it was written before
    run_all([people("first", tmp_path, pairs=4), *steps], tmp_path, jobs=2)
    printed = capsys.readouterr().out
    assert [name for name in after if f"{name}.jsonl" in printed] == ["third"]


def test_a_step_that_is_stopped_is_not_done_any_more(tmp_path: Path) -> None:
    run_all([people("first", tmp_path)], tmp_path, jobs=1)
    wrong = Step("first", ("data", "build", str(tmp_path / "nothing.csv"), "--out", str(tmp_path / "data")))
    with pytest.raises(NegOptError):
        run_all([wrong], tmp_path, jobs=1)
    assert not (tmp_path / "logs" / "first.done").exists()


def test_a_step_that_fails_says_why_and_stops_those_that_need_it(tmp_path: Path) -> None:
    wrong = Step("wrong", ("data", "build", str(tmp_path / "nothing.csv"), "--out", str(tmp_path / "data")))
    with pytest.raises(NegOptError, match=r"wrong failed.*log"):
        run_all([wrong, people("later", tmp_path, "wrong")], tmp_path, jobs=1)
    assert not (tmp_path / "later.jsonl").exists()


def test_steps_say_what_the_code_page_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # as Windows writes to a file
    monkeypatch.delenv("PYTHONUTF8", raising=False)
    run_all([people("pairs", tmp_path, pairs=40)], tmp_path, jobs=1)
    built = ("data", "build", str(tmp_path / "pairs.jsonl"), "--quiet", "--out", str(tmp_path / "Łukasz"))
    run_all([Step("data", built)], tmp_path, jobs=1)
    assert "Łukasz" in (tmp_path / "logs" / "data.log").read_text("utf-8")
    wrong = Step("wrong", ("data", "build", str(tmp_path / "José.csv"), "--out", str(tmp_path / "data")))
    with pytest.raises(NegOptError, match=r"José\.csv"):
        run_all([wrong], tmp_path, jobs=1)


def a_table(**learned: float) -> dict[str, dict[str, Interval]]:
    table = {name: dict.fromkeys(FIGURES, Interval(1.0, 0.9, 1.1)) for name in (LEARNED, *RIVALS, *SPECIALISTS)}
    table[LEARNED] = {name: Interval(learned.get(name.split()[0], 1.5), 0.0, 9.0) for name in FIGURES}
    for name, metric in SPECIALISTS.items():
        table[name] = {**table[name], metric: Interval(2.0, 1.9, 2.1)}
    return table


def test_claims_hold_where_the_figures_say_so() -> None:
    assert all(claim.holds for claim in claims_of(a_table()))


@pytest.mark.parametrize(
    ("learned", "fails"),
    [
        ({"aesthetics": 0.5}, ["best aesthetics"]),
        ({"alignment": 0.9}, ["alignment is not below"]),
        ({"inception": 1.2}, ["at least 25%"]),
        ({"fidelity": 2.5}, ["all weight on fidelity"]),
    ],
)
def test_a_claim_fails_where_its_figure_does(learned: dict[str, float], fails: list[str]) -> None:
    failed = [claim.text for claim in claims_of(a_table(**learned)) if not claim.holds]
    assert len(failed) == len(fails)
    assert all(part in text for part, text in zip(fails, failed, strict=True))


def test_the_search_is_the_ceiling_of_the_gain() -> None:
    table = a_table(inception=1.2)
    table["search for each prompt"] = dict.fromkeys(FIGURES, Interval(1.4, 1.3, 1.5))
    assert all(claim.holds for claim in claims_of(table))  # 1.2 is 86% of 1.4


def test_a_ceiling_on_fewer_prompts_is_compared_on_those() -> None:
    searched = a_table(inception=1.0)
    searched["search for each prompt"] = dict.fromkeys(FIGURES, Interval(1.4, 1.3, 1.5))
    failed = [claim.text for claim in claims_of(a_table(inception=1.2), searched) if not claim.holds]
    assert [text for text in failed if "of a search" in text] == failed  # 1.0 is 71% of 1.4
    assert len(failed) == 1


def test_a_table_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with pytest.raises(DataError, match="not a table"):
        read_table(path)
    path.write_text("approach,figure,value,low,high\nSFT,reward,1,0.9,1.1\n")
    assert read_table(path) == {"SFT": {"reward": Interval(1.0, 0.9, 1.1)}}
    with pytest.raises(DataError, match=r"no approach called 'SFT\+RL'"):
        claims_of(read_table(path))
