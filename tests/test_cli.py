"""The command as a user calls it: what it prints, and how it refuses."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import negopt
from negopt.cli import console, main

PROMPT = "portrait photo of an old fisherman, 85mm, overcast"


def test_it_prints_the_negative_prompt_and_nothing_else(
    generator: negopt.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([PROMPT]) == 0
    captured = capsys.readouterr()
    assert captured.out == generator.generate(PROMPT).text + "\n"
    assert captured.err == ""


def test_every_option_reaches_the_generator(generator: negopt.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--keep", "ugly", "--avoid", "blurry", "--max-terms", "6", "--max-tokens", "50", "--creativity", "0.7"]
    flags += ["--seed", "3", "--n", "2", "--weights", "--embeddings"]
    assert main([PROMPT, *flags]) == 0
    expected = generator.generate(
        PROMPT, keep="ugly", avoid="blurry", max_terms=6, max_tokens=50, creativity=0.7, seed=3, n=2,
        weights=True, embeddings=True,
    )  # fmt: skip
    texts = [expected.text, *(other.text for other in expected.alternatives)]
    assert capsys.readouterr().out.splitlines() == texts


def test_json_has_each_term_with_its_probability(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([PROMPT, "--json", "--n", "2"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["prompt"] == PROMPT
    assert record["negative_prompt"]
    assert {"text", "weight", "probability", "origin"} == set(record["terms"][0])
    assert len(record["alternatives"]) == 1


def test_a_file_gives_one_line_a_prompt_blank_lines_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeffa cat, naïve art\r\n\r\na dog\n".encode())
    assert main(["--file", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(lines)


def test_a_comment_swallows_nothing_where_lines_are_joined(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([PROMPT, "--keep", "ugly # mine", "--max-terms", "2"]) == 0
    line = capsys.readouterr().out
    assert line.startswith("ugly, ")
    assert line.count(",") == 2
    assert "#" not in line


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-8"])
def test_a_file_may_be_powershells(encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeffa cat, no text\r\nnaïve".encode(encoding))
    assert main(["--file", str(file), "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["prompt"] for line in lines] == ["a cat, no text", "naïve"]


def test_a_pipe_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = threading.Thread(target=pipe.write_text, args=("a cat\na dog\n",))
    writer.start()
    assert main(["--file", str(pipe)]) == 0
    writer.join()
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_standard_input_is_answered_line_by_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a cat\na dog \xff\n")))
    assert main(["--file", "-"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([PROMPT, "--creativity", "3"], "creativity"),
        ([PROMPT, "--max-terms", "many"], "max-terms"),
        ([PROMPT, "--colour", "red"], "colour"),
        ([], "prompt"),
        ([PROMPT, "--file", "-"], "prompt"),
        (["--file", "no-such-file.txt"], "no-such-file.txt"),
    ],
)
def test_a_bad_option_is_one_clear_line_and_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2
    assert says in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_a_model_that_cannot_be_opened_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([PROMPT, "--model", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert str(tmp_path) in captured.err
    assert len(captured.err.splitlines()) == 1


def test_the_installed_module_runs_and_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a cat\n" * 100)
    script = f"{sys.executable} -m negopt --file {file} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


class WindowsPipe(io.FileIO):
    """What Windows says of a closed pipe."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise OSError(errno.EINVAL, "Invalid argument") from None


@pytest.mark.parametrize("arguments", [[PROMPT], ["--file", "-"]])
def test_a_closed_pipe_is_no_error_on_windows(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr("sys.argv", ["negopt", *arguments])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a cat\na dog\n")))
    monkeypatch.setattr("sys.platform", "win32")
    with io.TextIOWrapper(io.BufferedWriter(WindowsPipe(writer, "w"))) as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        with pytest.raises(SystemExit) as left:
            console()
    assert left.value.code == 0
    assert capsys.readouterr().err == ""


def test_importing_the_package_does_not_import_torch() -> None:
    script = "import sys, negopt, negopt.cli; sys.exit('torch' in sys.modules or 'tokenizers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
