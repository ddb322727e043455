"""The nodes in a real ComfyUI, through its API and in its page.

NEGOPT_COMFYUI_DIR         ComfyUI's folder; it is only read
NEGOPT_COMFYUI_PYTHON      the interpreter of its environment
NEGOPT_COMFYUI_CHECKPOINT  a checkpoint, for the tests that make pictures; any will do
                           (`python -m tests.hosts.checkpoints FILE` writes one of random weights)

python -m pytest tests/hosts/test_comfyui.py
"""

from __future__ import annotations

import io
import json
import os
import shutil
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import negopt
from negopt.locate import BUNDLED
from tests.preferring import give_preferences

from .comfyui_server import CHECKPOINTS, PACK, ComfyUI, Graph, messages
from .page import frame, load_workflow, open_page, press_write, text_in_node
from .server import ROOT

PROMPT = "portrait photo of an old fisherman, 85mm, overcast"
NODES = ["NegOpt", "NegOptAlternatives", "NegOptMerge", "NegOptLoadModel"]

DIR, PYTHON = os.environ.get("NEGOPT_COMFYUI_DIR"), os.environ.get("NEGOPT_COMFYUI_PYTHON")
CHECKPOINT = os.environ.get("NEGOPT_COMFYUI_CHECKPOINT")
pytestmark = pytest.mark.skipif(
    not (DIR and PYTHON), reason="no ComfyUI given: set NEGOPT_COMFYUI_DIR and NEGOPT_COMFYUI_PYTHON"
)
needs_checkpoint = pytest.mark.skipif(not CHECKPOINT, reason="no checkpoint given: set NEGOPT_COMFYUI_CHECKPOINT")

# A pack as they are found in the wild: packages with everyone's names, put before all others.
RUDE_PACK = """
import pathlib, sys
sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
import negopt, training, utils, tests, scripts
assert negopt.__version__ == "other"
NODE_CLASS_MAPPINGS = {}
"""


@pytest.fixture(scope="module")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUI]:
    """The server, with a pack beside ours whose packages have our names."""
    assert DIR
    assert PYTHON
    scratch = tmp_path_factory.mktemp("comfyui")
    paths = scratch / "extra_model_paths.yaml"
    paths.write_text(f"extra:\n  base_path: {scratch / 'extra'}\n  negopt: writers\n")
    shutil.copytree(BUNDLED, scratch / "extra" / "writers" / "elsewhere")
    flags = ("--extra-model-paths-config", str(paths))
    server = ComfyUI(Path(DIR), PYTHON, scratch, flags, checkpoint=Path(CHECKPOINT) if CHECKPOINT else None)
    server.prepare()
    rude = server.base / "custom_nodes" / "aaa_rude"
    for name in ("negopt", "training", "utils", "tests", "scripts"):
        (rude / "lib" / name).mkdir(parents=True)
        (rude / "lib" / name / "__init__.py").write_text('__version__ = "other"\n')
    (rude / "__init__.py").write_text(RUDE_PACK)
    broken = server.models / "negopt" / "broken"
    shutil.copytree(BUNDLED, broken)
    (broken / "model.safetensors").write_bytes(b"not weights")
    shutil.copytree(BUNDLED, server.models / "negopt" / "styles" / "mine")
    shutil.copytree(BUNDLED, server.models / "negopt" / "told")
    give_preferences(server.models / "negopt" / "told", ("beauty", "calm"))
    (server.models / "embeddings" / "EasyNegative.safetensors").write_bytes(b"")
    server.start()
    yield server
    server.stop()


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def shown(record: dict[str, Any], key: str) -> list[str]:
    return list(record["outputs"][key]["text"])


# Loading


def test_all_nodes_are_there_beside_a_pack_with_the_same_package_names(comfyui: ComfyUI) -> None:
    info = comfyui.get("/object_info")
    for name in NODES:
        assert info[name]["python_module"] == f"custom_nodes.{PACK}"
        assert info[name]["category"] == "conditioning/NegOpt"
        assert info[name]["description"]
        for part in ("required", "optional"):
            for kind, details in info[name]["input"].get(part, {}).values():
                assert details.get("tooltip"), (name, kind)
    assert "IMPORT FAILED" not in comfyui.text_of_log()


def test_english_locale_says_what_the_nodes_say(comfyui: ComfyUI) -> None:
    info, english = comfyui.get("/object_info"), comfyui.get("/i18n")["en"]["nodeDefs"]
    for name in NODES:
        inputs = {**info[name]["input"].get("required", {}), **info[name]["input"].get("optional", {})}
        assert english[name]["display_name"] == info[name]["display_name"]
        assert english[name]["description"] == info[name]["description"]
        tooltips = {key: details["tooltip"] for key, (_, details) in inputs.items()}
        assert {key: value["tooltip"] for key, value in english[name]["inputs"].items()} == tooltips
        outputs = [english[name]["outputs"][str(i)] for i in range(len(info[name]["output"]))]
        assert [output["name"] for output in outputs] == info[name]["output_name"]
        assert [output["tooltip"] for output in outputs] == info[name]["output_tooltips"]


def test_the_dropdown_lists_the_bundled_model_and_those_in_all_models_folders(comfyui: ComfyUI) -> None:
    options = comfyui.get("/object_info/NegOpt")["NegOpt"]["input"]["optional"]["model"][1]["options"]
    assert options == ["negopt-mini", "broken", "elsewhere", "styles/mine", "told"]


def test_web_files_templates_help_and_locales_are_served(comfyui: ComfyUI) -> None:
    assert f"/extensions/{PACK}/js/negopt.js" in comfyui.get("/extensions")
    names = comfyui.get("/workflow_templates")[PACK]
    assert len(names) >= 4
    for name in names:
        path = f"/api/workflow_templates/{PACK}/{name.replace(' ', '%20')}"
        assert json.loads(comfyui.read(f"{path}.json"))["nodes"]
        assert comfyui.read(f"{path}.jpg").startswith(b"\xff\xd8")
    locales = comfyui.get("/i18n")
    for name in NODES:
        for language in ("en", "zh"):
            assert comfyui.read(f"/extensions/{PACK}/docs/{name}/{language}.md")
            assert locales[language]["nodeDefs"][name]["display_name"]


# Writing


def test_the_node_writes_what_the_generator_writes(comfyui: ComfyUI) -> None:
    record = comfyui.run({"1": node("NegOpt", prompt=PROMPT, keep="(blurry:1.2)", max_terms=8)})
    assert shown(record, "1") == [negopt.load().generate(PROMPT, keep="(blurry:1.2)", max_terms=8).text]
    entry = record["outputs"]["1"]["negopt"][0]
    assert "".join(span["text"] for span in entry["spans"]) == entry["text"]
    assert entry["spans"][0] == {"text": "(blurry:1.2)", "origin": "keep"}


def test_both_texts_go_on_through_links(comfyui: ComfyUI) -> None:
    graph: Graph = {
        "0": node("PrimitiveStringMultiline", value=PROMPT),
        "1": node("NegOpt", prompt=["0", 0]),
        "2": node("PreviewAny", source=["1", 0]),
        "3": node("PreviewAny", source=["1", 1]),
    }
    record = comfyui.run(graph)
    assert shown(record, "2") == [PROMPT]
    assert shown(record, "3") == shown(record, "1") == [negopt.load().generate(PROMPT).text]


def test_two_nodes_at_once_each_write_their_own(comfyui: ComfyUI) -> None:
    record = comfyui.run({"1": node("NegOpt", prompt="a knight"), "2": node("NegOpt", prompt=PROMPT, weights=True)})
    assert shown(record, "1") == [negopt.load().generate("a knight").text]
    assert shown(record, "2") == [negopt.load().generate(PROMPT, weights=True).text]


def test_alternatives_are_a_list_that_what_follows_runs_through(comfyui: ComfyUI) -> None:
    graph: Graph = {
        "1": node("NegOptAlternatives", prompt=PROMPT, n=3),
        "2": node("StringConcatenate", string_a=["1", 0], string_b=["1", 1], delimiter="|"),
        "3": node("PreviewAny", source=["2", 0]),
    }
    record = comfyui.run(graph)
    texts = shown(record, "1")
    assert len(set(texts)) == 3
    assert len(record["outputs"]["1"]["negopt"]) == 3
    assert texts[0] == negopt.load().generate(PROMPT).text


def test_a_graph_that_leaves_the_number_of_alternatives_out_gets_what_the_page_shows(comfyui: ComfyUI) -> None:
    default = comfyui.get("/object_info/NegOptAlternatives")["NegOptAlternatives"]["input"]["optional"]["n"][1][
        "default"
    ]
    assert len(shown(comfyui.run({"1": node("NegOptAlternatives", prompt=PROMPT)}), "1")) == default == 4


def test_a_list_of_prompts_gives_a_list_of_negatives(comfyui: ComfyUI) -> None:
    many = chain_of_alternatives(2)
    record = comfyui.run({**many, "9": node("NegOpt", prompt=["2", 1])})
    prompts = shown(record, "2")
    assert len(prompts) == 256
    assert shown(record, "9") == [answer.text for answer in negopt.load().generate_batch(prompts)]


def test_merging_leaves_out_what_repeats_and_what_the_prompt_asks_for(comfyui: ComfyUI) -> None:
    graph: Graph = {
        "0": node("PrimitiveStringMultiline", value="black and white sketch of a cat"),
        "1": node("NegOptMerge", prompt=["0", 0], negative="sketch, (bad hands:1.2), Bad Hand", max_terms=0),
    }
    record = comfyui.run(graph)
    assert shown(record, "1") == ["(bad hands:1.2)"]
    entry = record["outputs"]["1"]["negopt"][0]
    assert (entry["conflicting"], entry["repeated"]) == (["sketch"], ["bad hand"])
    graph["1"]["inputs"]["max_terms"] = 5
    written = shown(comfyui.run(graph), "1")[0]
    assert written.startswith("(bad hands:1.2), ")
    assert len(written.split(", ")) == 6


def test_only_embeddings_that_are_there_are_written_as_comfyui_reads_them(comfyui: ComfyUI) -> None:
    wishes = {"prompt": "1girl, solo, masterpiece", "keep": "badhandv4", "creativity": 0.7, "n": 16, "max_tokens": 0}
    record = comfyui.run({"1": node("NegOptAlternatives", embeddings=True, **wishes)})
    terms = {term for text in shown(record, "1") for term in text.split(", ")}
    assert "embedding:EasyNegative" in terms
    assert not {"ng_deepnegative_v1_75t", "bad-artist", "bad-hands-5", "EasyNegative"} & terms


def test_another_variation_varies_only_with_creativity(comfyui: ComfyUI) -> None:
    def text(**options: Any) -> str:
        return shown(comfyui.run({"1": node("NegOpt", prompt=PROMPT, **options)}), "1")[0]

    assert text(variation=1) == text(variation=2)
    assert text(variation=1, creativity=1.0) != text(variation=2, creativity=1.0)


def test_a_model_of_ones_own_from_the_folder_or_from_a_path(comfyui: ComfyUI) -> None:
    expected = [negopt.load().generate(PROMPT).text]
    for name in ("styles/mine", "elsewhere"):
        by_name = comfyui.run({"1": node("NegOpt", prompt=PROMPT, model=name)})
        assert shown(by_name, "1") == expected
        assert "failure" not in by_name["outputs"]["1"]["negopt"][0]
    by_path = comfyui.run(
        {
            "0": node("NegOptLoadModel", model=str(comfyui.models / "negopt" / "styles" / "mine")),
            "1": node("NegOpt", prompt=PROMPT, model="broken", negopt_model=["0", 0]),
        }
    )
    assert shown(by_path, "1") == expected
    assert "failure" not in by_path["outputs"]["1"]["negopt"][0]


# Caching


def test_an_unchanged_graph_writes_nothing_anew_and_a_changed_model_does(comfyui: ComfyUI) -> None:
    graph: Graph = {"1": node("NegOpt", prompt="a castle", model="styles/mine"), "2": node("NegOpt", prompt="a castle")}
    comfyui.run(graph)
    again = comfyui.run(graph)
    assert set(messages(again, "execution_cached")[0]["nodes"]) == {"1", "2"}
    assert shown(again, "1") == [negopt.load().generate("a castle").text]
    os.utime(comfyui.models / "negopt" / "styles" / "mine" / "model.safetensors")
    changed = comfyui.run(graph)
    assert set(messages(changed, "execution_cached")[0]["nodes"]) == {"2"}


# When it fails


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"model": "broken"}, "damaged or not a safetensors file"),
        ({"model": "gone"}, "gone: no such model in models/negopt"),
        ({"negopt_model": ["0", 0]}, "no such model"),
    ],
    ids=["broken", "missing", "no such path"],
)
def test_a_failure_passes_the_own_terms_on_and_says_why(comfyui: ComfyUI, inputs: dict[str, Any], reason: str) -> None:
    before = len(comfyui.text_of_log())
    graph: Graph = {
        "0": node("NegOptLoadModel", model="/no/such/folder"),
        "1": node("NegOpt", prompt=PROMPT, keep="ugly, (text:1.3)", **inputs),
        "2": node("PreviewAny", source=["1", 1]),
    }
    record = comfyui.run(graph)
    assert record["status"]["status_str"] == "success"
    assert shown(record, "2") == ["ugly, (text:1.3)"]
    assert reason in record["outputs"]["1"]["negopt"][0]["failure"]
    lines = [line for line in comfyui.text_of_log()[before:].splitlines() if "NegOpt" in line]
    assert len(lines) == 1
    assert reason in lines[0]


def test_a_model_is_told_what_shall_count(comfyui: ComfyUI) -> None:
    told = negopt.load(str(comfyui.models / "negopt" / "told"))
    wishes = ("beauty=1", "beauty=1, calm=3", "")
    graph: Graph = {str(i): node("NegOpt", prompt=PROMPT, model="told", prefer=wish) for i, wish in enumerate(wishes)}
    graph["merge"] = node("NegOptMerge", prompt=["0", 0], negative="", model="told", prefer="calm=1")
    graph["many"] = node("NegOptAlternatives", prompt=PROMPT, n=2, model="told", prefer="calm=1")
    record = comfyui.run(graph)
    texts = [shown(record, str(i)) for i in range(len(wishes))]
    assert texts == [[told.generate(PROMPT, prefer=wish).text] for wish in wishes]
    calm = told.generate(PROMPT, prefer="calm=1", n=2)
    assert shown(record, "many") == [calm.text, calm.alternatives[0].text]
    assert shown(record, "merge") == [told.generate(PROMPT, prefer="calm=1").text]
    assert len({*map(tuple, texts), tuple(shown(record, "merge"))}) == 4


@pytest.mark.parametrize(
    ("model", "prefer", "reason"),
    [
        ("told", "beauty", "prefer: 'beauty' is not METRIC=NUMBER"),
        ("told", "noise=1", "prefer: no metric is called 'noise'; there are: beauty, calm"),
        ("negopt-mini", "beauty=1", "this model was not trained for preferences"),
    ],
)
def test_a_preference_that_says_nothing_is_named(comfyui: ComfyUI, model: str, prefer: str, reason: str) -> None:
    record = comfyui.run({"1": node("NegOpt", prompt=PROMPT, keep="ugly", model=model, prefer=prefer)})
    assert shown(record, "1") == ["ugly"]
    assert reason in record["outputs"]["1"]["negopt"][0]["failure"]


def test_a_bad_option_is_refused_before_the_run(comfyui: ComfyUI) -> None:
    for bad in ({"max_terms": 101}, {"creativity": -0.1}, {"max_tokens": "many"}, {"variation": -1}):
        body = json.dumps({"prompt": {"1": node("NegOpt", prompt=PROMPT, **bad)}}).encode()
        status, text = comfyui.refusal("/prompt", body)
        assert status == 400
        assert next(iter(bad)) in text


def test_a_conditioning_without_a_clip_stops_only_what_takes_it(comfyui: ComfyUI) -> None:
    graph: Graph = {
        "1": node("NegOpt", prompt=PROMPT),
        "2": node("ConditioningZeroOut", conditioning=["1", 2]),
        "3": node("PreviewAny", source=["2", 0]),
    }
    record = comfyui.run(graph)
    assert set(record["outputs"]) == {"1"}  # why, is said on the page; see below


def chain_of_alternatives(links: int) -> Graph:
    """16 prompts, then 256, then 4,096: each alternative is the prompt of sixteen more."""
    graph: Graph = {"0": node("PrimitiveStringMultiline", value=PROMPT)}
    for number in range(1, links + 1):
        source = ["0", 0] if number == 1 else [str(number - 1), 1]
        graph[str(number)] = node("NegOptAlternatives", prompt=source, n=16)
    return graph


def test_cancel_works_in_the_middle_of_a_long_batch(comfyui: ComfyUI) -> None:
    graph = {**chain_of_alternatives(2), "9": node("NegOptAlternatives", prompt=["2", 1], n=16)}
    comfyui.run(chain_of_alternatives(2))
    prompt_id = comfyui.queue(graph)
    time.sleep(1.5)
    assert comfyui.get("/queue")["queue_running"], "the batch was over before it could be cancelled"
    pressed = time.monotonic()
    comfyui.ask("/interrupt", b"{}")
    record = comfyui.wait(prompt_id)
    assert messages(record, "execution_interrupted")
    assert time.monotonic() - pressed < 5
    assert shown(comfyui.run({"1": node("NegOpt", prompt="a castle")}), "1")


# The route


def test_the_route_writes_what_a_run_writes(comfyui: ComfyUI) -> None:
    answer = comfyui.post("/negopt/write", {"prompt": PROMPT, "keep": "ugly", "seed": 3})
    record = comfyui.run({"1": node("NegOpt", prompt=PROMPT, keep="ugly", variation=3)})
    assert answer["entries"][0]["text"] == shown(record, "1")[0]
    assert answer["entries"][0]["spans"] == record["outputs"]["1"]["negopt"][0]["spans"]
    merged = comfyui.post(
        "/api/negopt/write", {"prompt": "a sketch", "negatives": ["sketch, ugly", ""], "max_terms": 0}
    )
    assert merged["entries"][0]["text"] == "ugly"


def test_the_route_refuses_what_is_not_the_pages(comfyui: ComfyUI) -> None:
    good = json.dumps({"prompt": "a"}).encode()
    for headers in (
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Content-Type": "text/plain"},
    ):
        assert comfyui.refusal("/negopt/write", good, **headers)[0] == 403
    assert comfyui.ask("/negopt/write", good, Origin=comfyui.url)
    assert comfyui.refusal("/negopt/write", json.dumps({"prompt": "a" * 70000}).encode())[0] == 413
    status, text = comfyui.refusal("/negopt/write", b'{"prompt": "a", "max_terms": 101}')
    assert (status, "max_terms" in text) == (400, True)
    outside = comfyui.post("/negopt/write", {"prompt": "a", "model": str(BUNDLED)})
    assert "no such model" in outside["entries"][0]["failure"]
    with pytest.raises(urllib.error.HTTPError):
        comfyui.get("/negopt/write")


# Pictures


def picture_graph(**sampler: Any) -> Graph:
    return {
        "c": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINTS[0]),
        "l": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "k": node(
            "KSampler",
            **{"seed": 5, "steps": 2, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0},
            model=["c", 0],
            latent_image=["l", 0],
            **sampler,
        ),
        "d": node("VAEDecode", samples=["k", 0], vae=["c", 2]),
        "i": node("SaveImage", images=["d", 0], filename_prefix="test"),
    }


def pixels(comfyui: ComfyUI, graph: Graph) -> list[tuple[bytes, dict[str, Any]]]:
    """Each picture's pixels, and the record of the run."""
    from PIL import Image

    record = comfyui.run(graph)
    assert record["status"]["status_str"] == "success", record["status"]
    found = []
    for image in record["outputs"]["i"]["images"]:
        data = comfyui.read(f"/view?filename={image['filename']}&subfolder={image['subfolder']}&type={image['type']}")
        found.append((Image.open(io.BytesIO(data)).convert("RGB").tobytes(), record))
    return found


@needs_checkpoint
def test_the_picture_is_the_one_of_the_same_negative_typed_by_hand(comfyui: ComfyUI) -> None:
    own = {**picture_graph(positive=["n", 2], negative=["n", 3]), "n": node("NegOpt", prompt=PROMPT, clip=["c", 1])}
    [(with_negopt, record)] = pixels(comfyui, own)
    negative = shown(record, "n")[0]

    def by_hand(text: str) -> bytes:
        hand = {
            **picture_graph(positive=["p", 0], negative=["m", 0]),
            "p": node("CLIPTextEncode", text=PROMPT, clip=["c", 1]),
            "m": node("CLIPTextEncode", text=text, clip=["c", 1]),
        }
        return pixels(comfyui, hand)[0][0]

    assert by_hand(negative) == with_negopt
    assert by_hand("") != with_negopt
    assert negative == negopt.load().generate(PROMPT).text


@needs_checkpoint
def test_alternatives_make_one_picture_each(comfyui: ComfyUI) -> None:
    graph = {
        **picture_graph(positive=["n", 2], negative=["n", 3]),
        "n": node("NegOptAlternatives", prompt=PROMPT, n=2, clip=["c", 1]),
    }
    (first, _), (second, _) = pixels(comfyui, graph)
    assert first != second


@needs_checkpoint
def test_a_broken_model_still_makes_the_picture(comfyui: ComfyUI) -> None:
    graph = {
        **picture_graph(positive=["n", 2], negative=["n", 3]),
        "n": node("NegOpt", prompt=PROMPT, keep="ugly", model="broken", clip=["c", 1]),
    }
    assert pixels(comfyui, graph)[0][0]


@needs_checkpoint
def test_cancel_works_while_many_texts_are_encoded(comfyui: ComfyUI) -> None:
    graph = {**chain_of_alternatives(2), "c": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINTS[0])}
    graph["p"] = node("CLIPTextEncode", text="", clip=["c", 1])
    graph["s"] = node("PreviewAny", source=["p", 0])
    comfyui.run(graph)
    prompt_id = comfyui.queue({**graph, "9": node("NegOpt", prompt=["2", 1], max_terms=1, clip=["c", 1])})
    time.sleep(6)  # the 256 lists are written by then, and their 512 texts far from encoded
    assert comfyui.get("/queue")["queue_running"], "the batch was over before it could be cancelled"
    pressed = time.monotonic()
    comfyui.ask("/interrupt", b"{}")
    assert messages(comfyui.wait(prompt_id), "execution_interrupted")
    assert time.monotonic() - pressed < 10


@needs_checkpoint
def test_the_clip_given_counts_the_tokens(comfyui: ComfyUI) -> None:
    graph: Graph = {
        "c": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINTS[0]),
        "n": node("NegOpt", prompt=PROMPT, max_tokens=20, clip=["c", 1]),
    }
    text = shown(comfyui.run(graph), "n")[0]
    assert text == negopt.load().generate(PROMPT, max_tokens=20).text


@needs_checkpoint
def test_writing_does_not_drop_the_loaded_checkpoint(comfyui: ComfyUI) -> None:
    graph = {**picture_graph(positive=["n", 2], negative=["n", 3]), "n": node("NegOpt", prompt=PROMPT, clip=["c", 1])}
    comfyui.run(graph)
    comfyui.post("/negopt/write", {"prompt": "a castle by the sea"})
    graph["k"]["inputs"]["seed"] = 6
    assert "c" in messages(comfyui.run(graph), "execution_cached")[0]["nodes"]


# The page


@pytest.fixture(scope="module")
def page(comfyui: ComfyUI) -> Iterator[Any]:
    pytest.importorskip("playwright", reason="the page's tests need playwright and Chromium")
    with open_page(comfyui) as opened:
        yield opened


TEMPLATES = sorted((ROOT / "example_workflows").glob("*.json"))
MAKE_SMALL = """
() => { for (const node of app.graph._nodes) for (const widget of node.widgets ?? []) {
  if (widget.name === "width" || widget.name === "height") widget.value = 64
  if (widget.name === "steps") widget.value = 2
} }
"""


def press_run(page: Any, comfyui: ComfyUI) -> dict[str, Any]:
    """Press the page's own Run button; returns the record of the run once it is over."""
    before = set(comfyui.get("/history"))
    page.get_by_test_id("queue-button").locator("button").first.click()
    while not (new := set(comfyui.get("/history")) - before):
        page.wait_for_timeout(200)
    page.wait_for_timeout(500)
    return comfyui.wait(new.pop())


@pytest.mark.parametrize("template", TEMPLATES, ids=[path.stem for path in TEMPLATES])
def test_the_pages_own_check_finds_no_fault_with_a_template(page: Any, template: Path) -> None:
    load_workflow(page, json.loads(template.read_text(encoding="utf-8")))
    assert page.locator(".p-toast-message").all_inner_texts() == []


@needs_checkpoint
@pytest.mark.parametrize("template", TEMPLATES, ids=[path.stem for path in TEMPLATES])
def test_a_template_opens_runs_and_shows_its_negative(page: Any, comfyui: ComfyUI, template: Path) -> None:
    load_workflow(page, json.loads(template.read_text(encoding="utf-8")))
    assert page.locator(".p-dialog:visible").count() == 0, "a dialog: something is missing"
    kinds = page.evaluate("() => app.graph._nodes.map(n => n.type)")
    assert all(page.evaluate("kinds => kinds.map(k => k in LiteGraph.registered_node_types)", kinds))
    kind = next(kind for kind in kinds if kind in NODES)
    page.evaluate(MAKE_SMALL)
    record = press_run(page, comfyui)
    assert record["status"]["status_str"] == "success", record["status"]
    pictures = [image for output in record["outputs"].values() for image in output.get("images", [])]
    assert len(pictures) == {"Compare with and without": 2, "Alternatives side by side": 4}.get(template.stem, 1)
    ran = text_in_node(page, kind)
    assert any(text.split(", ")[0] in ran for text in shown_by_kind(page, record, kind))
    page.evaluate("kind => app.graph._nodes.find(n => n.type === kind).negoptBox.replaceChildren()", kind)
    press_write(page, kind)
    assert text_in_node(page, kind) == ran


def shown_by_kind(page: Any, record: dict[str, Any], kind: str) -> list[str]:
    key = page.evaluate("kind => String(app.graph._nodes.find(n => n.type === kind).id)", kind)
    return shown(record, key)


def test_what_the_page_adds_is_neither_saved_nor_sent(page: Any) -> None:
    page.evaluate("() => { app.graph.clear(); app.graph.add(LiteGraph.createNode('NegOpt')) }")
    press_write(page, "NegOpt")
    sent = page.evaluate("async () => (await app.graphToPrompt())")
    (one,) = sent["output"].values()
    assert sorted(one["inputs"]) == sorted(
        [
            "prompt",
            "keep",
            "avoid",
            "model",
            "max_terms",
            "creativity",
            "variation",
            "weights",
            "max_tokens",
            "embeddings",
            "prefer",
        ]
    )
    assert len(sent["workflow"]["nodes"][0]["widgets_values"]) == len(one["inputs"])


PUT = """
const put = (kind, ...texts) => {
  const made = LiteGraph.createNode(kind)
  app.graph.add(made)
  texts.forEach((text, number) => { made.widgets[number].value = text })
  return made
}
const link = (from, output, to, input) => from.connect(output, to, to.inputs.findIndex(one => one.name === input))
"""


@pytest.mark.parametrize(
    ("kind", "output", "own"),
    [("NegOpt", 1, "keep"), ("NegOptAlternatives", 1, "keep"), ("NegOptMerge", 0, "negative")],
)
def test_a_bypassed_node_hands_on_the_own_negative_never_the_prompt(
    page: Any, kind: str, output: int, own: str
) -> None:
    sent = page.evaluate(
        f"""async ([kind, output, own]) => {{ {PUT} app.graph.clear()
              const prompt = put("PrimitiveStringMultiline", "a cat"), list = put("PrimitiveStringMultiline", "ugly")
              const node = put(kind), encode = put("CLIPTextEncode", "what stands in the box")
              link(prompt, 0, node, "prompt"); link(node, output, encode, "text"); node.mode = 4
              const text = async () => (await app.graphToPrompt()).output[encode.id].inputs.text
              const without = await text()
              link(list, 0, node, own)
              return [without, await text(), [String(list.id), 0]] }}""",
        [kind, output, own],
    )
    assert sent[0] == "what stands in the box"
    assert sent[1] == sent[2]


def test_a_workflow_saved_with_inputs_in_another_order_keeps_its_links(page: Any) -> None:
    links = page.evaluate(
        f"""async () => {{ {PUT} app.graph.clear()
              const prompt = put("PrimitiveStringMultiline", "a cat"), list = put("PrimitiveStringMultiline", "ugly")
              const node = put("NegOptMerge")
              link(prompt, 0, node, "prompt"); link(list, 0, node, "negative")
              const saved = JSON.parse(JSON.stringify(app.graph.serialize()))
              const one = saved.nodes.find(one => one.type === "NegOptMerge")
              one.inputs.sort((a, b) => (a.name === "negative") - (b.name === "negative"))
              for (const link of saved.links.filter(link => link[3] === node.id))
                link[4] = one.inputs.findIndex(input => input.link === link[0])
              await app.loadGraphData(saved)
              const sent = (await app.graphToPrompt()).output[node.id].inputs
              return [sent.prompt, sent.negative, [String(prompt.id), 0], [String(list.id), 0]] }}"""
    )
    assert links[:2] == links[2:]


def test_what_the_last_run_wrote_is_there_after_an_undo(page: Any, comfyui: ComfyUI) -> None:
    page.evaluate(f"() => {{ {PUT} app.graph.clear(); put('NegOpt', 'a castle', 'ugly') }}")
    press_run(page, comfyui)
    ran = text_in_node(page, "NegOpt")
    assert ran == negopt.load().generate("a castle", keep="ugly").text
    page.evaluate(
        """async () => { const tracker = () => app.extensionManager.workflow.activeWorkflow.changeTracker
                         tracker().checkState(); app.graph._nodes[0].pos = [70, 70]; tracker().checkState()
                         await tracker().undo() }"""
    )
    page.wait_for_timeout(800)
    assert page.evaluate("() => app.graph._nodes[0].pos[0]") != 70
    assert text_in_node(page, "NegOpt") == ran


def test_over_the_box_the_wheel_zooms_as_over_the_pages_own_text_boxes(page: Any) -> None:
    page.evaluate(f"() => {{ {PUT} app.graph.clear(); put('NegOpt', 'a castle') }}")
    frame(page)
    box = page.evaluate(
        """() => { const { left, top, width, height } = app.graph._nodes[0].negoptBox.getBoundingClientRect()
                   return [left + width / 2, top + height / 2] }"""
    )
    before = page.evaluate("() => app.canvas.ds.scale")
    page.mouse.move(*box)
    page.mouse.wheel(0, 200)
    page.wait_for_timeout(500)
    assert page.evaluate("() => app.canvas.ds.scale") < before


def test_own_terms_are_told_apart_and_the_menu_copies_the_text(page: Any) -> None:
    page.evaluate(
        """() => { app.graph.clear(); const n = LiteGraph.createNode('NegOpt'); app.graph.add(n)
                   n.widgets[0].value = 'a street, no people'; n.widgets[1].value = 'ugly' }"""
    )
    press_write(page, "NegOpt")
    parts = page.evaluate(
        """() => { const box = app.graph._nodes[0].negoptBox
                   return ['keep', 'prompt'].map(who => box.querySelector('.negopt-' + who).textContent) }"""
    )
    assert parts == ["ugly", "people"]
    page.evaluate(
        """() => { const n = app.graph._nodes[0], options = []; n.getExtraMenuOptions(app.canvas, options)
                   options.find(o => o?.content === 'Copy negative prompt').callback() }"""
    )
    page.wait_for_timeout(300)
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied == negopt.load().generate("a street, no people", keep="ugly").text


def test_the_page_says_why_only_the_own_terms_were_used(page: Any) -> None:
    page.evaluate(
        """() => { app.graph.clear(); const n = LiteGraph.createNode('NegOpt'); app.graph.add(n)
                   n.widgets[1].value = 'ugly'; n.widgets.find(w => w.name === 'model').value = 'broken' }"""
    )
    press_write(page, "NegOpt")
    text = text_in_node(page, "NegOpt")
    assert text.startswith("ugly")
    assert "damaged" in text


def test_write_takes_linked_text_or_says_what_it_cannot_know(page: Any) -> None:
    page.evaluate(
        """() => { app.graph.clear()
                   const make = kind => { const n = LiteGraph.createNode(kind); app.graph.add(n); return n }
                   const text = make('PrimitiveStringMultiline'), join = make('StringConcatenate')
                   const node = make('NegOpt'); text.widgets[0].value = 'a castle'
                   text.connect(0, node, node.inputs.findIndex(i => i.name === 'prompt')); window.join = join }"""
    )
    press_write(page, "NegOpt")
    assert text_in_node(page, "NegOpt") == negopt.load().generate("a castle").text
    page.evaluate(
        """() => { const node = app.graph._nodes.find(n => n.type === 'NegOpt'); node.negoptEntries = undefined
                   join.connect(0, node, node.inputs.findIndex(i => i.name === 'prompt')) }"""
    )
    press_write(page, "NegOpt")
    assert "Run the graph once" in text_in_node(page, "NegOpt")


def test_write_trusts_only_what_a_run_has_seen(page: Any, comfyui: ComfyUI) -> None:
    page.evaluate(
        """() => { app.graph.clear()
                   const make = kind => { const n = LiteGraph.createNode(kind); app.graph.add(n); return n }
                   window.text = make('PrimitiveStringMultiline'); window.join = make('StringConcatenate')
                   window.node = make('NegOpt'); node.widgets[0].value = 'a black cat'
                   window.link = (from) => from.connect(0, node, node.inputs.findIndex(i => i.name === 'prompt'))
                   join.widgets[0].value = 'a castle'; join.widgets[1].value = ', at night' }"""
    )
    press_write(page, "NegOpt")
    page.evaluate("() => link(join)")
    press_write(page, "NegOpt")  # what was typed is not what the link will bring
    assert "Run the graph once" in text_in_node(page, "NegOpt")
    press_run(page, comfyui)
    page.evaluate("() => node.widgets.find(w => w.name === 'keep').value = 'ugly'")
    press_write(page, "NegOpt")
    assert text_in_node(page, "NegOpt") == negopt.load().generate("a castle, at night", keep="ugly").text
    page.evaluate("() => { text.widgets[0].value = 'a dog'; text.mode = 4; link(text) }")
    press_write(page, "NegOpt")  # a node that is passed over hands nothing on
    assert "Run the graph once" in text_in_node(page, "NegOpt")


def test_write_knows_the_model_that_came_through_other_nodes(page: Any, comfyui: ComfyUI) -> None:
    page.evaluate(
        """() => { app.graph.clear()
                   const make = kind => { const n = LiteGraph.createNode(kind); app.graph.add(n); return n }
                   const load = make('NegOptLoadModel'), reroute = make('Reroute')
                   window.node = make('NegOpt'); node.widgets[0].value = 'a castle'
                   load.widgets[0].value = 'negopt-mini'; load.connect(0, reroute, 0)
                   reroute.connect(0, node, node.inputs.findIndex(i => i.name === 'negopt_model')) }"""
    )
    press_write(page, "NegOpt")
    assert "Run the graph once" in text_in_node(page, "NegOpt")
    press_run(page, comfyui)
    page.evaluate("() => node.widgets[0].value = 'a dog'")
    press_write(page, "NegOpt")
    assert text_in_node(page, "NegOpt") == negopt.load().generate("a dog").text


@needs_checkpoint
def test_a_conditioning_without_a_clip_is_explained_on_the_page(page: Any, comfyui: ComfyUI) -> None:
    workflow = json.loads((ROOT / "example_workflows" / "Text to image SD1.5.json").read_text(encoding="utf-8"))
    load_workflow(page, workflow)
    page.evaluate(MAKE_SMALL)
    page.evaluate(
        """() => { const node = app.graph._nodes.find(n => n.type === 'NegOpt')
                   node.disconnectInput(node.inputs.findIndex(i => i.name === 'clip')) }"""
    )
    press_run(page, comfyui)
    assert page.get_by_text("connect the checkpoint's CLIP").count() > 0
