"""Several processes make the pictures of one run: as one process would, to the end and when something fails."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.multiprocessing.spawn import spawn

from negopt.errors import ModelError
from tests.tiny_policy import PROMPTS, tiny_policy
from training.__main__ import main
from training.miniature.build import Build
from training.miniature.plan import TINY
from training.processes import Crew, join
from training.rewards import Aesthetics, WeightedReward
from training.rl.gallery import Gallery
from training.rl.stage import CLOCKED
from training.samplers import Picture

ROOT = Path(__file__).resolve().parent.parent


class Plain:
    """Pictures as bright as their seed says; it fails at those with the prompt "none"."""

    description: Mapping[str, Any] = {"checkpoint": "none"}

    def __init__(self) -> None:
        self.asked = 0

    def sample(self, pictures: Sequence[Picture]) -> torch.Tensor:
        self.asked += len(pictures)
        if any(picture.prompt == "none" for picture in pictures):
            raise ModelError("no picture of that")
        return torch.stack([torch.full((3, 2, 2), picture.seed / 100) for picture in pictures])


def work(place: int, port: int, out: Path) -> None:
    """What each process of the next test does; the leader writes down what it saw."""
    os.environ |= {"RANK": str(place), "LOCAL_RANK": str(place), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    judge = Aesthetics(lambda images: images.mean((1, 2, 3)).unsqueeze(1), lambda embedding: embedding[:, 0])
    sampler = Plain()
    gallery = Gallery(sampler, WeightedReward({"aesthetics": judge}, {"aesthetics": 1.0}))
    seen: dict[str, Any] = {}
    with join() as crew, crew.sharing(gallery):
        if crew.leads:
            for count in (5, 1, 7):  # the second is all the other process's; of the third two are new
                observed = gallery.observe([Picture("a", "", seed) for seed in range(count)])
                seen[str(count)] = observed["aesthetics"].squeeze(1).tolist()
            seen["made"] = gallery.made
            for prompts in (["none", "a"], ["a", "none"]):
                with pytest.raises(ModelError) as caught:
                    gallery.observe([Picture(prompt, "-", 0) for prompt in prompts])
                seen[str(prompts)] = str(caught.value)
            alone = [Picture("b", "", seed) for seed in range(4)]
            seen["after"] = gallery.observe(alone)["aesthetics"].squeeze(1).tolist()
    seen |= {"asked": sampler.asked, "left": not torch.distributed.is_initialized()}
    (out / f"{place}.json").write_text(json.dumps(seen))


def test_new_pictures_are_dealt_out_and_come_back_in_order(tmp_path: Path) -> None:
    spawn(work, (free_port(), tmp_path), nprocs=2)
    leader, other = (json.loads((tmp_path / f"{place}.json").read_text()) for place in (0, 1))
    for count in (5, 1, 7):
        assert leader[str(count)] == pytest.approx([seed / 100 for seed in range(count)])
    assert leader["made"] == 7
    assert leader["['none', 'a']"] == "process 0: no picture of that"
    assert leader["['a', 'none']"] == "process 1: no picture of that"
    assert leader["after"] == pytest.approx([0.0, 0.01, 0.02, 0.03])
    assert leader["left"]
    assert other["left"]
    assert (leader["asked"], other["asked"]) == (2 + 1 + 2 + 2, 3 + 1 + 2 + 2)


def test_two_processes_learn_what_one_learns_and_one_goes_on_where_they_stopped(tmp_path: Path) -> None:
    """Each picture is made alone (`--sampler-batch 1`), so it is the same to the bit; the judges see them in other
    batches, which round differently by some 1e-7. In everything learned: 1e-5."""
    Build(tmp_path / "world", TINY).run()
    (tmp_path / "policy").mkdir()
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    command = f"rl --model {tiny_policy(tmp_path / 'policy', anchor=0.0)} --prompts {tmp_path / 'prompts.txt'}"
    command += f" --sampler {tmp_path / 'world' / 'checkpoint'} --judges miniature:{tmp_path / 'world'} --device cpu"
    command += " --sampler-batch 1 --sampler-steps 1 --steps 4 --prompts-per-step 3 --copies 3 --max-terms 4 --out "
    one, two = tmp_path / "one", tmp_path / "two"
    assert main([*command.split(), str(one)]) == 0
    launched = launch("tests.rl_process", "2", *command.split(), str(two))
    assert "interrupted" in launched.stderr
    assert json.loads((two / "checkpoint" / "state.json").read_text())["step"] == 2
    assert main([*command.split(), str(two)]) == 0
    expected, found = (json.loads((out / "checkpoint" / "state.json").read_text())["history"] for out in (one, two))
    for theirs, ours in zip(expected, found, strict=True):
        same = [name for name in theirs if name not in CLOCKED]
        assert [ours[name] for name in same] == pytest.approx([theirs[name] for name in same], rel=1e-5, abs=1e-5)
    weights = load_file(one / "checkpoint" / "weights.safetensors")
    for name, tensor in load_file(two / "checkpoint" / "weights.safetensors").items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-5, atol=1e-5)
    assert len(list((two / "samples").iterdir())) == len(list((one / "samples").iterdir()))


def launch(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As `accelerate launch` does it on two GPUs."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        str(free_port()),
    ]
    return subprocess.run(
        [*torchrun, "-m", module, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def test_what_is_for_one_process_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.processes.join", lambda: nullcontext(Crew(1, 2)))
    command = f"rl --model negopt-mini --prompts {tmp_path} --out {tmp_path}"
    assert main([*command.split(), "--sampler", "comfyui"]) == 2
    assert "--server" in capsys.readouterr().err
    assert main([*command.split(), "--sampler", "x.safetensors", "--device", "cuda:1"]) == 2
    assert "CUDA_VISIBLE_DEVICES" in capsys.readouterr().err
