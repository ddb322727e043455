"""ComfyUI as a sampler: workflows of many shapes as forms to fill in, and a small server that runs them."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from negopt.errors import ModelError, OptionError
from tests.picture_servers import OBJECT_INFO, SAMPLER, ComfyUIServer, node, plain, seen, wait_for
from training.samplers import Picture
from training.samplers.comfyui import ComfyUISampler
from training.samplers.servers import Patience
from training.samplers.workflow import Form, Graph, NodeClass, make_form, read_workflow

QUICK = Patience(first=5.0, least=0.5, times=50.0, connect=2.0, pause=0.02, longest_pause=0.1, outage=1.0)
PICTURE = Picture("a {prompt} of a cat", "lowres, text", 77)
CLASSES = {name: NodeClass.read(info) for name, info in OBJECT_INFO.items()}


def filled(graph: Graph, sampler: str | None = None) -> Graph:
    """The graph that is run for `PICTURE`."""
    return make_form(graph, CLASSES, sampler).fill(PICTURE)


def test_texts_and_seed_of_the_plain_workflow() -> None:
    graph = filled(plain())
    assert graph["6"]["inputs"]["text"] == PICTURE.prompt  # whose own braces stay
    assert graph["7"]["inputs"]["text"] == PICTURE.negative_prompt
    assert graph["3"]["inputs"]["seed"] == 77
    assert graph["3"]["inputs"]["steps"] == 9


def test_the_picture_is_sent_and_not_saved_one_at_a_time() -> None:
    graph = filled(plain())
    ends = [node["class_type"] for node in graph.values() if OBJECT_INFO[node["class_type"]]["output_node"]]
    assert ends == ["SaveImageWebsocket"]
    assert graph["5"]["inputs"]["batch_size"] == 1


def test_filling_changes_neither_the_workflow_nor_the_form() -> None:
    workflow = plain()
    before = copy.deepcopy(workflow)
    form = make_form(workflow, CLASSES)
    blank = copy.deepcopy(form.graph)
    form.fill(PICTURE)
    assert workflow == before
    assert form.graph == blank


def test_what_the_record_says() -> None:
    said = make_form(plain(), CLASSES).description
    assert said == {
        "checkpoint": "a.safetensors", "steps": 9, "guidance": 6.5, "scheduler": "euler normal", "size": "16x8"
    }  # fmt: skip


# NegOpt in the workflow: its text is ours


def test_the_texts_of_a_negopt_node_are_the_given_ones() -> None:
    graph = filled(
        plain(
            _10=node("NegOpt", prompt="a dog", keep="ugly"),
            _6=node("CLIPTextEncode", text=["10", 0], clip=["4", 1]),
            _7=node("CLIPTextEncode", text=["10", 1], clip=["4", 1]),
        )
    )
    assert graph["6"]["inputs"]["text"] == PICTURE.prompt
    assert graph["7"]["inputs"]["text"] == PICTURE.negative_prompt
    assert "10" not in graph


def test_conditioning_of_a_negopt_node_is_encoded_from_the_given_texts() -> None:
    writer = node("NegOpt", prompt="a dog", clip=["4", 1])
    sampler = {**plain()["3"]["inputs"], "positive": ["10", 2], "negative": ["10", 3]}
    graph = filled(plain(_10=writer, _3=node("KSampler", **sampler)))
    for name, text in (("positive", PICTURE.prompt), ("negative", PICTURE.negative_prompt)):
        encoder = graph[graph["3"]["inputs"][name][0]]
        assert encoder == node("CLIPTextEncode", clip=["4", 1], text=text)


def test_conditioning_of_a_negopt_node_without_a_clip_is_an_error() -> None:
    sampler = {**plain()["3"]["inputs"], "negative": ["10", 3]}
    with pytest.raises(OptionError, match=r"node 10 \(NegOpt\).*no CLIP"):
        filled(plain(_10=node("NegOpt", prompt="a dog"), _3=node("KSampler", **sampler)))


def test_a_prompt_that_a_negopt_node_and_an_encoder_share_is_replaced_for_both() -> None:
    graph = filled(
        plain(
            _11=node("PrimitiveString", value="a dog"),
            _10=node("NegOpt", prompt=["11", 0]),
            _6=node("CLIPTextEncode", text=["11", 0], clip=["4", 1]),
            _7=node("CLIPTextEncode", text=["10", 1], clip=["4", 1]),
        )
    )
    assert graph["11"]["inputs"]["value"] == PICTURE.prompt
    assert graph["7"]["inputs"]["text"] == PICTURE.negative_prompt


def test_what_is_joined_to_the_text_of_a_negopt_node_stays() -> None:
    graph = filled(
        plain(
            _10=node("NegOptMerge", prompt="a dog", negative="ugly"),
            _12=node("StringConcatenate", string_a="embedding:Easy", string_b=["10", 0], delimiter=", "),
            _7=node("CLIPTextEncode", text=["12", 0], clip=["4", 1]),
        )
    )
    assert graph["7"]["inputs"]["text"] == ["12", 0]
    assert graph["12"]["inputs"] == {"string_a": "embedding:Easy", "string_b": "lowres, text", "delimiter": ", "}


# Where texts are found


def test_a_text_linked_to_a_primitive_is_replaced_where_it_is_typed() -> None:
    graph = filled(
        plain(_11=node("PrimitiveString", value="ugly"), _7=node("CLIPTextEncode", text=["11", 0], clip=["4", 1]))
    )
    assert graph["11"]["inputs"]["value"] == PICTURE.negative_prompt


def test_both_texts_of_an_sdxl_encoder_are_replaced() -> None:
    sdxl = node("CLIPTextEncodeSDXL", clip=["4", 1], width=1024, text_g="ugly", text_l="")
    inputs = filled(plain(_7=sdxl))["7"]["inputs"]
    assert (inputs["text_g"], inputs["text_l"], inputs["width"]) == (*[PICTURE.negative_prompt] * 2, 1024)


def test_texts_are_found_through_conditioning_nodes_each_on_its_side() -> None:
    sampler = {**plain()["3"]["inputs"], "positive": ["12", 0], "negative": ["12", 1]}
    control = node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], strength=0.5)
    graph = filled(plain(_12=control, _3=node("KSampler", **sampler)))
    assert graph["6"]["inputs"]["text"] == PICTURE.prompt
    assert graph["7"]["inputs"]["text"] == PICTURE.negative_prompt


def test_texts_in_a_loader_are_told_by_their_names() -> None:
    sampler = {**plain()["3"]["inputs"], "positive": ["12", 1], "negative": ["12", 2]}
    loader = node("Efficient Loader", ckpt_name="a", positive="a dog", negative="ugly")
    inputs = filled(plain(_12=loader, _3=node("KSampler", **sampler)))["12"]["inputs"]
    assert inputs == {"ckpt_name": "a", "positive": PICTURE.prompt, "negative": PICTURE.negative_prompt}


def test_a_sampler_that_passes_conditioning_on_is_one() -> None:
    """As in Efficiency Nodes, whose second sampler takes its conditioning from the first."""
    loader = node("Efficient Loader", ckpt_name="a", positive="a dog", negative="ugly", batch_size=3)

    def efficient(before: str, cfg: float) -> dict[str, Any]:
        links = {"model": [before, 0], "positive": [before, 1], "negative": [before, 2], "latent_image": [before, 3]}
        return node("KSampler (Efficient)", seed=5, **links, **{**SAMPLER, "cfg": cfg})

    save = node("SaveImage", images=["3", 5], filename_prefix="mine")
    graph = filled({"1": loader, "2": efficient("1", 7.0), "3": efficient("2", 7.0), "9": save})
    assert (graph["1"]["inputs"]["positive"], graph["1"]["inputs"]["negative"]) == PICTURE[:2]
    assert [graph[key]["inputs"]["seed"] for key in "23"] == [77, 77]
    with pytest.raises(OptionError, match=r"guidance \(cfg\) of 1"):
        filled({"1": loader, "3": efficient("1", 1.0), "9": save})


@pytest.mark.parametrize("negative", ["", "ugly"])
def test_the_texts_of_a_node_for_both_sides_are_told_by_the_outputs_that_are_taken(negative: str) -> None:
    styler = node("SDXLPromptStyler", text_positive="a dog", text_negative=negative, style="base")
    encoders = {f"_{key}": node("CLIPTextEncode", text=["50", key - 6], clip=["4", 1]) for key in (6, 7)}
    inputs = filled(plain(**encoders, _50=styler))["50"]["inputs"]
    assert inputs == {"text_positive": PICTURE.prompt, "text_negative": PICTURE.negative_prompt, "style": "base"}


def test_a_text_of_both_sides_is_told_with_the_marks_that_part_them() -> None:
    encoder = node("CLIPTextEncode", text=["11", 0], clip=["4", 1])
    with pytest.raises(OptionError, match=r"11 \(PrimitiveString\) is the text of both.* \{prompt\} and \{negative\}"):
        filled(plain(_11=node("PrimitiveString", value="a dog"), _6=encoder, _7=encoder))


# Switches, which take anything


SWITCH = node("Any Switch (rgthree)", any_01=["7", 0])
SWITCHED = {**plain()["3"]["inputs"], "negative": ["40", 0]}


@pytest.mark.parametrize(
    "switches",
    [
        {"_40": SWITCH},
        {"_40": node("Any Switch (rgthree)", any_01=["41", 0]), "_41": SWITCH},
        {"_40": node("ComfySwitchNode", switch=True, on_true=["7", 0])},
    ],
    ids=["one", "two in a row", "match type"],
)
def test_a_negative_is_found_through_a_switch(switches: dict[str, Any]) -> None:
    graph = filled(plain(**switches, _3=node("KSampler", **SWITCHED)))
    assert (graph["6"]["inputs"]["text"], graph["7"]["inputs"]["text"]) == PICTURE[:2]


def test_a_switch_before_a_negative_is_no_sampler_of_a_prompt() -> None:
    graph = two_passes(positive=["16", 0], negative=["17", 0])
    graph |= {"3": node("KSampler", **SWITCHED), "40": SWITCH}
    graph |= {key: node("CLIPTextEncode", text=text, clip=["4", 1]) for key, text in (("16", "dog!"), ("17", "ugly!"))}
    graph = filled(graph)
    assert [graph[key]["inputs"]["text"] for key in ("6", "7", "16", "17")] == [*PICTURE[:2]] * 2


def test_of_a_switch_between_several_texts_one_needs_a_mark() -> None:
    switch = node("Any Switch (rgthree)", any_01=["7", 0], any_02=["17", 0])
    changes = {"_3": node("KSampler", **SWITCHED), "_40": switch}
    changes["_17"] = node("CLIPTextEncode", text="frame", clip=["4", 1])
    with pytest.raises(OptionError, match=r"negative of node 3 .*write \{negative\}"):
        filled(plain(**changes))
    graph = filled(plain(**changes, _7=node("CLIPTextEncode", text="{negative}", clip=["4", 1])))
    assert graph["7"]["inputs"]["text"] == PICTURE.negative_prompt


@pytest.mark.parametrize("switch", ["Any Switch (rgthree)", "ComfySwitchNode"])
def test_a_text_keeps_what_stands_around_its_mark_behind_a_switch(switch: str) -> None:
    names = ("any_01", "any_02") if switch.startswith("Any") else ("on_true", "on_false")
    changes = {
        "_40": node(switch, **dict(zip(names, (["11", 0], ["12", 0]), strict=True))),
        "_11": node("PrimitiveString", value="frame, {negative}"),
        "_12": node("PrimitiveString", value="ugly"),
        "_7": node("CLIPTextEncode", text=["40", 0], clip=["4", 1]),
    }
    graph = filled(plain(**changes))
    assert graph["11"]["inputs"]["value"] == f"frame, {PICTURE.negative_prompt}"
    assert graph["7"]["inputs"]["text"] == ["40", 0]
    unmarked = filled(plain(**changes | {"_11": node("PrimitiveString", value="frame")}))
    assert unmarked["7"]["inputs"]["text"] == PICTURE.negative_prompt


def test_a_picture_is_saved_through_a_switch() -> None:
    save = node("SaveImage", images=["40", 0], filename_prefix="mine")
    graph = filled(plain(_9=save, _40=node("Any Switch (rgthree)", any_01=["8", 0])))
    assert graph["negopt_picture"]["inputs"]["images"] == ["40", 0]


def test_switches_in_a_circle_end_nowhere() -> None:
    save = node("SaveImage", images=["40", 0], filename_prefix="mine")
    switches = {
        "_40": node("Any Switch (rgthree)", any_01=["41", 0], any_02=["8", 0]),
        "_41": node("Any Switch (rgthree)", any_01=["40", 0]),
    }
    assert filled(plain(_9=save, **switches))["negopt_picture"]["inputs"]["images"] == ["40", 0]
    switches["_40"] = node("Any Switch (rgthree)", any_01=["41", 0])
    with pytest.raises(OptionError, match="no text reaches the negative"):
        filled(plain(_9=save, **switches))


# Guiders


def custom(guider: dict[str, Any]) -> Graph:
    sampled = node("SamplerCustomAdvanced", noise=["20", 0], guider=["21", 0], latent_image=["5", 0])
    return plain(_3=sampled, _20=node("RandomNoise", noise_seed=5), _21=guider)


def test_texts_and_seed_of_a_sampler_with_a_guider() -> None:
    guider = node("CFGGuider", model=["4", 0], positive=["6", 0], negative=["7", 0], cfg=4.0)
    graph = filled(custom(guider))
    assert graph["7"]["inputs"]["text"] == PICTURE.negative_prompt
    assert graph["20"]["inputs"]["noise_seed"] == 77
    assert filled(custom(guider), "3") == graph


def test_an_empty_text_stays_empty() -> None:
    """In its place, a prompt would be subtracted from itself: each picture would be NaN."""
    empty = node("CLIPTextEncode", text="", clip=["4", 1])
    guider = node("PerpNegGuider", positive=["6", 0], negative=["7", 0], empty_conditioning=["22", 0])
    patch = node("PerpNeg", model=["4", 0], empty_conditioning=["22", 0])
    patched = node("KSampler", **{**plain()["3"]["inputs"], "model": ["30", 0]})
    for graph in ({**custom(guider), "22": empty}, plain(_22=empty, _30=patch, _3=patched)):
        graph = filled(graph)
        assert [graph[key]["inputs"]["text"] for key in ("6", "7", "22")] == [*PICTURE[:2], ""]


def test_a_guider_without_a_positive_has_prompts_under_any_name() -> None:
    guider = node("DualCFGGuider", cond1=["6", 0], cond2=["16", 0], negative=["7", 0])
    graph = filled({**custom(guider), "16": node("CLIPTextEncode", text="dog!", clip=["4", 1])})
    assert graph["6"]["inputs"]["text"] == graph["16"]["inputs"]["text"] == PICTURE.prompt
    assert graph["7"]["inputs"]["text"] == PICTURE.negative_prompt


def test_what_is_for_no_side_beside_a_positive_is_left_alone() -> None:
    guider = node("CFGGuider", positive=["6", 0], negative=["7", 0], style=["16", 0], cfg=4.0)
    graph = filled({**custom(guider), "16": node("CLIPTextEncode", text="ink", clip=["4", 1])})
    assert graph["16"]["inputs"]["text"] == "ink"


def two_passes(**second: Any) -> Graph:
    inputs = {**plain()["3"]["inputs"], "latent_image": ["3", 0], **second}
    return plain(_13=node("KSampler", **inputs), _8=node("VAEDecode", samples=["13", 0], vae=["4", 2]))


def test_every_sampler_that_the_picture_comes_through_gets_the_texts_and_the_seed() -> None:
    refiner = {
        "_16": node("CLIPTextEncode", text="dog!", clip=["4", 1]),
        "_17": node("CLIPTextEncode", text="ugly!", clip=["4", 1]),
    }
    graph = two_passes(positive=["16", 0], negative=["17", 0])
    graph = filled({**graph, **{key.strip("_"): made for key, made in refiner.items()}})
    assert [graph[key]["inputs"]["text"] for key in ("6", "7", "16", "17")] == [
        PICTURE.prompt,
        PICTURE.negative_prompt,
    ] * 2
    assert [graph[key]["inputs"]["seed"] for key in ("3", "13")] == [77, 77]


def test_a_sampler_named_by_hand_is_the_only_one_that_gets_them() -> None:
    graph = two_passes(positive=["6", 0], negative=["17", 0])
    graph["17"] = node("CLIPTextEncode", text="ugly!", clip=["4", 1])
    graph = filled(graph, "3")
    assert graph["7"]["inputs"]["text"] == PICTURE.negative_prompt
    assert graph["17"]["inputs"]["text"] == "ugly!"
    assert (graph["3"]["inputs"]["seed"], graph["13"]["inputs"]["seed"]) == (77, 5)


def test_other_pictures_and_texts_that_are_shown_are_left_out() -> None:
    graph = filled(plain(_30=node("PreviewImage", images=["8", 0]), _31=node("PreviewAny", source=["6", 0])))
    assert graph.keys() == {"3", "4", "5", "6", "7", "8", "negopt_picture"}


def test_a_saved_picture_goes_before_a_shown_one() -> None:
    first = node("VAEDecode", samples=["3", 0], vae=["4", 2])
    graph = filled({**two_passes(), "28": first, "29": node("PreviewImage", images=["28", 0])})
    assert graph["negopt_picture"]["inputs"]["images"] == ["8", 0]


# Marks that the user sets


def test_a_mark_says_where_the_text_goes_and_keeps_what_is_around_it() -> None:
    graph = filled(plain(_7=node("CLIPTextEncode", text="embedding:Easy, {negative}, (bad:1.2)", clip=["4", 1])))
    assert graph["7"]["inputs"]["text"] == f"embedding:Easy, {PICTURE.negative_prompt}, (bad:1.2)"


COMBINED = {
    "_17": node("CLIPTextEncode", text="frame", clip=["4", 1]),
    "_18": node("ConditioningCombine", conditioning_1=["7", 0], conditioning_2=["17", 0]),
    "_3": node("KSampler", **{**plain()["3"]["inputs"], "negative": ["18", 0]}),
}


def test_several_texts_of_one_side_need_a_mark() -> None:
    with pytest.raises(OptionError, match=r"negative of node 3 .*17 \(CLIPTextEncode\), 7 .*write \{negative\}"):
        filled(plain(**COMBINED))
    graph = filled(plain(**COMBINED, _7=node("CLIPTextEncode", text="{negative}", clip=["4", 1])))
    assert graph["7"]["inputs"]["text"] == PICTURE.negative_prompt
    assert graph["17"]["inputs"]["text"] == "frame"


def test_joined_texts_need_a_mark_unless_all_but_one_are_empty() -> None:
    def joined(first: str, second: str) -> Graph:
        both = node("StringConcatenate", string_a=first, string_b=second, delimiter=", ")
        return plain(_12=both, _6=node("CLIPTextEncode", text=["12", 0], clip=["4", 1]))

    with pytest.raises(OptionError, match=r"positive of node 3"):
        filled(joined("masterpiece", "a dog"))
    assert filled(joined("", "a dog"))["12"]["inputs"]["string_b"] == PICTURE.prompt
    assert filled(joined("best, {prompt}", "8k"))["12"]["inputs"]["string_a"] == f"best, {PICTURE.prompt}"


# Workflows that cannot be used


@pytest.mark.parametrize(
    "changes",
    [
        {"_3": node("KSampler", **{**plain()["3"]["inputs"], "negative": ["6", 0]})},
        {
            "_12": node("ConditioningZeroOut", conditioning=["6", 0]),
            "_3": node("KSampler", **{**plain()["3"]["inputs"], "negative": ["12", 0]}),
        },
        {"_3": node("KSampler", **{**plain()["3"]["inputs"], "cfg": 1.0})},
    ],
    ids=["one text for both", "zeroed", "guidance of 1"],
)
def test_a_workflow_without_a_negative_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="without a negative"):
        filled(plain(**changes))


def test_a_guider_without_a_negative_is_an_error() -> None:
    with pytest.raises(OptionError, match="without a negative"):
        filled(custom(node("BasicGuider", model=["4", 0], conditioning=["6", 0])))


def test_other_workflows_that_cannot_be_used() -> None:
    unsaved = plain()
    del unsaved["9"]
    with pytest.raises(OptionError, match="saves no picture"):
        filled(unsaved)
    with pytest.raises(OptionError, match="no node 99"):
        filled(plain(), "99")
    seedless = plain()
    del seedless["3"]["inputs"]["seed"]
    with pytest.raises(OptionError, match="no seed"):
        filled(seedless)
    two = {**two_passes(), "28": node("VAEDecode", samples=["3", 0], vae=["4", 2])}
    with pytest.raises(OptionError, match=r"several pictures \(29 \(SaveImage\), 9 \(SaveImage\)\)"):
        filled({**two, "29": node("SaveImage", images=["28", 0])})
    circle = plain(
        _12=node("ConditioningCombine", conditioning_1=["12", 0]),
        _3=node("KSampler", **{**plain()["3"]["inputs"], "negative": ["12", 0]}),
    )
    with pytest.raises(OptionError, match="circle"):
        filled(circle)


# Files


def test_a_workflow_is_read_from_json_and_from_a_picture(tmp_path: Path) -> None:
    bare, wrapped, picture = (tmp_path / name for name in ("bare.json", "wrapped.json", "picture.png"))
    bare.write_text(json.dumps(plain()))
    wrapped.write_text(json.dumps({"prompt": plain()}))
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(plain()))
    Image.new("RGB", (4, 4)).save(picture, pnginfo=info)
    assert read_workflow(bare) == read_workflow(wrapped) == read_workflow(picture) == plain()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"nodes": [], "links": []}', r"Export \(API\)"),
        ("{}", "not a ComfyUI workflow"),
        ('{"3": 5}', "not a ComfyUI workflow"),
        ("{", "not a workflow in JSON"),
    ],
)
def test_a_file_that_is_no_workflow_is_said(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "w.json").write_text(text)
    with pytest.raises(OptionError, match=message):
        read_workflow(tmp_path / "w.json")
    with pytest.raises(OptionError, match="cannot be read"):
        read_workflow(tmp_path / "none.json")


# With a server


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(plain()))
    return file


@pytest.fixture
def server() -> Iterator[ComfyUIServer]:
    running = ComfyUIServer()
    with running:
        yield running


PICTURES = [Picture(f"prompt {number % 3}", f"negative {number % 2}", number // 4) for number in range(12)]


def test_pictures_of_a_server(server: ComfyUIServer, workflow: Path) -> None:
    sampler = ComfyUISampler.open([server.url], workflow, patience=QUICK)
    images = sampler.sample(PICTURES)
    assert images.shape == (12, 3, 8, 16)
    assert len({seen(image) for image in images}) == 12  # each text and each seed counts
    assert (sampler.sample(PICTURES[::-1]) == images.flip(0)).all()  # and nothing else
    assert sampler.description["sampler"] == "comfyui"


def test_another_workflow_has_another_record(server: ComfyUIServer, workflow: Path) -> None:
    first = ComfyUISampler.open([server.url], workflow, patience=QUICK).description
    assert ComfyUISampler.open([server.url], workflow, patience=QUICK).description == first
    graph = plain()
    graph["3"]["inputs"]["denoise"] = 0.9
    workflow.write_text(json.dumps(graph))
    assert ComfyUISampler.open([server.url], workflow, patience=QUICK).description != first


def test_a_server_killed_in_mid_work_and_started_again(server: ComfyUIServer, workflow: Path) -> None:
    expected = ComfyUISampler.open([server.url], workflow, patience=QUICK).sample(PICTURES)
    sampler = ComfyUISampler.open([server.url], workflow, patience=QUICK)
    server.seconds, before = 0.05, server.painted

    def accident() -> None:
        wait_for(lambda: server.painted >= before + 3)
        server.stop()
        server.start()

    thread = threading.Thread(target=accident)
    thread.start()
    images = sampler.sample(PICTURES)
    thread.join()
    assert (images == expected).all()


def test_a_server_that_stays_dead_leaves_its_work_to_the_other(server: ComfyUIServer, workflow: Path) -> None:
    expected = ComfyUISampler.open([server.url], workflow, patience=QUICK).sample(PICTURES)
    with ComfyUIServer(seconds=0.02) as dying:
        sampler = ComfyUISampler.open([dying.url, server.url], workflow, patience=QUICK)
        server.seconds = 0.02

        def accident() -> None:
            dying.asked.wait(5)
            dying.stop()

        thread = threading.Thread(target=accident)
        thread.start()
        assert (sampler.sample(PICTURES) == expected).all()
        thread.join()
        assert (sampler.sample(PICTURES) == expected).all()


def test_what_is_not_needed_any_more_is_taken_from_the_queue(server: ComfyUIServer, workflow: Path) -> None:
    server.seconds = 2.0
    sampler = ComfyUISampler.open([server.url], workflow, patience=Patience(first=0.5, pause=0.02, outage=0.05))
    with pytest.raises(ModelError, match="no picture within"):
        sampler.sample(PICTURES[:3])
    assert server.interrupted
    assert len(server.deleted) >= 3


def test_a_fault_in_the_workflow_ends_with_the_servers_words(server: ComfyUIServer, workflow: Path) -> None:
    sampler = ComfyUISampler.open([server.url], workflow, patience=QUICK)
    server.fault = "mat1 and mat2 shapes\ncannot be multiplied"
    with pytest.raises(ModelError, match=r"node 3 \(KSampler\): mat1 and mat2 shapes cannot be multiplied"):
        sampler.sample(PICTURES)


def test_what_is_no_news_of_comfyui_is_passed_over(server: ComfyUIServer, workflow: Path) -> None:
    server.chatter = ('{"type": "mine", "data": "text"}', '{"type": "mine", "data": [1]}', "[1]", "null", "hello")
    sampler = ComfyUISampler.open([server.url], workflow, patience=QUICK)
    assert sampler.sample(PICTURES[:2]).shape == (2, 3, 8, 16)
    assert len(server.graphs) == 2  # the connection was never lost


@pytest.mark.parametrize("answer", [{}, None, [1]])
def test_a_server_that_accepts_a_workflow_as_comfyui_does_not(
    server: ComfyUIServer, workflow: Path, answer: Any
) -> None:
    sampler = ComfyUISampler.open([server.url], workflow, patience=QUICK)
    server.accepting = answer
    with pytest.raises(ModelError, match="does not answer as ComfyUI does"):
        sampler.sample(PICTURES[:1])


def test_a_workflow_that_the_server_does_not_accept(server: ComfyUIServer) -> None:
    form = make_form(plain(), CLASSES)
    broken = Form({**form.graph, "8": node("VAEDecode", samples=["99", 0], vae=["4", 2])}, form.texts, form.seeds)
    with pytest.raises(ModelError, match=r"failed validation; node 8 \(VAEDecode\): Bad linked input, samples"):
        ComfyUISampler([server.url], broken, QUICK).sample(PICTURES)


def test_what_a_server_lacks_is_said_before_any_picture(server: ComfyUIServer, workflow: Path) -> None:
    workflow.write_text(json.dumps(plain(_4=node("CheckpointLoaderSimple", ckpt_name="mine.safetensors"))))
    with pytest.raises(ModelError, match=r"no 'mine.safetensors' for ckpt_name .*it has a.safetensors, b.safetensors"):
        ComfyUISampler.open([server.url], workflow, patience=QUICK)
    workflow.write_text(json.dumps(plain(_8=node("VAEDecodeMine", samples=["3", 0], vae=["4", 2]))))
    with pytest.raises(ModelError, match=r"lacks the node VAEDecodeMine; install"):
        ComfyUISampler.open([server.url], workflow, patience=QUICK)
    workflow.write_text(json.dumps(plain()))
    with (
        ComfyUIServer(without=("SaveImageWebsocket",)) as poor,
        pytest.raises(ModelError, match=r"lacks the node SaveImageWebsocket.*websocket_image_save.py"),
    ):
        ComfyUISampler.open([server.url, poor.url], workflow, patience=QUICK)


def test_no_server_at_the_address(workflow: Path, caplog: pytest.LogCaptureFixture, server: ComfyUIServer) -> None:
    with pytest.raises(ModelError, match=r"no server answers \(http://127.0.0.1:9: .*\); is it running"):
        ComfyUISampler.open(["http://127.0.0.1:9"], workflow, patience=QUICK)
    ComfyUISampler.open(["http://127.0.0.1:9", server.url], workflow, patience=QUICK)
    assert "going on without it" in caplog.text
