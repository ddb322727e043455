"""Models that stay loaded: one copy for all threads, a new one when the files change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import negopt
from negopt import resident as module
from negopt.locate import BUNDLED
from negopt.resident import resident


def test_threads_share_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    module._loaded.clear()
    opened: list[Path] = []
    real = negopt.Generator.open

    def counting(folder: Path) -> negopt.Generator:
        opened.append(folder)
        return real(folder)

    monkeypatch.setattr(negopt.Generator, "open", counting)
    found: list[negopt.Generator] = []
    threads = [threading.Thread(target=lambda: found.append(resident())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(generator) for generator in found}) == 1
    assert opened == [BUNDLED]
    assert resident("negopt-mini") is found[0]


def test_changed_files_are_loaded_again(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(BUNDLED, tmp_path / "mine"))
    first = resident("mine", [tmp_path])
    assert resident("mine", [tmp_path]) is first
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert resident("mine", [tmp_path]) is not first


def test_a_model_that_broke_is_named_and_comes_back_when_mended(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(BUNDLED, tmp_path / "mine"))
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(negopt.ModelError, match="damaged"):
        resident(str(folder))
    (folder / "model.safetensors").write_bytes(weights)
    assert resident(str(folder)).generate("a knight").text


def test_only_a_few_models_stay(tmp_path: Path) -> None:
    module._loaded.clear()
    for name in "abcdef":
        shutil.copytree(BUNDLED, tmp_path / name)
        resident(name, [tmp_path])
    assert [folder.name for folder in module._loaded] == list("cdef")


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, negopt.resident, negopt.merge, negopt.wire; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
