"""Worlds: the judges of one are told from others of the same names."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pytest
import torch
from transformers import CLIPModel

from negopt.errors import ModelError, OptionError
from negopt.prompt import in_words
from tests.tiny_clip import write_clip
from training.miniature import BUNDLED
from training.rewards.real import Source
from training.world import World, add_world_arguments, names_anywhere, open_world


def world(judges: str) -> World:
    parser = argparse.ArgumentParser()
    add_world_arguments(parser)
    return open_world(parser.parse_args(["--sampler", "miniature", "--judges", judges]))


def test_judges_are_told_by_what_their_folder_holds(tmp_path: Path) -> None:
    other = tmp_path / "moved"
    (other / "checkpoint").mkdir(parents=True)
    shutil.copytree(BUNDLED / "judges", other / "judges")
    origin = world("miniature").origin
    assert world(f"miniature:{other}").origin == origin
    (other / "judges" / "clip").rename(other / "judges" / "aside")
    shutil.copytree(other / "judges" / "aside", other / "judges" / "clip")
    assert world(f"miniature:{other}").origin != origin
    assert world("miniature").gallery({"aesthetics": 1.0}).reward.origin == origin


def test_a_judge_that_does_not_fit_on_the_device_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_of_memory(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    write_clip(tmp_path)
    monkeypatch.setattr("training.hub.Pinned.file", lambda self, name: tmp_path / name)
    monkeypatch.setattr("training.world._miniature_sampler", lambda args: None)
    monkeypatch.setattr(CLIPModel, "to", short_of_memory)
    monkeypatch.setattr(Source, "on", lambda device: Source(torch.device("cpu"), torch.float32))
    parser = argparse.ArgumentParser()
    add_world_arguments(parser)
    with pytest.raises(ModelError, match="too little for checkpoint and judges"):
        open_world(parser.parse_args(["--sampler", "miniature", "--judges", "real"]), ["alignment"])


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_one_clear_line(device: str) -> None:
    parser = argparse.ArgumentParser()
    add_world_arguments(parser)
    with pytest.raises(OptionError, match=f"device {device}: ") as caught:
        open_world(parser.parse_args(["--sampler", "any.safetensors", "--device", device]))
    assert "\n" not in str(caught.value)


def test_a_bare_name_is_a_word_in_comfyui_and_an_embedding_in_a1111() -> None:
    prompt = "a cat in ink, embedding:ink"
    said = {host: in_words(prompt, names_anywhere({"ink": "digest"}, host)) for host in (None, "a1111", "comfyui")}
    assert "ink" in said["comfyui"].split()
    assert "embedding" not in said["comfyui"]
    assert said[None] == said["a1111"]
    assert "ink" not in said["a1111"]
