"""Reinforcement learning whose pictures come from servers: what an outage costs, and how the run goes on."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from negopt.errors import ModelError
from tests.picture_servers import ComfyUIServer, WebUIServer, plain, wait_for
from tests.tiny_policy import PROMPTS, tiny_policy
from training.rewards import Aesthetics, WeightedReward
from training.rl.gallery import Gallery
from training.rl.recipe import Recipe
from training.rl.stage import Stage
from training.samplers.a1111 import WebUISampler
from training.samplers.comfyui import ComfyUISampler
from training.samplers.servers import Patience, ServerSampler

QUICK = Patience(first=10.0, least=5.0, connect=5.0, pause=0.02, longest_pause=0.1, outage=0.3)
SHORT = Recipe(steps=3, prompts=2, copies=2, max_terms=3, warm_up=1, weights={"aesthetics": 1.0})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"), anchor=0.0)


def stage(model: Path, sampler: ServerSampler, out: Path) -> Stage:
    """A run paid by how red the pictures are."""
    redness = Aesthetics(lambda images: images.mean((2, 3)), lambda means: means[:, 0])
    return Stage(model, PROMPTS, Gallery(sampler, WeightedReward({"aesthetics": redness}, SHORT.weights)), SHORT, out)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


@pytest.mark.parametrize("host", ["comfyui", "a1111"])
def test_a_run_that_lost_its_only_server_goes_on_to_the_same_model(host: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "workflow.json").write_text(json.dumps(plain()))
    server = ComfyUIServer() if host == "comfyui" else WebUIServer()

    def sampler(patience: Patience = QUICK) -> ServerSampler:
        if host == "comfyui":
            return ComfyUISampler.open([server.url], tmp_path / "workflow.json", patience=patience)
        return WebUISampler.open([server.url], patience=patience)

    with server:
        stage(model, sampler(), tmp_path / "peace").run()
        server.seconds = 0.05
        out = tmp_path / "trouble"
        run = stage(model, sampler(), out)

        def accident() -> None:
            wait_for((out / "checkpoint").is_dir)
            before = server.painted
            wait_for(lambda: server.painted >= before + 2)
            server.stop()

        thread = threading.Thread(target=accident)
        thread.start()
        with pytest.raises(ModelError, match=r"no server has made a picture .* goes on from its last checkpoint"):
            run.run()
        thread.join()
        server.start()
        # Killed in mid-step once more, but back before patience ends: the run does not notice.
        run = stage(model, sampler(replace(QUICK, outage=30.0)), out)
        before = server.painted

        def mishap() -> None:
            wait_for(lambda: server.painted > before)
            server.stop()
            server.start()

        thread = threading.Thread(target=mishap)
        thread.start()
        history = run.run()
        thread.join()
    assert len(history) == SHORT.steps
    peace, trouble = weights(tmp_path / "peace"), weights(out)
    assert all(torch.equal(peace[name], trouble[name]) for name in peace)
