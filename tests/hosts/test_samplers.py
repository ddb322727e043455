"""Pictures for training from real servers: ComfyUI with a workflow, AUTOMATIC1111 or Forge with settings.

NEGOPT_COMFYUI_DIR, NEGOPT_COMFYUI_PYTHON, NEGOPT_COMFYUI_CHECKPOINT  as for test_comfyui.py
NEGOPT_A1111_DIR, NEGOPT_A1111_PYTHON, NEGOPT_A1111_CHECKPOINT        as for test_a1111.py

python -m pytest tests/hosts/test_samplers.py

The checkpoints hold random weights: what they paint is noise, but noise that follows from the prompt, the
negative prompt and the seed. One server runs at a time.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from negopt.errors import ModelError
from tests.tiny_policy import PROMPTS, tiny_policy
from training.miniature.build import Build
from training.miniature.plan import TINY
from training.samplers import Picture
from training.samplers.a1111 import WebUISampler
from training.samplers.comfyui import ComfyUISampler
from training.samplers.servers import Patience, ServerSampler, read_image

from .a1111_server import WebUI, basic
from .comfyui_server import CHECKPOINTS, ComfyUI, Graph, messages
from .server import PATIENCE, ROOT, HostServer

COMFYUI = ("NEGOPT_COMFYUI_DIR", "NEGOPT_COMFYUI_PYTHON", "NEGOPT_COMFYUI_CHECKPOINT")
A1111 = ("NEGOPT_A1111_DIR", "NEGOPT_A1111_PYTHON")

WAIT = Patience(first=PATIENCE, least=PATIENCE, connect=120, longest_pause=5, outage=PATIENCE)
"""A busy machine without a GPU: only a server that is gone may be given up."""
NOBODY = "http://127.0.0.1:9"
CAT, DOG = "a cat in the snow", "a dog on a beach"
FIRST = Picture(CAT, "lowres, text", 7)


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().mean())


def kill(server: HostServer) -> None:
    assert server._process is not None
    server._process.kill()
    server._process.wait()


def restart_after_the_first_picture(sampler: ServerSampler, server: HostServer) -> threading.Thread:
    """Kill the server while it is at its second picture, and start it again."""

    def accident() -> None:
        while sampler.servers[-1].usual is None:
            time.sleep(0.01)
        kill(server)
        server.start()

    thread = threading.Thread(target=accident)
    thread.start()
    return thread


def each_of_its_texts_and_its_seed_count(images: torch.Tensor) -> None:
    """Of FIRST, FIRST with another negative, with another prompt, with another seed, and FIRST."""
    assert images.shape[1:] == (3, 64, 64)
    assert images.min() >= 0
    assert images.max() <= 1
    for other in images[1:4]:
        assert distance(images[0], other) > 0.001
    assert torch.equal(images[0], images[4])


SHORT_RL = """
import signal, sys
from dataclasses import replace
from training.__main__ import main
from training.rl.recipe import PRESETS
PRESETS["group"] = replace(PRESETS["group"], warm_up=1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background of a shell ignores it
sys.exit(main(["rl", *sys.argv[1:]]))
"""
"""The command with one batch of warm-up in place of sixteen, which would take a host without a GPU too long."""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The part of an RL command that no host decides: a tiny policy, its prompts, toy judges, two steps."""
    folder = tmp_path_factory.mktemp("judged")
    Build(folder / "world", TINY).run()
    (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    model = tiny_policy(folder, anchor=0.0)
    sizes = "--steps 2 --prompts-per-step 1 --copies 2 --max-terms 2 --reward aesthetics=1".split()
    return [*sizes, "--model", str(model), "--prompts", str(folder / "prompts.txt"),
            "--judges", f"miniature:{folder / 'world'}"]  # fmt: skip


def learns_as_if_nothing_had_been(
    server: HostServer, command: list[str], out: Path, pictures: Callable[[], int], idle: Callable[[], bool]
) -> None:
    """An RL run that is killed itself and then loses its server in mid-step ends with the same model as one in peace.

    `pictures`: how many the server has made. `idle`: whether it makes none.
    """
    assert _rl([*command, "--out", str(out / "peace")]).wait(PATIENCE) == 0
    troubled = [*command, "--out", str(out / "trouble")]
    run = _rl(troubled)
    while not (out / "trouble" / "checkpoint").is_dir():
        assert run.poll() is None
        time.sleep(0.05)
    _wait_for_a_picture(run, pictures)
    run.send_signal(signal.SIGINT)
    assert run.wait(PATIENCE) == 130
    while not idle():  # what the killed run had asked for would be taken for the next one's
        time.sleep(0.5)
    run = _rl(troubled)
    _wait_for_a_picture(run, pictures)
    kill(server)
    time.sleep(3)
    server.start()
    assert run.wait(PATIENCE) == 0
    weights = [load_file(out / name / "model" / "model.safetensors") for name in ("peace", "trouble")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def _wait_for_a_picture(run: subprocess.Popen[bytes], pictures: Callable[[], int]) -> None:
    """One more than there are, of a run that goes on."""
    before = pictures()
    while pictures() == before:
        assert run.poll() is None
        time.sleep(0.05)


def _rl(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SHORT_RL, *arguments], cwd=ROOT)


FIVE = [FIRST, FIRST._replace(negative_prompt="people"), FIRST._replace(prompt=DOG), FIRST._replace(seed=8), FIRST]


# ComfyUI


@pytest.fixture(scope="module")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUI]:
    if not all(os.environ.get(name) for name in COMFYUI):
        pytest.skip(f"no ComfyUI given: set {', '.join(COMFYUI)}")
    host, python, checkpoint = (os.environ[name] for name in COMFYUI)
    server = ComfyUI(Path(host), python, tmp_path_factory.mktemp("comfyui"), checkpoint=Path(checkpoint))
    server.prepare()
    # With folders elsewhere ComfyUI does not look into its own custom_nodes.
    shutil.copy(server.host / "custom_nodes" / "websocket_image_save.py", server.base / "custom_nodes")
    server.start()
    yield server
    server.stop()


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def text_to_image(**changes: dict[str, Any]) -> Graph:
    sampling = {"seed": 1, "steps": 2, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
    graph: Graph = {
        "3": node("KSampler", **sampling, **links),
        "4": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINTS[0]),
        "5": node("EmptyLatentImage", width=64, height=64, batch_size=2),
        "6": node("CLIPTextEncode", text="", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="mine"),
    }
    return {**graph, **{key.strip("_"): made for key, made in changes.items()}}


@pytest.fixture
def workflow(tmp_path: Path) -> Callable[[Graph], Path]:
    def write(graph: Graph) -> Path:
        file = tmp_path / "workflow.json"
        file.write_text(json.dumps(graph))
        return file

    return write


@pytest.fixture(scope="module")
def painted(comfyui: ComfyUI, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """The five pictures of the plain workflow."""
    file = tmp_path_factory.mktemp("plain") / "workflow.json"
    file.write_text(json.dumps(text_to_image()))
    return ComfyUISampler.open([comfyui.url], file, patience=WAIT).sample(FIVE)


def test_comfyui_pictures_follow_from_texts_and_seed(comfyui: ComfyUI, painted: torch.Tensor) -> None:
    each_of_its_texts_and_its_seed_count(painted)


def test_comfyui_loads_the_checkpoint_once_and_writes_no_file(comfyui: ComfyUI, painted: torch.Tensor) -> None:
    records = sorted(comfyui.get("/history").values(), key=lambda record: record["prompt"][0])
    cached = [messages(record, "execution_cached")[0]["nodes"] for record in records]
    assert "4" not in cached[0]
    assert all("4" in nodes for nodes in cached[1:])
    assert "6" in cached[1]  # and a prompt that comes again is not encoded again
    assert not [file for folder in ("output", "temp") for file in (comfyui.base / folder).rglob("*.png")]


def test_comfyui_negopt_node_stands_for_the_given_texts(
    comfyui: ComfyUI, painted: torch.Tensor, workflow: Callable[[Graph], Path]
) -> None:
    """By its texts and by its conditioning: the same pictures to the last pixel as typed into the encoders."""
    writer = node("NegOpt", prompt="a fisherman", keep="ugly", clip=["4", 1])
    sampled = {**text_to_image()["3"]["inputs"], "positive": ["10", 2], "negative": ["10", 3]}
    graphs = [
        text_to_image(_10=writer, _7=node("CLIPTextEncode", text=["10", 1], clip=["4", 1])),
        text_to_image(_10=writer, _3=node("KSampler", **sampled)),
    ]
    for graph in graphs:
        sampler = ComfyUISampler.open([comfyui.url], workflow(graph), patience=WAIT)
        assert torch.equal(sampler.sample([FIRST])[0], painted[0])


def test_comfyui_sampler_with_a_guider(comfyui: ComfyUI, workflow: Callable[[Graph], Path]) -> None:
    graph = text_to_image(
        _3=node("SamplerCustomAdvanced", noise=["20", 0], guider=["21", 0], sampler=["22", 0], sigmas=["23", 0],
                latent_image=["5", 0]),
        _20=node("RandomNoise", noise_seed=1),
        _21=node("CFGGuider", model=["4", 0], positive=["6", 0], negative=["7", 0], cfg=7.0),
        _22=node("KSamplerSelect", sampler_name="euler"),
        _23=node("BasicScheduler", model=["4", 0], scheduler="normal", steps=2, denoise=1.0),
    )  # fmt: skip
    sampler = ComfyUISampler.open([comfyui.url], workflow(graph), patience=WAIT)
    images = sampler.sample(FIVE[:2])
    assert distance(*images) > 0.001
    assert sampler.description["steps"] == 2


def test_comfyui_lacks_a_checkpoint(comfyui: ComfyUI, workflow: Callable[[Graph], Path]) -> None:
    file = workflow(text_to_image(_4=node("CheckpointLoaderSimple", ckpt_name="mine.safetensors")))
    with pytest.raises(ModelError, match=rf"'mine.safetensors' for ckpt_name .* it has .*{CHECKPOINTS[1]}"):
        ComfyUISampler.open([comfyui.url], file, patience=WAIT)


def test_comfyui_killed_in_mid_step_and_started_again(
    comfyui: ComfyUI, painted: torch.Tensor, workflow: Callable[[Graph], Path]
) -> None:
    sampler = ComfyUISampler.open([NOBODY, comfyui.url], workflow(text_to_image()), patience=WAIT)
    thread = restart_after_the_first_picture(sampler, comfyui)
    images = sampler.sample(FIVE)
    thread.join()
    assert torch.equal(images, painted)


def test_comfyui_in_reinforcement_learning(
    comfyui: ComfyUI, judged: list[str], workflow: Callable[[Graph], Path], tmp_path: Path
) -> None:
    file = workflow(text_to_image(_3=node("KSampler", **{**text_to_image()["3"]["inputs"], "steps": 1})))
    command = ["--sampler", "comfyui", "--server", comfyui.url, "--workflow", str(file), *judged]
    learns_as_if_nothing_had_been(
        comfyui,
        command,
        tmp_path,
        lambda: comfyui.text_of_log().count("Prompt executed in"),
        lambda: not any(comfyui.get("/queue").values()),
    )


# AUTOMATIC1111 and Forge


@pytest.fixture(scope="module")
def webui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    """The server, with NegOpt ticked from the start."""
    if not all(os.environ.get(name) for name in A1111):
        pytest.skip(f"no AUTOMATIC1111 or Forge given: set {', '.join(A1111)}")
    host, python = (os.environ[name] for name in A1111)
    server = WebUI(Path(host), python, tmp_path_factory.mktemp("a1111"), ("--api-auth", "ann:secret"))
    server.prepare()
    (server.data / "config.json").write_text(json.dumps({"negopt_enabled": True}))
    server.start()
    yield server
    server.stop()


USER = basic("ann", "secret")
SMALL = {"width": 64, "height": 64, "steps": 2, "cfg_scale": 7, "sampler_name": "Euler"}


def open_webui(server: WebUI, folder: Path, **settings: Any) -> WebUISampler:
    file = folder / "settings.json"
    file.write_text(json.dumps({**SMALL, **settings}))
    return WebUISampler.open([server.url], file, "ann:secret", patience=WAIT)


@pytest.fixture(scope="module")
def drawn(webui: WebUI, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """The five pictures of plain settings."""
    return open_webui(webui, tmp_path_factory.mktemp("plain")).sample(FIVE)


def test_webui_pictures_follow_from_texts_and_seed(drawn: torch.Tensor) -> None:
    each_of_its_texts_and_its_seed_count(drawn)


def test_webui_negopt_does_not_rewrite_what_is_tested(webui: WebUI, drawn: torch.Tensor) -> None:
    """Asked without a word of NegOpt, the server writes negatives of its own; the sampler's pictures have none."""
    body = {**SMALL, "prompt": FIRST.prompt, "negative_prompt": FIRST.negative_prompt, "seed": FIRST.seed}
    answer = webui.post("/sdapi/v1/txt2img", body, **USER)
    assert f"Negative prompt: {FIRST.negative_prompt}, " in json.loads(answer["info"])["infotexts"][0]
    body["alwayson_scripts"] = {"NegOpt": {"args": [False]}}
    answer = webui.post("/sdapi/v1/txt2img", body, **USER)
    assert f"Negative prompt: {FIRST.negative_prompt}\n" in json.loads(answer["info"])["infotexts"][0]
    assert torch.equal(read_image(base64.b64decode(answer["images"][0])), drawn[0])


def test_webui_settings_from_a_picture(webui: WebUI, drawn: torch.Tensor, tmp_path: Path) -> None:
    body = {**SMALL, "prompt": DOG, "negative_prompt": "ugly", "seed": 99}
    answer = webui.post("/sdapi/v1/txt2img", body, **USER)
    (tmp_path / "picture.png").write_bytes(base64.b64decode(answer["images"][0]))
    sampler = WebUISampler.open([webui.url], tmp_path / "picture.png", "ann:secret", patience=WAIT)
    assert torch.equal(sampler.sample([FIRST])[0], drawn[0])
    # Forge reads no checkpoint out of a picture that the loaded one made; so that one's file is named.
    assert sampler.description["checkpoint"] == ("random.safetensors" if webui.is_forge else "random")
    assert sampler.description["size"] == 64


def test_webui_second_pass(webui: WebUI, tmp_path: Path) -> None:
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.7}
    images = open_webui(webui, tmp_path, **hires).sample(FIVE[:2])
    assert images.shape == (2, 3, 128, 128)
    assert distance(*images) > 0.001


def test_webui_lacks_a_checkpoint_or_refuses_the_password(webui: WebUI, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no checkpoint 'mine'; it has random.safetensors"):
        open_webui(webui, tmp_path, override_settings={"sd_model_checkpoint": "mine"})
    with pytest.raises(ModelError, match="refuses this --api-auth"):
        WebUISampler.open([webui.url], auth="ann:wrong", patience=WAIT)


def test_webui_killed_in_mid_step_and_started_again(webui: WebUI, drawn: torch.Tensor, tmp_path: Path) -> None:
    sampler = open_webui(webui, tmp_path)
    thread = restart_after_the_first_picture(sampler, webui)
    images = sampler.sample(FIVE)
    thread.join()
    assert torch.equal(images, drawn)


def test_webui_in_reinforcement_learning(webui: WebUI, judged: list[str], tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(SMALL))
    command = ["--sampler", "a1111", "--server", webui.url, "--settings", str(tmp_path / "settings.json"), *judged]
    learns_as_if_nothing_had_been(
        webui,
        [*command, "--api-auth", "ann:secret"],
        tmp_path,
        lambda: len(webui.times("process")),
        lambda: webui.get("/sdapi/v1/progress", **USER)["state"]["job_count"] == 0,
    )
