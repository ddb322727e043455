"""`evaluate-text`: the table of a model and of what it must beat."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import negopt
from training.__main__ import main
from training.data.dataset import load_split
from training.scoring import score


def test_the_table_has_the_model_and_both_baselines(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], generator: negopt.Generator
) -> None:
    report_file = tmp_path / "report.json"
    assert main(["evaluate-text", "--data", str(data_folder), "--json", str(report_file), "--examples", "2"]) == 0
    printed = capsys.readouterr().out
    report = json.loads(report_file.read_text())["parts"]["all"]
    assert set(report) == {"model", "best fixed list", "nearest neighbour"}
    assert all(name in printed for name in report)
    rows = load_split(data_folder, "validation")
    own = [[term.text for term in generator.generate(prompt).terms] for prompt in rows["prompt"]]
    assert report["model"]["f1"] == pytest.approx(score(own, rows["terms"]).f1)
    assert report["model"]["nats_per_term"] > 0
    # In this world the negative follows from the subject: a copy of the nearest prompt's beats any one list.
    assert report["nearest neighbour"]["f1"] > report["best fixed list"]["f1"] > 0.3


def test_a_model_that_is_not_there_is_one_line(data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate-text", "--data", str(data_folder), "--model", "no-such-model"]) == 1
    assert "no-such-model" in capsys.readouterr().err
