"""Finding and opening models: the right one is found, a damaged one is named, nothing dangerous is opened."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import negopt
from negopt.locate import BUNDLED, available, locate
from tests.hub_server import hub_with

PROMPT = "a lighthouse at dawn"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The bundled model in a folder of one's own."""
    return Path(shutil.copytree(BUNDLED, tmp_path / "models" / "mine"))


def test_the_bundled_model_is_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in BUNDLED.iterdir()) <= 25_000_000


def test_a_model_is_found_by_folder_by_name_and_by_environment(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate() == locate("") == locate(BUNDLED.name) == BUNDLED
    assert locate(copy) == locate(str(copy)) == locate("mine", [copy.parent]) == copy
    with pytest.raises(negopt.ModelError, match="mine"):
        locate("mine")
    monkeypatch.setenv("NEGOPT_MODELS", f"/nowhere{os.pathsep}{copy.parent}")
    assert locate("mine") == copy
    assert available() == [BUNDLED.name, "mine"]


@pytest.mark.parametrize("name", ["../mine", "..", ".", "/etc", "mine/../mine", "a\x00b"])
def test_a_name_cannot_leave_the_models_folder(name: str, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy.parent.parent)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(negopt.ModelError):
        locate(name, [copy / "inner"])


def _cut(name: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return cut


def _drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _config(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text()) | values
        (folder / "config.json").write_text(json.dumps(config))

    return change


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"shared.weight": 0}))


def _disguised(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps({"shared.weight": list(range(100))}))


def _bad_settings(folder: Path) -> None:
    (folder / "negopt.json").write_text('{"emphasis": 3}')


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_drop("config.json"), "config.json"),
        (_drop("tokenizer.json"), "tokenizer.json"),
        (_drop("model.safetensors"), "model.safetensors"),
        (_cut("model.safetensors"), "model.safetensors"),
        (_cut("tokenizer.json"), "tokenizer.json"),
        (_cut("config.json"), "config.json"),
        (_config(model_type="bart"), "model_type"),
        (_config(d_model=100), "shared.weight"),
        (_config(num_layers=2), "encoder.block"),
        (_config(vocab_size=10), "tokenizer.json"),
        (_pickled, "pytorch_model.bin"),
        (_disguised, "model.safetensors"),
        (_bad_settings, "negopt.json"),
    ],
)
def test_a_damaged_model_is_an_error_that_names_the_file(
    damage: Callable[[Path], None], named: str, copy: Path
) -> None:
    damage(copy)
    with pytest.raises(negopt.ModelError) as caught:
        negopt.load(copy)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_a_folder_without_our_settings_file_still_opens(copy: Path) -> None:
    (copy / "negopt.json").unlink()
    assert negopt.load(copy).generate(PROMPT).terms


@pytest.mark.parametrize("name", ["~nobody-of-that-name/model", "x" * 300, "a\0b"])
def test_a_name_that_is_no_folder_is_one_clear_line(name: str) -> None:
    with pytest.raises(negopt.ModelError, match="no such model"):
        negopt.load(name)


def test_what_cannot_be_listed_is_passed_over(copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (file := tmp_path / "file").write_text("no folder")
    loop = copy.parent / "loop"
    loop.symlink_to(loop)
    names = available([file, tmp_path / "missing", tmp_path / ("x" * 300), copy.parent])
    assert copy.name in names
    assert "loop" not in names
    assert [str(file) in caplog.text, "missing" in caplog.text] == [True, False]


HUB = "import sys, negopt; print(negopt.load('owner/tiny').generate(sys.argv[1]).text)"


def _load_from_hub(home: Path, endpoint: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", **more}
    return subprocess.run(
        [sys.executable, "-c", HUB, PROMPT], env=environment, capture_output=True, text=True, check=False
    )


def test_a_hub_model_is_fetched_once_without_pickles_and_then_works_offline(
    copy: Path, tmp_path: Path, generator: negopt.Generator
) -> None:
    (copy / "pytorch_model.bin").write_bytes(b"never fetch me")
    (copy / "modeling_evil.py").write_text("raise SystemExit('remote code')")
    expected = generator.generate(PROMPT).text + "\n"
    with hub_with(copy, "owner/tiny") as (endpoint, fetched):
        first = _load_from_hub(tmp_path / "home", endpoint)
        assert first.stdout == expected, first.stderr
        assert set(fetched) == {"config.json", "tokenizer.json", "negopt.json", "model.safetensors"}
        fetched.clear()
        assert _load_from_hub(tmp_path / "home", endpoint).stdout == expected
        assert fetched == []
    assert _load_from_hub(tmp_path / "home", "http://127.0.0.1:9").stdout == expected


def test_a_hub_model_that_cannot_be_had_is_one_clear_line(tmp_path: Path) -> None:
    done = _load_from_hub(tmp_path / "home", "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    last = done.stderr.strip().splitlines()[-1]
    assert "ModelError" in last
    assert "owner/tiny" in last
