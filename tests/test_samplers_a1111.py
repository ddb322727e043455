"""AUTOMATIC1111 and Forge as a sampler: settings from files and pictures, and a small server that speaks their API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from negopt.errors import ModelError, OptionError
from tests.picture_servers import WebUIServer, colour, seen, wait_for
from training.samplers import Picture
from training.samplers.a1111 import WebUISampler, settings_of
from training.samplers.servers import Patience

QUICK = Patience(first=5.0, least=0.5, times=50.0, connect=2.0, pause=0.02, longest_pause=0.1, outage=1.0)
PICTURES = [Picture(f"prompt {number % 3}", f"negative {number % 2}", number // 4) for number in range(12)]
FIRST = "dream.safetensors [0123456789]"
"""The title of the checkpoint that the server has loaded."""


@pytest.fixture
def server() -> Iterator[WebUIServer]:
    running = WebUIServer()
    with running:
        yield running


def settings_file(folder: Path, **settings: Any) -> Path:
    file = folder / "settings.json"
    file.write_text(json.dumps({"width": 16, "height": 8, **settings}))
    return file


def asked(server: WebUIServer, settings: Path | None = None, **more: Any) -> dict[str, Any]:
    """What the server is asked for a picture with these settings."""
    WebUISampler.open([server.url], settings, patience=QUICK, **more).sample([Picture("a cat", "lowres", 77)])
    return server.requests[-1]


def test_pictures_of_a_server(server: WebUIServer, tmp_path: Path) -> None:
    sampler = WebUISampler.open([server.url], settings_file(tmp_path), patience=QUICK)
    images = sampler.sample(PICTURES)
    assert images.shape == (12, 3, 8, 16)
    expected = [colour(picture.prompt, picture.negative_prompt, picture.seed, FIRST) for picture in PICTURES]
    assert [seen(image) for image in images] == expected


def test_one_picture_is_asked_for_and_none_is_saved(server: WebUIServer, tmp_path: Path) -> None:
    request = asked(server, settings_file(tmp_path, batch_size=4, n_iter=3, save_images=True, seed=5))
    assert (request["batch_size"], request["n_iter"], request["save_images"], request["seed"]) == (1, 1, False, 77)


def test_our_own_extension_does_not_rewrite_the_negatives(server: WebUIServer, tmp_path: Path) -> None:
    """The small server's extension is ticked, and writes wherever it is not told to keep still."""
    scripts = {"negopt": {"args": [True]}, "ADetailer": {"args": [False]}}
    request = asked(server, settings_file(tmp_path, alwayson_scripts=scripts))
    assert request["alwayson_scripts"] == {"NegOpt": {"args": [False]}, "ADetailer": {"args": [False]}}


def test_a_server_without_the_extension_is_not_asked_for_it(tmp_path: Path) -> None:
    with WebUIServer(extension=False) as server:
        assert asked(server, settings_file(tmp_path))["alwayson_scripts"] == {}


def test_settings_steps_and_guidance(server: WebUIServer, tmp_path: Path) -> None:
    file = settings_file(tmp_path, steps=30, cfg_scale=5.5, scheduler="Karras", sampler_name="DPM++ 2M")
    request = asked(server, file)
    assert (request["steps"], request["cfg_scale"], request["scheduler"]) == (30, 5.5, "Karras")
    request = asked(server, file, steps=8, guidance=3.0)
    assert (request["steps"], request["cfg_scale"]) == (8, 3.0)
    sampler = WebUISampler.open([server.url], file, steps=8, patience=QUICK)
    said = {**sampler.description}
    assert len(said.pop("settings")) == 16
    assert said == {
        "sampler": "a1111", "checkpoint": "dream.safetensors", "steps": 8, "guidance": 5.5,
        "scheduler": "DPM++ 2M Karras", "size": "16x8",
    }  # fmt: skip


def test_other_settings_have_another_record(server: WebUIServer, tmp_path: Path) -> None:
    def record(**settings: Any) -> Any:
        return WebUISampler.open([server.url], settings_file(tmp_path, **settings), patience=QUICK).description

    assert record(eta=0.5) == record(eta=0.5) != record(eta=0.6)


def test_tags_of_the_settings_go_with_every_prompt_and_marks_keep_what_is_around_them(
    server: WebUIServer, tmp_path: Path
) -> None:
    request = asked(server, settings_file(tmp_path, prompt="a dog <lora:ink:0.8>, 8k", negative_prompt="ugly"))
    assert (request["prompt"], request["negative_prompt"]) == ("a cat <lora:ink:0.8>", "lowres")
    marked = settings_file(tmp_path, prompt="best, {prompt} <lora:ink:0.8>", negative_prompt="Easy, {negative}")
    request = asked(server, marked)
    assert (request["prompt"], request["negative_prompt"]) == ("best, a cat <lora:ink:0.8>", "Easy, lowres")


def test_the_second_pass_has_the_texts_of_the_first(server: WebUIServer, tmp_path: Path) -> None:
    request = asked(server, settings_file(tmp_path, enable_hr=True, hr_negative_prompt="ugly", cfg_scale=5.0))
    assert (request["hr_negative_prompt"], request["hr_cfg"]) == ("", 5.0)
    assert request["hr_additional_modules"] == ["Use same choices"]


def test_settings_are_read_from_a_picture_by_the_server(server: WebUIServer, tmp_path: Path) -> None:
    text = (
        "a dog <lora:ink:0.8>\nNegative prompt: ugly\nSteps: 30, Sampler: Euler a, CFG scale: 5.5, Seed: 1, Size: 16x8"
    )
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", f"{text}, Model hash: abc, Model: other, Clip skip: 2")
    Image.new("RGB", (16, 8)).save(tmp_path / "picture.png", pnginfo=info)
    request = asked(server, tmp_path / "picture.png")
    assert request["prompt"] == "a cat <lora:ink:0.8>"
    assert {name: request[name] for name in ("steps", "sampler_name", "cfg_scale", "width", "height")} == {
        "steps": 30, "sampler_name": "Euler a", "cfg_scale": 5.5, "width": 16, "height": 8
    }  # fmt: skip
    assert request["override_settings"] == {"sd_model_checkpoint": "other.ckpt", "CLIP_stop_at_last_layers": 2}
    assert "enable_hr" not in request


def test_a_second_pass_in_an_infotext() -> None:
    settings = settings_of(
        {"Steps": "20", "Denoising strength": "0.5", "Hires upscale": "1.5", "Hires upscaler": "Latent"}
    )
    assert (settings["enable_hr"], settings["hr_scale"], settings["denoising_strength"]) == (True, 1.5, 0.5)
    assert "hr_resize_x" not in settings_of({"Steps": "20", "Hires resize-1": 0})


def test_a_picture_without_settings_and_files_that_are_none(server: WebUIServer, tmp_path: Path) -> None:
    Image.new("RGB", (16, 8)).save(tmp_path / "picture.png")
    (tmp_path / "broken.json").write_text('{"steps": ')
    (tmp_path / "list.json").write_text('{"override_settings": []}')
    for name, message in (
        ("picture.png", "neither settings in JSON nor a picture"),
        ("broken.json", "not JSON"),
        ("list.json", "override_settings must be"),
        ("none.json", "cannot be read"),
    ):
        with pytest.raises(OptionError, match=message):
            WebUISampler.open([server.url], tmp_path / name, patience=QUICK)


@pytest.mark.parametrize("name", ["other", "other.ckpt", "dream", "0123456789", "dream.safetensors [0123456789]"])
def test_a_checkpoint_by_any_of_its_names(server: WebUIServer, tmp_path: Path, name: str) -> None:
    request = asked(server, settings_file(tmp_path, override_settings={"sd_model_checkpoint": name}))
    title = "other.ckpt" if name.startswith("other") else FIRST
    assert request["override_settings"]["sd_model_checkpoint"] == title


def test_a_checkpoint_that_is_not_there_is_said_with_those_that_are(server: WebUIServer, tmp_path: Path) -> None:
    file = settings_file(tmp_path, override_settings={"sd_model_checkpoint": "mine"})
    with pytest.raises(ModelError, match=r"no checkpoint 'mine'; it has dream.safetensors, other.ckpt"):
        WebUISampler.open([server.url], file, patience=QUICK)


def test_without_a_name_all_servers_use_what_the_first_has_loaded(server: WebUIServer) -> None:
    with WebUIServer() as second:
        second.checkpoints = ["another.safetensors"]
        with pytest.raises(ModelError, match=r"no checkpoint 'dream.safetensors'; it has another.safetensors"):
            WebUISampler.open([server.url, second.url], patience=QUICK)
        second.checkpoints = ["another.safetensors", "dream.safetensors"]
        WebUISampler.open([server.url, second.url], patience=QUICK).sample(PICTURES)
        assert {request["override_settings"]["sd_model_checkpoint"] for request in second.requests} == {
            "dream.safetensors"
        }


def test_settings_without_a_negative_are_an_error(server: WebUIServer) -> None:
    with pytest.raises(OptionError, match="without a negative"):
        WebUISampler.open([server.url], guidance=1.0, patience=QUICK)


def test_authorization() -> None:
    with WebUIServer(auth="ann:se:cret") as server:
        WebUISampler.open([server.url], auth="ann:se:cret", patience=QUICK).sample(PICTURES[:1])
        with pytest.raises(ModelError, match="refuses this --api-auth"):
            WebUISampler.open([server.url], auth="ann:wrong", patience=QUICK)
        with pytest.raises(ModelError, match="wants --api-auth"):
            WebUISampler.open([server.url], patience=QUICK)
        with pytest.raises(OptionError, match="USER:PASSWORD"):
            WebUISampler.open([server.url], auth="ann", patience=QUICK)


def test_a_server_without_its_api(server: WebUIServer) -> None:
    with pytest.raises(ModelError, match="start it with --api"):
        WebUISampler.open([f"{server.url}/elsewhere"], patience=QUICK)


@pytest.mark.parametrize("answer", [{}, None, {"images": None}, {"images": [None]}, {"images": ["cut"]}])
def test_a_server_that_answers_as_no_web_ui_does(server: WebUIServer, answer: Any) -> None:
    sampler = WebUISampler.open([server.url], patience=QUICK)
    server.answers["txt2img"] = answer
    with pytest.raises(ModelError, match="does not answer as the web UI does"):
        sampler.sample(PICTURES[:1])


@pytest.mark.parametrize(
    ("route", "answer"),
    [("scripts", {}), ("scripts", None), ("sd-models", None), ("sd-models", [{}]), ("options", None)],
)
def test_another_program_is_told_before_any_picture(server: WebUIServer, route: str, answer: Any) -> None:
    server.answers[route] = answer
    with pytest.raises(ModelError, match="does not answer as the web UI does"):
        WebUISampler.open([server.url], patience=QUICK)


def test_another_program_is_told_when_it_is_to_read_a_picture(server: WebUIServer, tmp_path: Path) -> None:
    Image.new("RGB", (16, 8)).save(tmp_path / "picture.png")
    server.answers["png-info"] = None
    with pytest.raises(ModelError, match="does not answer as the web UI does"):
        WebUISampler.open([server.url], tmp_path / "picture.png", patience=QUICK)


def test_a_fault_ends_with_the_servers_words(server: WebUIServer) -> None:
    sampler = WebUISampler.open([server.url], patience=QUICK)
    server.fault = "CUDA out of\nmemory"
    with pytest.raises(ModelError, match="OutOfMemoryError; CUDA out of memory"):
        sampler.sample(PICTURES)


def test_a_server_killed_in_mid_work_and_started_again(server: WebUIServer, tmp_path: Path) -> None:
    file = settings_file(tmp_path)
    expected = WebUISampler.open([server.url], file, patience=QUICK).sample(PICTURES)
    server.seconds, before = 0.05, server.painted

    def accident() -> None:
        wait_for(lambda: server.painted >= before + 3)
        server.stop()
        server.start()

    thread = threading.Thread(target=accident)
    thread.start()
    images = WebUISampler.open([server.url], file, patience=QUICK).sample(PICTURES)
    thread.join()
    assert (images == expected).all()


def test_a_server_that_stays_dead_ends_the_run_with_one_error(server: WebUIServer) -> None:
    sampler = WebUISampler.open([server.url], patience=replace(QUICK, outage=0.3))
    server.stop()
    with pytest.raises(ModelError, match=r"(?i)no server has made a picture .*refused"):
        sampler.sample(PICTURES)
