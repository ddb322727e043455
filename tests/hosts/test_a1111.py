"""The extension in a real AUTOMATIC1111 or Forge: through its API, then in a browser.

    NEGOPT_A1111_DIR=.../stable-diffusion-webui NEGOPT_A1111_PYTHON=.../venv/bin/python pytest tests/hosts/test_a1111.py

The host must be installed with all it needs; its folder is only read. The same file runs on both hosts. More variables:

NEGOPT_A1111_CHECKPOINT  a full-size checkpoint for Forge; without one, random weights are written, 2 GB
NEGOPT_SCREENSHOT        where to save a picture of the page
NEGOPT_CHROMIUM          the browser, /usr/bin/chromium if not given
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import statistics
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from negopt.locate import BUNDLED
from tests.preferring import give_preferences

from .a1111_server import WebUI, basic

DIR, PYTHON = "NEGOPT_A1111_DIR", "NEGOPT_A1111_PYTHON"
pytestmark = pytest.mark.skipif(
    not (os.environ.get(DIR) and os.environ.get(PYTHON)),
    reason=f"no host given: set {DIR} to a folder of AUTOMATIC1111 or Forge and {PYTHON} to its Python",
)

PROMPT, OWN = "portrait photo of an old fisherman, 85mm", "ugly"
USER = basic("ann", "secret")
SMALL: dict[str, Any] = {"width": 64, "height": 64, "steps": 2, "sampler_name": "Euler", "cfg_scale": 7, "seed": 5}
HIRES: dict[str, Any] = {
    "enable_hr": True,
    "hr_scale": 2,
    "hr_upscaler": "Latent",
    "denoising_strength": 0.7,
    "hr_cfg": 7,
    "hr_additional_modules": ["Use same choices"],
}
"""The last two are Forge's; AUTOMATIC1111 passes over them."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    scratch = tmp_path_factory.mktemp("a1111")
    running = WebUI(Path(os.environ[DIR]), os.environ[PYTHON], scratch, ("--api-auth", "ann:secret"))
    running.prepare()
    _write_embedding(running.data / "embeddings" / "EasyNegative.safetensors", 768 if running.is_forge else 32)
    _write_broken_model(running.data / "models" / "negopt" / "broken")
    shutil.copytree(BUNDLED, running.data / "models" / "negopt" / "told")
    give_preferences(running.data / "models" / "negopt" / "told", ("beauty", "calm"))
    running.start()
    yield running
    running.stop()


def _write_broken_model(folder: Path) -> None:
    """A model folder that is listed and cannot be opened."""

    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((BUNDLED / name).read_bytes())
    (folder / "model.safetensors").write_bytes(b"not a safetensors file")


def _write_embedding(file: Path, width: int) -> None:
    """A textual inversion of one token that fits the checkpoint."""
    import torch
    from safetensors.torch import save_file

    save_file({"emb_params": torch.randn(1, width, generator=torch.Generator().manual_seed(0))}, str(file))


class Pictures:
    """What one request gave: the pictures, and the infotext of each."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.info = json.loads(answer["info"])
        self.infotexts: list[str] = self.info["infotexts"]
        self.images = answer["images"]

    @property
    def negatives(self) -> list[str]:
        return [_negative(text) for text in self.infotexts]

    def pixels(self, number: int = 0) -> bytes:
        """The colours of one picture, without what is written in its file."""
        return bytes(self._image(number).convert("RGB").tobytes())

    def in_files(self) -> list[str]:
        """The infotexts that are written in the pictures' files."""
        texts = [self._image(number).info.get("parameters", "") for number in range(len(self.images))]
        return [text for text in texts if text]

    def _image(self, number: int) -> Any:
        image = pytest.importorskip("PIL.Image", reason="Pillow is needed to read pictures")
        return image.open(io.BytesIO(base64.b64decode(self.images[number])))


def _negative(infotext: str) -> str:
    lines = [line for line in infotext.split("\n") if line.startswith("Negative prompt: ")]
    return lines[0].removeprefix("Negative prompt: ") if lines else ""


def make(server: WebUI, *arguments: Any, path: str = "txt2img", **request: Any) -> Pictures:
    """Pictures of one request; NegOpt's `arguments` in the order of the API's list, none to leave it out."""
    body = {"prompt": PROMPT, "negative_prompt": OWN, **SMALL, **request}
    if arguments:
        body["alwayson_scripts"] = {"NegOpt": {"args": list(arguments)}}
    return Pictures(server.post(f"/sdapi/v1/{path}", body, **USER))


@pytest.fixture(scope="module")
def typed(server: WebUI) -> Pictures:
    """The picture without NegOpt."""
    return make(server)


@pytest.fixture(scope="module")
def written(server: WebUI) -> Pictures:
    """The picture with NegOpt as it comes."""
    return make(server, True)


def test_it_is_listed_with_its_arguments(server: WebUI) -> None:
    scripts = server.get("/sdapi/v1/script-info", **USER)
    ours = [script for script in scripts if script["name"] == "negopt"]
    assert sorted(script["is_img2img"] for script in ours) == [False, True]
    assert [argument["label"] for argument in ours[0]["args"]][:5] == [
        "NegOpt",
        "Mode",
        "Model",
        "Creativity",
        "Max terms",
    ]
    assert ours[0]["args"][2]["choices"] == ["negopt-mini", "broken", "told"]


def test_the_picture_is_the_one_with_the_same_negative_typed_by_hand(
    server: WebUI, typed: Pictures, written: Pictures
) -> None:
    assert typed.negatives == [OWN]
    (negative,) = written.negatives
    assert negative.startswith("ugly, ")
    assert len(negative.split(", ")) > 8
    assert written.pixels() != typed.pixels()
    by_hand = make(server, negative_prompt=negative)
    assert by_hand.pixels() == written.pixels()
    assert "NegOpt" not in by_hand.infotexts[0]


def test_infotext(written: Pictures) -> None:
    for part in (
        "NegOpt: extend mine",
        "NegOpt model: negopt-mini",
        "NegOpt creativity: 0",
        "NegOpt max terms: 30",
        "NegOpt original: ugly",
    ):
        assert part in written.infotexts[0]


def test_modes(server: WebUI) -> None:
    replaced = make(server, True, "replace mine").negatives[0]
    assert not replaced.startswith("ugly, ")
    assert len(replaced.split(", ")) > 8
    assert make(server, True, "only when mine is empty").negatives == ["ugly"]
    assert make(server, True, "only when mine is empty", negative_prompt="").negatives == [replaced]


def test_all_options(server: WebUI) -> None:
    pictures = make(server, True, "replace mine", "negopt-mini", 0.8, 9, "blurry, text", True, False, False, 40, 123)
    (negative,) = pictures.negatives
    assert 1 < len(negative.split(", ")) <= 9
    assert "blurry" not in negative
    for part in ("creativity: 0.8", "max terms: 9", 'avoid: "blurry, text"', "weights: True", "max tokens: 40"):
        assert f"NegOpt {part}" in pictures.infotexts[0]
    assert "NegOpt seed: 123" in pictures.infotexts[0]


def test_two_batches_of_two_share_one_text(server: WebUI, written: Pictures) -> None:
    batch = make(server, True, batch_size=2, n_iter=2)
    assert batch.negatives == written.negatives * 4
    assert batch.info["all_negative_prompts"] == written.negatives * 4
    assert make(server, batch_size=2, n_iter=2, negative_prompt=written.negatives[0]).pixels(3) == batch.pixels(3)


EACH_PICTURE = (True, "extend mine", None, 0.0, 30, "", False, False, True)


def test_another_negative_for_each_picture_comes_back_from_its_seed(server: WebUI) -> None:
    batch = make(server, *EACH_PICTURE, batch_size=2, n_iter=2)
    assert len(set(batch.negatives)) == 4
    assert all(negative.startswith("ugly, ") for negative in batch.negatives)
    assert make(server, *EACH_PICTURE, seed=7).negatives == [batch.negatives[2]]


def test_hires(server: WebUI, written: Pictures) -> None:
    pictures = make(server, True, **HIRES)
    assert pictures.negatives == written.negatives
    assert "Hires negative prompt" not in pictures.infotexts[0]
    assert pictures.pixels() == make(server, negative_prompt=written.negatives[0], **HIRES).pixels()


def test_hires_with_another_negative_for_each_picture(server: WebUI) -> None:
    batch = make(server, *EACH_PICTURE, batch_size=2, n_iter=2, **HIRES)
    assert len(set(batch.negatives)) == 4
    assert not [text for text in batch.infotexts if "Hires negative prompt" in text]


def test_hires_negative_of_its_own(server: WebUI) -> None:
    batch = make(server, *EACH_PICTURE, n_iter=2, hr_negative_prompt="grain", **HIRES)
    for text in batch.infotexts:
        assert 'Hires negative prompt: "grain, ' in text
        assert "NegOpt hires original: grain" in text
    hires = [text.split('Hires negative prompt: "')[1].split('"')[0] for text in batch.infotexts]
    alone = make(server, *EACH_PICTURE, seed=6, hr_negative_prompt="grain", **HIRES)
    assert f'Hires negative prompt: "{hires[1]}"' in alone.infotexts[0], "the second batch tells its own text"


def test_styles(server: WebUI) -> None:
    (negative,) = make(server, True, styles=["foggy"]).negatives
    assert negative.startswith("ugly, sunshine, ")
    assert "fog" not in negative.split(", "), "the style asks for it"


def test_comments_neither_leak_nor_swallow(server: WebUI, written: Pictures) -> None:
    commented = make(server, True, prompt=PROMPT + " # secret word", negative_prompt="ugly # private")
    assert commented.negatives == written.negatives
    assert commented.pixels() == written.pixels()
    for leaked in ("secret", "private", "#"):
        assert leaked not in commented.infotexts[0]


def test_guidance_one_is_left_alone(server: WebUI) -> None:
    pictures = make(server, True, cfg_scale=1)
    assert pictures.negatives == [OWN]
    assert "NegOpt note:" in pictures.infotexts[0]
    assert "guidance is 1" in pictures.infotexts[0]


def test_img2img_and_inpaint(server: WebUI, typed: Pictures, written: Pictures) -> None:
    start: dict[str, Any] = {"path": "img2img", "init_images": [typed.images[0]], "denoising_strength": 0.8}
    masked: dict[str, Any] = {"mask": _mask(), "inpainting_fill": 1}
    for more in ({}, masked):
        off = make(server, **start, **more)  # first: Forge's first masked picture differs from its own repetition
        pictures = make(server, True, **start, **more)
        assert pictures.negatives == written.negatives
        by_hand = make(server, negative_prompt=written.negatives[0], **start, **more)
        assert pictures.pixels() == by_hand.pixels()
        assert pictures.pixels() != off.pixels()


def _mask() -> str:
    image = pytest.importorskip("PIL.Image", reason="Pillow is needed to make a mask")
    mask = image.new("L", (64, 64), 0)
    mask.paste(255, (16, 16, 56, 56))
    file = io.BytesIO()
    mask.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_loopback_does_not_compound(server: WebUI, typed: Pictures, written: Pictures) -> None:
    loops = make(
        server,
        True,
        path="img2img",
        init_images=[typed.images[0]],
        script_name="loopback",
        script_args=[3, 0.5, "Linear", "None"],
    )
    texts = loops.in_files()
    assert len(texts) >= 3
    assert {_negative(text) for text in texts} == set(written.negatives)


def test_prompt_matrix_and_prompts_from_file(server: WebUI) -> None:
    matrix = make(
        server,
        True,
        prompt="portrait photo of an old fisherman|watermark",
        script_name="prompt matrix",
        script_args=[False, False, "positive", "comma", 0],
    )
    assert "watermark" in matrix.negatives[1]
    assert "watermark" not in matrix.negatives[2], "this cell asks for it"
    lines = make(
        server,
        True,
        script_name="prompts from file or textbox",
        script_args=[False, False, "start", "a cat\na city street at night"],
    )
    assert len(set(lines.negatives)) == 2


def test_what_a_wildcard_became_is_read(server: WebUI) -> None:
    values = (True, "replace mine", None, 0.0, 60, "", False, False, False, 0)
    drawn = make(server, *values, prompt="__style__ of a cat")
    assert drawn.infotexts[0].startswith("black and white pencil sketch of a cat\n")
    assert drawn.negatives == make(server, *values, prompt="black and white pencil sketch of a cat").negatives


def _grid(server: WebUI, label: str, values: str, model: str | None = None) -> Pictures:
    """An X/Y/Z plot with one of our axes; its pictures come after the grid's own infotext."""
    scripts = server.get("/sdapi/v1/script-info", **USER)
    plot = next(s for s in scripts if s["name"] == "x/y/z plot" and not s["is_img2img"])
    axis = plot["args"][0]["choices"].index(f"[NegOpt] {label}")
    arguments = [axis, values, [], 0, "", [], 0, "", [], False, True, False, False, False, False, False, 0, True]
    on = label != "On/off"
    return make(server, on, None, model, script_name="x/y/z plot", script_args=arguments)


def test_xyz_on_and_off_do_not_leak(server: WebUI, typed: Pictures, written: Pictures) -> None:
    cells = _grid(server, "On/off", "on, off, on")
    assert cells.negatives[1:] == [written.negatives[0], OWN, written.negatives[0]]
    assert [("NegOpt" in text) for text in cells.infotexts[1:]] == [True, False, True]
    assert cells.pixels(1) == written.pixels()
    assert cells.pixels(2) == typed.pixels()


def test_xyz_other_axes(server: WebUI, written: Pictures) -> None:
    terms = _grid(server, "Max terms", "2, 4").infotexts[1:]
    assert [len(_negative(text).split(", ")) for text in terms] == [1 + 2, 1 + 4]
    assert ["NegOpt max terms: 2" in text for text in terms] == [True, False]
    modes = _grid(server, "Mode", "extend mine, only when mine is empty").negatives[1:]
    assert modes == [written.negatives[0], OWN]
    varied = _grid(server, "Creativity", "0, 1").negatives[1:]
    assert varied[0] == written.negatives[0] != varied[1]


PREFERRING = (True, "extend mine", "told", *[None] * 9)


def test_a_model_is_told_what_shall_count(server: WebUI) -> None:
    alone = [make(server, *PREFERRING, {name: 1}) for name in ("beauty", "calm")]
    both = make(server, *PREFERRING, "beauty=1, calm=3")
    assert len({pictures.negatives[0] for pictures in (*alone, both)}) == 3
    assert 'NegOpt prefer: "beauty=1, calm=3"' in both.infotexts[0]
    again = make(server, *PREFERRING, "calm=6, beauty=2")
    assert (again.negatives, again.pixels()) == (both.negatives, both.pixels())
    assert make(server, *PREFERRING).negatives == make(server, *PREFERRING, "beauty=2, calm=2").negatives
    cells = _grid(server, "Prefer", '"beauty=1, calm=3", calm=1', model="told")
    assert cells.negatives[1:] == [*both.negatives, *alone[1].negatives]


def test_an_extension_with_our_packages_names_does_not_matter(server: WebUI) -> None:
    assert (server.data / "extensions" / "aaa-rude").is_dir()
    assert "Error loading script: aaa_rude.py" not in server.text_of_log(), "it had its own packages"


def test_axes_are_there_once(server: WebUI) -> None:
    scripts = server.get("/sdapi/v1/script-info", **USER)
    for plot in (script for script in scripts if script["name"] == "x/y/z plot"):
        ours = [choice for choice in plot["args"][0]["choices"] if "NegOpt" in choice]
        assert ours == [f"[NegOpt] {x}" for x in ("On/off", "Mode", "Model", "Creativity", "Max terms", "Prefer")]


def test_what_was_written_is_not_written_upon(server: WebUI, written: Pictures) -> None:
    """As pasting does it: the written text stands in the box, `originals` tells what it came from."""
    (negative,) = written.negatives
    values = [True, *[None] * 10, json.dumps({negative: OWN})]
    again = make(server, *values, negative_prompt=negative)
    assert again.negatives == [negative]
    assert again.infotexts == written.infotexts


def test_an_infotext_makes_its_picture_again(server: WebUI) -> None:
    if server.is_forge:
        pytest.skip("Forge's own API fails on any request with the field infotext")
    first = make(server, True, "extend mine", None, 0.9, 14, "frame", True)
    body = {"infotext": first.infotexts[0], "steps": 2}
    again = Pictures(server.post("/sdapi/v1/txt2img", body, **USER))
    host_adds = "Schedule type: Automatic, "
    assert [text.replace(host_adds, "") for text in again.infotexts] == first.infotexts
    assert again.pixels() == first.pixels()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((True, "append"), "mode must be one of"),
        ((True, "extend mine", "no such model"), "there is no model 'no such model'"),
        ((True, "extend mine", "../../etc"), "there is no model"),
        ((True, "extend mine", "negopt-mini", "high"), "creativity must be a number from 0 to 2, not 'high'"),
        ((True, "extend mine", "negopt-mini", 0, 1000), "max_terms must be a whole number from 0 to 100"),
        ((True, "extend mine", "broken"), "model.safetensors"),
        ((True, "extend mine", "told", *[None] * 9, "beauty"), "prefer: 'beauty' is not METRIC=NUMBER"),
        ((True, "extend mine", "told", *[None] * 9, "noise=1"), "there are: beauty, calm"),
        ((True, "extend mine", None, *[None] * 9, "beauty=1"), "this model was not trained for preferences"),
        (("yes",), "enabled must be true or false"),
    ],
)
def test_whatever_fails_the_picture_is_made(
    server: WebUI, typed: Pictures, arguments: tuple[Any, ...], reason: str
) -> None:
    pictures = make(server, *arguments)
    assert pictures.negatives == [OWN]
    assert pictures.pixels() == typed.pixels()
    assert reason in pictures.infotexts[0]
    assert "NegOpt: extend" not in pictures.infotexts[0]
    assert any(line.startswith("NegOpt:") and reason in line for line in _plain(server.text_of_log()))


def _plain(log: str) -> list[str]:
    """The log's lines without the hosts' colours and prefixes."""
    return [line[line.find("NegOpt:") :] for line in log.splitlines() if "NegOpt:" in line]


def test_embeddings_are_written_only_where_they_are_loaded(server: WebUI) -> None:
    """To someone who uses embeddings the model writes others, too; of those only one has its file here."""
    request = {"prompt": "masterpiece, best quality, 1girl", "negative_prompt": "bad-hands-5, badhandv4"}
    known = _embeddings_of_the_bundled_model() - {"bad-hands-5", "badhandv4"}
    values = [True, "extend mine", None, 0.0, 60, "", False]
    terms = make(server, *values, True, False, 0, **request).negatives[0].split(", ")
    assert [term for term in terms if term in known] == ["EasyNegative"]
    terms = make(server, *values, False, False, 0, **request).negatives[0].split(", ")
    assert not [term for term in terms if term in known]


def _embeddings_of_the_bundled_model() -> set[str]:

    return set(json.loads((BUNDLED / "negopt.json").read_text("utf-8"))["embeddings"].values())


def test_routes(server: WebUI) -> None:
    names = server.get("/negopt/v1/models", **USER)
    assert names == {"models": ["negopt-mini", "broken", "told"], "default": "negopt-mini"}
    answer = server.post("/negopt/v1/generate", {"prompt": PROMPT, "keep": "ugly", "n": 2}, **USER)
    assert answer["negative_prompt"].startswith("ugly, ")
    assert answer["terms"][0]["origin"] == "keep"
    assert len(answer["alternatives"]) == 1


def test_routes_answer_what_the_script_writes(server: WebUI, written: Pictures) -> None:
    answer = server.post("/negopt/v1/generate", {"prompt": PROMPT, "keep": "ugly"}, **USER)
    assert [answer["negative_prompt"]] == written.negatives


@pytest.mark.parametrize("path", ["/negopt/v1/models", "/negopt/v1/generate", "/sdapi/v1/scripts"])
def test_routes_ask_for_the_password_as_the_hosts_do(server: WebUI, path: str) -> None:
    body = b'{"prompt": "a cat"}' if path.endswith("generate") else None
    for headers in ({}, basic("ann", "wrong"), basic("eve", "secret")):
        assert server.refusal(path, body, **headers)[0] == 401


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{", 422, "not JSON"),
        (b'{"prompt": 1}', 422, "must be text"),
        (b'{"prompt": "a", "max_terms": -1}', 422, "max_terms must be a whole number"),
        (b'{"prompt": "a", "colour": 1}', 422, "unknown option"),
        (b'{"prompt": "a", "model": "/etc"}', 404, "there is no model"),
        (b'{"prompt": "a", "model": "broken"}', 500, "model.safetensors"),
        (b'{"prompt": "' + b"a" * 70_000 + b'"}', 413, "longer than"),
    ],
)
def test_routes_refuse_with_a_clear_line(server: WebUI, body: bytes, status: int, reason: str) -> None:
    given, text = server.refusal("/negopt/v1/generate", body, **USER)
    assert given == status
    assert reason in json.loads(text)["detail"]


def test_a_record_is_kept_on_request(server: WebUI) -> None:
    server.post("/sdapi/v1/options", {"negopt_record_file": "record.jsonl"}, **USER)
    make(server, True, batch_size=2, prompt=f"{PROMPT}, in a record")
    server.post("/sdapi/v1/options", {"negopt_record_file": ""}, **USER)
    make(server, True)
    (line,) = [json.loads(line) for line in (server.data / "record.jsonl").read_text("utf-8").splitlines()]
    assert line["prompt"] == f"{PROMPT}, in a record"
    assert line["negative_prompt"].startswith("ugly, ")


def test_null_is_what_the_settings_page_says(server: WebUI) -> None:
    server.post("/sdapi/v1/options", {"negopt_max_terms": 3}, **USER)
    made = make(server, True, None, None, None, None)
    server.post("/sdapi/v1/options", {"negopt_max_terms": 30}, **USER)
    assert len(made.negatives[0].split(", ")) == 1 + 3  # "ugly" is the own one
    assert len(make(server, True).negatives[0].split(", ")) > 4


def test_a_models_folder_that_cannot_be_read_costs_nothing(server: WebUI) -> None:
    for folder in ("~nobody-of-that-name/models", "x" * 300, str(server.data / "record.jsonl" / "in it")):
        server.post("/sdapi/v1/options", {"negopt_models_folder": folder}, **USER)
        assert "negopt-mini" in server.get("/negopt/v1/models", **USER)["models"]
        assert "NegOpt note" not in make(server, True).infotexts[0]
    server.post("/sdapi/v1/options", {"negopt_models_folder": ""}, **USER)


def test_the_cost_is_small(server: WebUI) -> None:
    """Bounds for a busy machine; `-s` shows what it was."""
    before = len(server.times("process"))
    for number in range(9):
        make(server, True, prompt=f"{PROMPT}, number {number}")
    generate = statistics.median(server.times("process")[before:])
    records = server.get("/internal/profile-startup", **USER)["records"]
    start = {name.split("/")[0]: 1000 * seconds for name, seconds in records.items() if "negopt" in name}
    start["panels"] = sum(server.times("panel")[:2])
    print(f"\nNegOpt's part of a Generate: {generate:.0f} ms (median of 9)")
    print("of the start: " + ", ".join(f"{name} {ms:.0f} ms" for name, ms in start.items()))
    assert generate < 500
    assert sum(start.values()) < 1000


# The browser.


@pytest.fixture(scope="module")
def page(server: WebUI) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser")
    chromium = os.environ.get("NEGOPT_CHROMIUM", "/usr/bin/chromium")
    if not Path(chromium).is_file():
        pytest.skip(f"no browser at {chromium}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(300_000)
        page.goto(server.url)
        page.wait_for_selector("#txt2img_prompt textarea")
        page.wait_for_selector("#script_txt2img_negopt_enabled-visible-checkbox")
        _fill_small(page)
        yield page
        browser.close()


def _fill_small(page: Any) -> None:
    """A job that takes a second."""
    for name, value in (("width", 64), ("height", 64), ("steps", 2), ("batch_size", 2)):
        page.locator(f"#txt2img_{name} input[type=number]").fill(str(value))
        page.locator(f"#txt2img_{name} input[type=number]").blur()
    page.locator("#txt2img_seed input").fill("5")
    page.fill("#txt2img_prompt textarea", PROMPT)
    page.fill("#txt2img_neg_prompt textarea", OWN)


def _checkbox(page: Any, tab: str = "txt2img") -> Any:
    return page.locator(f"#script_{tab}_negopt_enabled-visible-checkbox")


def _value(page: Any, selector: str) -> str:
    return str(page.locator(f"{selector} textarea").first.input_value())


def _generate(page: Any) -> str:
    """Press Generate and read the info under the new picture."""
    before = page.locator("#html_info_txt2img").first.inner_text()
    page.click("#txt2img_generate")
    page.wait_for_function(
        """before => { const info = document.querySelector('#html_info_txt2img');
        const stop = document.querySelector('#txt2img_interrupt');
        return info.innerText.includes('Steps: ') && (info.innerText !== before)
        && (!stop || getComputedStyle(stop).display === 'none'); }""",
        arg=before,
    )
    return str(page.locator("#html_info_txt2img").first.inner_text())


def test_tick_and_generate(page: Any) -> None:
    _checkbox(page).click()
    text = _generate(page)
    assert "Negative prompt: ugly, " in text
    assert "NegOpt: extend mine" in text
    _screenshot(page)


def test_guidance_one_is_said_under_the_picture(page: Any) -> None:
    scale = page.locator("#txt2img_cfg_scale input[type=number]")
    scale.fill("1")
    scale.blur()
    assert "Negative prompt: ugly\n" in _generate(page)
    assert "NegOpt: guidance is 1" in page.locator("#html_log_txt2img").first.inner_text()
    scale.fill("7")
    scale.blur()


def _screenshot(page: Any) -> None:
    """Save the page with the panel open, for the documentation."""
    if not os.environ.get("NEGOPT_SCREENSHOT"):
        return
    _open_panel(page)
    page.click("#script_txt2img_negopt_write")
    page.wait_for_function("document.querySelector('#script_txt2img_negopt_written textarea').value !== ''")
    page.wait_for_timeout(1000)
    page.screenshot(path=os.environ["NEGOPT_SCREENSHOT"], full_page=True)


def _open_panel(page: Any) -> None:
    if not page.locator("#script_txt2img_negopt_write").is_visible():
        page.locator("#script_txt2img_negopt_enabled .label-wrap").first.click()


def test_write_and_send(page: Any) -> None:
    _open_panel(page)
    page.click("#script_txt2img_negopt_write")
    page.wait_for_function(
        "document.querySelector('#script_txt2img_negopt_written textarea').value.startsWith('ugly, ')"
    )
    written = _value(page, "#script_txt2img_negopt_written")
    page.click("#script_txt2img_negopt_send")
    page.wait_for_function("text => document.querySelector('#txt2img_neg_prompt textarea').value === text", arg=written)
    page.wait_for_function("!document.querySelector('#script_txt2img_negopt_enabled-visible-checkbox').checked")
    page.wait_for_function("parseInt(document.querySelector('#txt2img_negative_token_counter').innerText) > 20")


def test_paste_brings_the_controls_back(page: Any) -> None:
    """The button reads the last picture's parameters when the prompt is empty."""
    if not _checkbox(page).is_checked():
        _checkbox(page).click()
    page.fill("#txt2img_neg_prompt textarea", OWN)
    page.locator("#script_txt2img_negopt_max_terms input[type=number]").first.fill("7")
    page.locator("#script_txt2img_negopt_max_terms input[type=number]").first.blur()
    page.locator("#script_txt2img_negopt_mode label", has_text="extend mine").click()
    first = _generate(page)
    assert "NegOpt max terms: 7" in first

    _checkbox(page).click()
    page.locator("#script_txt2img_negopt_max_terms input[type=number]").first.fill("50")
    page.locator("#script_txt2img_negopt_max_terms input[type=number]").first.blur()
    page.fill("#txt2img_prompt textarea", "")
    page.click("#paste")
    page.wait_for_function("document.querySelector('#script_txt2img_negopt_enabled-visible-checkbox').checked")
    page.wait_for_function("document.querySelector('#txt2img_prompt textarea').value !== ''")
    terms = page.locator("#script_txt2img_negopt_max_terms input[type=number]").first
    assert terms.input_value() == "7"
    pasted = _value(page, "#txt2img_neg_prompt")
    assert f"Negative prompt: {pasted}" in first, "what the picture was made with stands in the box"

    page.fill("#txt2img_prompt textarea", "a cat on a roof")
    other = _generate(page)
    assert "NegOpt original: ugly" in other, "written from the artist's own text, not on top of what was written"
    page.fill("#txt2img_prompt textarea", PROMPT)
    assert _generate(page).split("Steps: ")[0] == first.split("Steps: ")[0]


def test_send_to_img2img_takes_the_controls_along(page: Any) -> None:
    page.locator("#image_buttons_txt2img button", has_text="🖼️").first.click()
    page.wait_for_function("document.querySelector('#script_img2img_negopt_enabled-visible-checkbox').checked")
    page.wait_for_function(
        "document.querySelector('#script_img2img_negopt_max_terms input[type=number]').value === '7'"
    )
    page.click("#script_img2img_negopt_write")
    page.wait_for_function("document.querySelector('#script_img2img_negopt_written textarea').value !== ''")
    written = _value(page, "#script_img2img_negopt_written")
    assert written.startswith("ugly, "), "this tab's own boxes are read"
    assert len(written.split(", ")) <= 8


def test_what_was_sent_is_ones_own_after_pasting_too(page: Any) -> None:
    page.locator("#tabs button", has_text="txt2img").first.click()
    pasted = _value(page, "#txt2img_neg_prompt")
    _open_panel(page)
    page.fill("#script_txt2img_negopt_written textarea", pasted)
    page.click("#script_txt2img_negopt_send")
    page.wait_for_function("!document.querySelector('#script_txt2img_negopt_enabled-visible-checkbox').checked")
    _checkbox(page).click()
    page.fill("#txt2img_prompt textarea", "a cat on a roof")
    assert f'NegOpt original: "{pasted}"' in _generate(page)


def test_settings_are_the_defaults_after_a_reload(server: WebUI, page: Any) -> None:
    page.locator("#tabs button", has_text="Settings").first.click()
    page.locator("#settings button", has_text="NegOpt").first.click()
    page.locator("#setting_negopt_max_terms input[type=number]").first.fill("17")
    page.locator("#setting_negopt_max_terms input[type=number]").first.blur()
    page.locator("#setting_negopt_enabled input[type=checkbox]").check()
    page.click("#settings_submit")
    page.wait_for_function("document.querySelector('#settings_result').innerText.includes('settings changed')")
    starts = server.starts()
    page.locator("footer a, .footer a, #footer a", has_text="Reload UI").first.click()
    for _ in range(300):
        if server.starts() > starts:
            break
        time.sleep(1)
    fresh = page.context.browser.new_page()
    fresh.set_default_timeout(300_000)
    fresh.goto(server.url)
    fresh.wait_for_selector("#script_txt2img_negopt_enabled-visible-checkbox")
    terms = fresh.locator("#script_txt2img_negopt_max_terms input[type=number]").first
    assert terms.input_value() == "17"
    assert _checkbox(fresh).is_checked()
    test_axes_are_there_once(server)
    unasked = make(server, prompt="a cat")
    assert "NegOpt max terms: 17" in unasked.infotexts[0], "requests that say nothing get the defaults, too"


def test_nothing_of_ours_went_wrong_unsaid(server: WebUI) -> None:
    """The hosts catch what scripts raise and print it; the failures above are single lines."""
    assert "negopt_script.py" not in server.text_of_log()
    assert "a1111_extension/" not in server.text_of_log(), "no traceback leads there"


def test_xyz_says_what_is_wrong_before_the_first_picture(server: WebUI) -> None:
    """Last: the host's own report of it has a traceback. Forge gives the reason only in its log."""
    for label, value, reason in (
        ("Creativity", "9", "creativity must be a number from 0 to 2, not 9.0"),
        ("Model", "nobody's", 'there is no model "nobody\'s"'),
    ):
        with pytest.raises(urllib.error.HTTPError):
            _grid(server, label, value)
        for _ in range(20):  # the report may come after the answer
            if reason in server.text_of_log():
                break
            time.sleep(0.5)
        assert reason in server.text_of_log()
