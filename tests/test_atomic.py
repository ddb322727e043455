"""Replacing folders and files where Windows refuses: what is in use is not deleted, new files are held a moment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from negopt.errors import DataError
from training import atomic
from training.atomic import recover_folder, replace_folder, write_text


def refusal() -> PermissionError:
    error = PermissionError(13, "Access is denied")
    error.winerror = 5  # type: ignore[attr-defined, unused-ignore]
    return error


def write(folder: Path, text: str) -> None:
    with replace_folder(folder) as fresh:
        (fresh / "file").write_text(text)


def test_an_old_folder_that_is_in_use_is_not_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a[b]"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)
        for text in ("one", "two", "three", "four"):
            write(folder, text)
            assert (folder / "file").read_text() == text
    recover_folder(folder)
    write(folder, "five")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a[b]"]


def test_a_folder_that_is_held_for_a_moment_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, held = Path.rename, [refusal(), refusal()]

    def rename(self: Path, target: Path) -> Path:
        if held:
            raise held.pop()
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    write(tmp_path / "a", "one")
    assert (tmp_path / "a" / "file").read_text() == "one"


def test_a_file_that_is_open_elsewhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(self: Path, target: Path) -> Path:
        raise refusal()

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(atomic, "PATIENCE", ())
    with pytest.raises(DataError, match=r"table\.csv: cannot be replaced; close it"):
        write_text(tmp_path / "table.csv", "a")
    assert not list(tmp_path.iterdir())
