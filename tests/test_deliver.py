"""A trained model where it is used: in the folders of the hosts, and on the Hub."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import negopt
from negopt.locate import BUNDLED, PREFERENCE, available
from tests.hub_server import hub_with
from training.__main__ import main

PROMPT = "a lighthouse at dawn"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """As a run writes it, with a file that is no part of a model beside the others."""
    folder = Path(shutil.copytree(BUNDLED, tmp_path / "mine" / "model"))
    (folder / "notes.txt").write_text("not for others")
    return folder


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    for name in ("models", "custom_nodes"):
        (tmp_path / "ComfyUI" / name).mkdir(parents=True)
    return tmp_path / "ComfyUI"


def test_it_comes_into_the_dropdown_with_its_card(
    model: Path, comfyui: Path, generator: negopt.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", str(model), "--to", "comfyui", str(comfyui)]
    assert main(command) == 0
    models = comfyui / "models" / "negopt"
    assert available([models]) == [BUNDLED.name, "mine"]
    assert negopt.load(models / "mine").generate(PROMPT).text == generator.generate(PROMPT).text
    assert (models / "mine" / "README.md").read_bytes() == (model / "README.md").read_bytes()
    assert not (models / "mine" / "notes.txt").exists()
    assert main(command) == 0
    assert "is there already" in capsys.readouterr().out
    assert [path.name for path in models.iterdir()] == ["mine"]


def _other(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    save_file({name: tensor * 1.01 for name, tensor in weights.items()}, model / "model.safetensors")


def _with_preferences(model: Path) -> None:
    save_file({"aesthetics": torch.zeros(192), "fidelity": torch.ones(192)}, model / PREFERENCE)


@pytest.mark.parametrize("change", [_other, _with_preferences])
def test_another_model_of_that_name_is_only_replaced_when_asked(
    model: Path, comfyui: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None]
) -> None:
    command = ["export", str(model), "--to", "comfyui", str(comfyui), "--name", "taught"]
    folder = comfyui / "models" / "negopt" / "taught"
    assert main(command) == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    change(model)
    assert main(command) == 2
    assert "--force" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert main([*command, "--force"]) == 0
    for name in ("model.safetensors", PREFERENCE):
        assert (folder / name).exists() == (model / name).exists()
        assert not (model / name).exists() or (folder / name).read_bytes() == (model / name).read_bytes()


def test_a_model_without_a_card_gets_one(model: Path, tmp_path: Path) -> None:
    (model / "README.md").unlink()
    for name in ("models", "extensions"):
        (tmp_path / "webui" / name).mkdir(parents=True)
    assert main(["export", str(model), "--to", "a1111", str(tmp_path / "webui")]) == 0
    card = (tmp_path / "webui" / "models" / "negopt" / "mine" / "README.md").read_text()
    assert "no record of a training" in card


def test_what_cannot_be_is_one_clear_line(model: Path, comfyui: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, says in (
        (["--to", "a1111", str(comfyui)], "extensions"),
        (["--to", "forge", str(comfyui)], "comfyui, a1111 or hub"),
        (["--to", "comfyui", str(comfyui), "--name", "../mine"], "no name"),
        (["--to", "comfyui", str(comfyui), "--name", "negopt-mini"], "no name"),
    ):
        assert main(["export", str(model), *more]) == 2
        assert says in capsys.readouterr().err
    (model / "model.safetensors").write_bytes(b"broken")
    assert main(["export", str(model), "--to", "comfyui", str(comfyui)]) == 1
    assert "model.safetensors" in capsys.readouterr().err
    assert not (comfyui / "models" / "negopt").exists()


def test_the_hub_takes_it_and_gives_it_back(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("HF_TOKEN", "hf_someone")
    command = ["export", str(model), "--to", "hub", "owner/taught"]
    with hub_with(empty, "owner/taught") as (endpoint, _):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        address = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        assert main(command) == 0
        assert capsys.readouterr().out.strip() == f"{endpoint}/owner/taught"
        from huggingface_hub import HfApi

        hub = HfApi()
        assert "notes.txt" not in hub.list_repo_files("owner/taught")
        for name in ("model.safetensors", "README.md", "negopt.json", "tokenizer.json"):
            fetched = hub.hf_hub_download("owner/taught", name, cache_dir=tmp_path / "cache")
            assert Path(fetched).read_bytes() == (model / name).read_bytes()
        assert main(command) == 2
        assert "--force" in capsys.readouterr().err
        assert main([*command, "--force"]) == 0
        monkeypatch.setenv("HF_TOKEN", "")
        assert main([*command, "--force"]) == 1
        assert "hf auth login" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", "hf_someone")
    assert main([*command, "--force"]) == 1
    assert "not uploaded" in capsys.readouterr().err  # nobody is there any more
