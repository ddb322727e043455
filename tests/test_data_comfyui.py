"""Graphs of ComfyUI as real ones are wired: from the sampler back to the text."""

from __future__ import annotations

import time
from typing import Any

from training.data.readers.comfyui_graph import is_graph, pairs_in_graph

Nodes = dict[str, dict[str, Any]]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def sampled(nodes: Nodes, positive: str | list, negative: str | list) -> list[tuple[str, str]]:
    """The pairs of `nodes` with a KSampler at the end; a plain name stands for that node's first output."""
    links = [[side, 0] if isinstance(side, str) else side for side in (positive, negative)]
    graph = nodes | {"end": node("KSampler", seed=1, steps=20, positive=links[0], negative=links[1])}
    assert is_graph(graph)
    return pairs_in_graph(graph)


def encoder(text: Any) -> dict[str, Any]:
    return node("CLIPTextEncode", clip=["model", 1], text=text)


PLAIN: Nodes = {"p": encoder("a boat"), "n": encoder("fog")}
PAIR = [("a boat", "fog")]


def test_two_encoders() -> None:
    assert sampled(PLAIN, "p", "n") == PAIR


def test_other_json_is_no_graph() -> None:
    assert not is_graph({"prompt": "a", "negative_prompt": "b"})
    assert not is_graph([1])
    assert not is_graph({"nodes": [1, 2]})


def test_reroutes_in_a_row() -> None:
    nodes = PLAIN | {
        "r1": node("Reroute", **{"": ["n", 0]}),
        "r2": node("Reroute (rgthree)", **{"": ["r1", 0]}),
    }
    assert sampled(nodes, "p", "r2") == PAIR


def test_controlnet_tells_its_sides_by_output_or_name() -> None:
    nodes = PLAIN | {
        "c1": node("ControlNetApplyAdvanced", positive=["p", 0], negative=["n", 0], strength=1.0),
        "c2": node("ControlNetApplyAdvanced", positive=["c1", 0], negative=["c1", 1], strength=1.0),
        "single": node("ControlNetApply", conditioning=["p", 0], image=["x", 0]),
    }
    assert sampled(nodes, ["c2", 0], ["c2", 1]) == PAIR
    assert sampled(nodes, "single", "n") == PAIR


def test_crossed_controlnet_follows_the_wire() -> None:
    crossed = PLAIN | {"c": node("ControlNetApplyAdvanced", positive=["n", 0], negative=["p", 0])}
    assert sampled(crossed, ["c", 1], ["c", 0]) == PAIR


def test_controlnet_without_its_negative_gives_no_pair() -> None:
    nodes = PLAIN | {"c": node("ControlNetApplyAdvanced", positive=["p", 0], strength=1.0)}
    assert sampled(nodes, ["c", 0], ["c", 1]) == []


def test_conditioning_is_combined_averaged_and_set() -> None:
    nodes = PLAIN | {
        "sea": encoder("rough sea"),
        "area": node("ConditioningSetArea", conditioning=["sea", 0], width=64, strength=1.0),
        "both": node("ConditioningCombine", conditioning_1=["p", 0], conditioning_2=["area", 0]),
        "concat": node("ConditioningConcat", conditioning_to=["n", 0], conditioning_from=["sea", 0]),
        "average": node("ConditioningAverage", conditioning_to=["n", 0], conditioning_from=["n", 0]),
    }
    assert sampled(nodes, "both", "concat") == [("a boat, rough sea", "fog, rough sea")]
    assert sampled(nodes, "both", "average") == [("a boat, rough sea", "fog")]


def test_zeroed_negative_gives_no_pair() -> None:
    nodes = PLAIN | {"zero": node("ConditioningZeroOut", conditioning=["p", 0])}
    assert sampled(nodes, "p", "zero") == []


def test_sdxl_and_flux_encoders_join_what_differs() -> None:
    nodes = {
        "p": node("CLIPTextEncodeSDXL", width=1024, text_g="a boat", text_l="oil painting"),
        "n": node("CLIPTextEncodeSDXL", width=1024, text_g="fog", text_l="fog"),
        "f": node("CLIPTextEncodeFlux", clip_l="a boat", t5xxl="a boat", guidance=3.5),
    }
    assert sampled(nodes, "p", "n") == [("a boat, oil painting", "fog")]
    assert sampled(nodes, "f", "n") == PAIR


def test_text_from_primitives_and_concatenation() -> None:
    nodes = {
        "boat": node("PrimitiveStringMultiline", value="a boat"),
        "style": node("Text Multiline", text="in oil"),
        "join": node("StringConcatenate", string_a=["boat", 0], string_b=["style", 0], delimiter=" | "),
        "was": node("Text Concatenate", delimiter="\\n", text_a=["boat", 0], text_b=["style", 0]),
        "cr": node("CR Text Concatenate", text1=["boat", 0], text2="at sea", separator=", "),
        "p": encoder(["join", 0]), "q": encoder(["was", 0]), "r": encoder(["cr", 0]),
        "n": encoder("fog"),
    }  # fmt: skip
    assert sampled(nodes, "p", "n") == [("a boat | in oil", "fog")]
    assert sampled(nodes, "q", "n") == [("a boat\nin oil", "fog")]
    assert sampled(nodes, "r", "n") == [("a boat, at sea", "fog")]


def test_string_functions() -> None:
    nodes = {
        "append": node("StringFunction|pysssss", action="append", text_a="a", text_b="boat", text_c=""),
        "replace": node("StringFunction|pysssss", action="replace", text_a="a cat", text_b="cat", text_c="boat"),
        "core": node("StringReplace", string="a cat", find="cat", replace="boat"),
        "show": node("ShowText|pysssss", text=["replace", 0]),
        "p": encoder(["append", 0]), "q": encoder(["show", 0]), "r": encoder(["core", 0]), "n": encoder("fog"),
    }  # fmt: skip
    assert sampled(nodes, "p", "n") == [("a, boat", "fog")]
    assert sampled(nodes, "q", "n") == PAIR
    assert sampled(nodes, "r", "n") == PAIR


def test_smz_and_impact_wildcards() -> None:
    nodes = {
        "p": node("smZ CLIPTextEncode", text="a boat", parser="A1111", mean_normalization=True, text_g="", text_l=""),
        "w": node("ImpactWildcardProcessor", wildcard_text="a {boat|car}", populated_text="a boat", mode="populate"),
        "e": node("ImpactWildcardEncode", wildcard_text="__x__", populated_text="a boat", model=["m", 0]),
        "q": encoder(["w", 0]),
        "n": node("BNK_CLIPTextEncodeAdvanced", text="fog", token_normalization="none"),
    }  # fmt: skip
    assert sampled(nodes, "p", "n") == PAIR
    assert sampled(nodes, "q", "n") == PAIR
    assert sampled(nodes, ["e", 2], "n") == PAIR


def test_efficient_loader_by_output() -> None:
    nodes = {"l": node("Efficient Loader", ckpt_name="x.safetensors", positive="a boat", negative="fog", clip_skip=-1)}
    graph = nodes | {"k": node("KSampler (Efficient)", positive=["l", 1], negative=["l", 2], sampler_name="euler")}
    assert pairs_in_graph(graph) == PAIR


def test_efficient_loader_with_linked_text() -> None:
    nodes = {
        "t": node("Text Multiline", text="a boat"),
        "l": node("Efficient Loader", ckpt_name="x.safetensors", positive=["t", 0], negative="fog"),
        "k": node("KSampler (Efficient)", positive=["l", 1], negative=["l", 2]),
    }
    assert pairs_in_graph(nodes) == PAIR


def test_easy_use_pipes_and_boxes() -> None:
    nodes = {
        "n": node("easy negative", negative="fog"),
        "l": node("easy fullLoader", ckpt_name="x", positive="a boat", negative=["n", 0], a1111_prompt_style=False),
        "s": node("easy preSampling", pipe=["l", 0], steps=20, sampler_name="euler"),
        "k": node("easy fullkSampler", pipe=["s", 0], image_output="Preview"),
    }
    assert pairs_in_graph(nodes) == PAIR


def test_a_box_named_for_one_side_serves_the_other() -> None:
    nodes = {"p": encoder("a boat"), "b": node("easy positive", positive="fog"), "n": encoder(["b", 0])}
    assert sampled(nodes, "p", "n") == PAIR


def test_impact_basic_pipe() -> None:
    nodes = PLAIN | {
        "b": node("ToBasicPipe", model=["m", 0], clip=["m", 1], positive=["p", 0], negative=["n", 0]),
        "e": node("EditBasicPipe", basic_pipe=["b", 0], model=["m2", 0]),
        "f": node("FromBasicPipe", basic_pipe=["e", 0]),
    }
    assert sampled(nodes, ["f", 3], ["f", 4]) == PAIR
    assert pairs_in_graph(nodes | {"k": node("ImpactKSamplerBasicPipe", basic_pipe=["e", 0])}) == PAIR


def test_rgthree_context_and_power_prompt() -> None:
    nodes = {
        "p": node("Power Prompt (rgthree)", prompt="a boat", opt_clip=["m", 1], insert_lora="CHOOSE"),
        "n": node("Power Prompt - Simple (rgthree)", prompt="fog", opt_clip=["m", 1]),
        "c": node("Context (rgthree)", positive=["p", 0], negative=["n", 0], seed=5),
        "d": node("Context Big (rgthree)", base_ctx=["c", 0], model=["m", 0]),
        "s": node("Context Switch (rgthree)", ctx_01=["gone", 0], ctx_02=["d", 0]),
    }
    assert sampled(nodes, ["s", 4], ["s", 5]) == PAIR


def test_switches_let_one_input_through() -> None:
    nodes = PLAIN | {
        "other": encoder("a car"),
        "any": node("Any Switch (rgthree)", any_02=["p", 0], any_03=["other", 0]),
        "impact": node("ImpactSwitch", select=2, input1=["other", 0], input2=["p", 0], sel_mode=True),
        "none": node("ImpactSwitch", select=3, input1=["other", 0]),
    }
    assert sampled(nodes, "any", "n") == PAIR
    assert sampled(nodes, "impact", "n") == PAIR
    assert sampled(nodes, "none", "n") == []


def test_prompt_styler_sides() -> None:
    nodes = {
        "s": node("SDXLPromptStyler", text_positive="a boat", text_negative="fog", style="base", log_prompt="No"),
        "p": encoder(["s", 0]),
        "n": encoder(["s", 1]),
    }
    assert sampled(nodes, "p", "n") == PAIR


def test_was_text_string_by_output() -> None:
    nodes = {
        "t": node("Text String", text="a boat", text_b="fog", text_c="", text_d=""),
        "p": encoder(["t", 0]),
        "n": encoder(["t", 1]),
    }
    assert sampled(nodes, "p", "n") == PAIR


def test_guiders_and_custom_samplers() -> None:
    nodes = PLAIN | {
        "g": node("CFGGuider", model=["m", 0], positive=["p", 0], negative=["n", 0], cfg=5.0),
        "k": node("KSamplerSelect", sampler_name="euler"),
        "s": node("SamplerCustomAdvanced", guider=["g", 0], sampler=["k", 0], sigmas=["x", 0]),
    }
    assert pairs_in_graph(nodes) == PAIR


def test_text_that_a_model_writes_is_nobodys_prompt() -> None:
    nodes = PLAIN | {
        "llm": node("OllamaGenerate", prompt="You are an assistant. Describe", model="x"),
        "tag": node("WD14Tagger|pysssss", image=["i", 0], tags="1boat"),
        "q": encoder(["llm", 0]),
        "t": encoder(["tag", 0]),
    }
    assert sampled(nodes, "q", "n") == []
    assert sampled(nodes, "t", "n") == []


def test_each_different_sampler_gives_its_pair_once() -> None:
    nodes = PLAIN | {"n2": encoder("text")}
    graph = nodes | {
        "k1": node("KSampler", positive=["p", 0], negative=["n", 0]),
        "k2": node("KSamplerAdvanced", positive=["p", 0], negative=["n", 0]),
        "k3": node("FaceDetailer", positive=["p", 0], negative=["n2", 0]),
        "k4": node("UltimateSDUpscale", positive=["p", 0], negative=["n2", 0]),
    }
    assert pairs_in_graph(graph) == [("a boat", "fog"), ("a boat", "text")]


def test_one_text_for_both_sides_is_no_pair() -> None:
    assert sampled(PLAIN, "p", "p") == []


def test_missing_nodes_and_odd_values() -> None:
    assert sampled({"p": encoder(["gone", 0]), "n": encoder("fog")}, "p", "n") == []
    assert sampled({"p": encoder(None), "n": encoder(5)}, "p", "n") == []
    assert pairs_in_graph({"1": {"class_type": "KSampler"}, "2": {"class_type": 3}, "3": None}) == []
    assert pairs_in_graph({"prompt": {"1": {"class_type": "KSampler", "inputs": [1, 2]}}}) == []


def test_circles_end() -> None:
    nodes = PLAIN | {
        "a": node("Reroute", **{"": ["b", 0]}),
        "b": node("ConditioningCombine", conditioning_1=["a", 0], conditioning_2=["p", 0]),
        "self": node("ConditioningSetArea", conditioning=["self", 0]),
    }
    assert sampled(nodes, "a", "n") == PAIR
    assert sampled(nodes, "self", "n") == []


def test_knots_and_long_chains_end_soon() -> None:
    nodes: Nodes = {"n": encoder("fog"), "x0": encoder("a boat")}
    for i in range(1, 60):  # 2^60 ways through
        nodes[f"x{i}"] = node("ConditioningCombine", conditioning_1=[f"x{i - 1}", 0], conditioning_2=[f"x{i - 1}", 0])
    for i in range(5000):
        nodes[f"y{i}"] = node("Reroute", **{"": [f"y{i + 1}", 0]})
    start = time.process_time()
    sampled(nodes, "x59", "n")
    assert sampled(nodes, "y0", "n") == []
    assert time.process_time() - start < 2


# The form that the page draws


def drawn(nodes: list[dict[str, Any]], links: list[list[Any]]) -> dict[str, Any]:
    return {"version": 0.4, "nodes": nodes, "links": links}


def box(number: int, kind: str, widgets: Any = (), mode: int = 0, **inputs: int | None) -> dict[str, Any]:
    sockets = [{"name": name, "type": "CONDITIONING", "link": link} for name, link in inputs.items()]
    outputs = [{"name": "OUT", "type": "CONDITIONING"}]
    return {"id": number, "type": kind, "mode": mode, "inputs": sockets, "outputs": outputs, "widgets_values": widgets}


def test_drawn_graph_with_bypassed_and_muted_nodes() -> None:
    graph = drawn(
        [
            box(1, "CLIPTextEncode", ["a boat"]),
            box(2, "CLIPTextEncode", ["fog"]),
            box(3, "ControlNetApply", [1.0], mode=4, conditioning=10),
            box(4, "KSampler", [1, "randomize", 20], positive=11, negative=12),
            box(5, "KSampler", [1, "randomize", 20], mode=2, positive=12, negative=11),
            box(6, "Note", ["nothing of it, a remark"]),
        ],
        [[10, 1, 0, 3, 0, "C"], [11, 3, 0, 4, 0, "C"], [12, 2, 0, 4, 1, "C"]],
    )
    assert is_graph(graph)
    assert pairs_in_graph(graph) == PAIR


def test_drawn_primitive_and_set_get() -> None:
    primitive = box(1, "PrimitiveNode", ["a boat"])
    encode = box(2, "CLIPTextEncode", ["old text"])
    encode["inputs"] = [{"name": "text", "type": "STRING", "link": 20, "widget": {"name": "text"}}]
    graph = drawn(
        [
            primitive,
            encode,
            box(3, "CLIPTextEncode", ["fog"]),
            box(4, "SetNode", ["neg"], CONDITIONING=21),
            box(5, "GetNode", ["neg"]),
            box(6, "KSampler", [1], positive=22, negative=23),
        ],
        [[20, 1, 0, 2, 0, "S"], [21, 3, 0, 4, 0, "C"], [22, 2, 0, 6, 0, "C"], [23, 5, 0, 6, 1, "C"]],
    )
    assert pairs_in_graph(graph) == PAIR


def test_drawn_efficient_loader_by_widget_order() -> None:
    widgets = ["m.ckpt", "Baked VAE", -1, "None", 1, 1, "a boat", "fog", "none", "comfy", 512, 512, 1]
    loader = box(1, "Efficient Loader", widgets)
    graph = drawn(
        [loader, box(2, "KSampler (Efficient)", [1], positive=1, negative=2)],
        [[1, 1, 1, 2, 0, "C"], [2, 1, 2, 2, 1, "C"]],
    )
    assert pairs_in_graph(graph) == PAIR


def test_drawn_group_node_is_not_guessed_at() -> None:
    group = box(1, "workflow/both encoders", ["a boat", "fog, rain"])
    graph = drawn([group, box(2, "KSampler", [1], positive=1, negative=2)], [[1, 1, 0, 2, 0], [2, 1, 1, 2, 1]])
    assert pairs_in_graph(graph) == []


def test_drawn_nonsense_never_raises() -> None:
    nodes = [
        {"id": 1, "type": "KSampler", "inputs": None, "widgets_values": None},
        {"id": 2, "type": "KSampler", "inputs": [{"name": None, "link": 3}, 5], "outputs": [None]},
        {"id": 3, "type": "X", "mode": 4, "inputs": [{"name": "a", "type": "C", "link": 1}], "outputs": [3]},
        "text",
        {"type": 4},
    ]
    nodes += [
        {"id": 4, "type": "SetNode", "inputs": True, "widgets_values": {"key": []}},
        {"id": 5, "type": "KSampler", "inputs": [{"name": "positive", "link": 9}, {"name": "negative", "link": 9}]},
    ]
    links = [None, 5, [1], [1, 2, "x", 3, 4], {"id": 1}, [9, 4, -1, 5, 0]]
    assert pairs_in_graph({"nodes": nodes, "links": links}) == []
    assert pairs_in_graph({"nodes": nodes, "links": True}) == []


def test_links_with_odd_numbers_lead_nowhere() -> None:
    nodes = {"s": node("SDXLPromptStyler", text_positive="a boat", text_negative="fog")}
    assert sampled(nodes, ["s", -1], ["s", True]) == []
