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


def test_encoders_of_other_models_with_names_of_their_own() -> None:
    nodes = {
        "p": node("CLIPTextEncodeLumina2", clip=["m", 0], system_prompt="superior", user_prompt="a boat"),
        "n": node("CLIPTextEncodeHunyuanDiT", clip=["m", 0], bert="fog", mt5xl="fog"),
        "h": node("CLIPTextEncodeHiDream", clip=["m", 0], clip_l="", clip_g="", t5xxl="", llama="a boat"),
    }
    assert sampled(nodes, "p", "n") == sampled(nodes, "h", "n") == PAIR


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


def test_concatenation_keeps_the_spaces_between_its_parts() -> None:
    nodes = {
        "inner": node("StringConcatenate", string_a="a ", string_b="red ", delimiter=""),
        "outer": node("StringConcatenate", string_a=["inner", 0], string_b="boat ", delimiter=""),
        "p": encoder(["outer", 0]),
        "n": encoder("fog"),
    }
    assert sampled(nodes, "p", "n") == [("a red boat", "fog")]


def test_what_a_node_showed_in_the_run_before_is_no_prompt() -> None:
    nodes = {
        "typed": node("ShowText|pysssss", text=["t", 0], text_0="an old car", text_1="an older one"),
        "t": node("PrimitiveString", value="a boat"),
        "written": node("ShowText|pysssss", text=["llm", 0], text_0="an old car"),
        "llm": node("OllamaGenerate", prompt="write a prompt"),
        "p": encoder(["typed", 0]), "q": encoder(["written", 0]), "n": encoder("fog"),
    }  # fmt: skip
    assert sampled(nodes, "p", "n") == PAIR
    assert sampled(nodes, "q", "n") == []


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


def switched(kind: str, **inputs: Any) -> list[tuple[str, str]]:
    """The pairs of `PLAIN` with a switch before the positive side, which may let `other` through."""
    nodes = PLAIN | {
        "other": encoder("a car"),
        "yes": node("PrimitiveBoolean", value=True),
        "no": node("ComfyNotNode", value=["yes", 0]),
        "two": node("PrimitiveInt", value=2),
        "run": node("ImageIsBright", image=["x", 0], threshold=4),
        "s": node(kind, **inputs),
    }
    return sampled(nodes, "s", "n")


def test_switches_with_a_condition() -> None:
    ways = {"on_false": ["other", 0], "on_true": ["p", 0]}
    for kind, name in (("ComfySwitchNode", "switch"), ("LazySwitchKJ", "switch"), ("easy ifElse", "boolean")):
        assert switched(kind, **ways | {name: True}) == PAIR
        assert switched(kind, **ways | {name: ["yes", 0]}) == PAIR
        assert switched(kind, **ways | {name: ["no", 0]}) == [("a car", "fog")]
        assert switched(kind, **ways | {name: ["run", 0]}) == []  # only a run can tell
        assert switched(kind, on_false=["p", 0], **{name: True}) == []
    assert switched("ImpactConditionalBranch", cond=False, tt_value=["other", 0], ff_value=["p", 0]) == PAIR
    was = {"conditioning_a": ["p", 0], "conditioning_b": ["other", 0]}
    assert switched("Conditioning Input Switch", **was, boolean=["yes", 0]) == PAIR


def test_text_switches_do_not_join_their_ways() -> None:
    texts = {"a": node("Text Multiline", text="a boat"), "b": node("Text Multiline", text="a car")}
    for switch in (
        node("Text Input Switch", text_a=["b", 0], text_b=["a", 0], boolean=False),
        node("easy textSwitch", input=2, text1=["b", 0], text2=["a", 0]),
        node("CR Text Input Switch", Input=["two", 0], text1=["b", 0], text2=["a", 0]),
        node("ComfySwitchNode", switch=["both", 0], on_true=["a", 0], on_false=["b", 0]),
        node("ComfySwitchNode", switch=["one", 0], on_true=["a", 0], on_false=["b", 0]),
    ):
        nodes = texts | {
            "two": node("PrimitiveInt", value=2),
            "both": node("ComfyAndNode", **{"values.value0": True, "values.value1": ["two", 0]}),
            "one": node("ComfyOrNode", **{"values.value0": False, "values.value1": ["two", 0]}),
            "switch": switch, "p": encoder(["switch", 0]), "n": encoder("fog"),
        }  # fmt: skip
        assert sampled(nodes, "p", "n") == PAIR


def test_a_linked_number_chooses() -> None:
    ways = {"input1": ["other", 0], "input2": ["p", 0]}
    assert switched("ImpactSwitch", select=["two", 0], **ways) == PAIR
    assert switched("ImpactSwitch", select=["run", 0], **ways) == []
    assert switched("ImpactSwitch", select=["gone", 0], **ways) == []


def test_comfyuis_own_nodes_of_logic_and_text() -> None:
    nodes = {
        "combo": node("CustomCombo", choice="a boat", index=1, option1="a car", option2="a boat"),
        "pass": node("ComfyPassOrNoneNode", default=["combo", 0]),
        "format": node("StringFormat", f_string="{a} at {b}", **{"values.a": ["pass", 0], "values.b": "sea"}),
        "code": node("StringFormat", f_string="{a.__class__} {b!r}", **{"values.a": "x", "values.b": "y"}),
        "regex": node("RegexReplace", string="a car", regex_pattern="(a+)+$", replace="boat"),
        "model": node("TextGenerate", clip=["c", 0], prompt="Write a prompt with a boat", max_length=256),
        "n": encoder("fog"),
    }
    nodes |= {f"p_{name}": encoder([name, 0]) for name in list(nodes) if name != "n"}
    assert sampled(nodes, "p_combo", "n") == sampled(nodes, "p_pass", "n") == PAIR
    assert sampled(nodes, "p_format", "n") == [("a boat at sea", "fog")]
    for name in ("p_code", "p_regex", "p_model"):
        assert sampled(nodes, name, "n") == []


def test_a_prompt_beside_its_negative_prompt() -> None:
    for name in ("negative_prompt", "negative"):
        nodes = {"e": node("TextEncodeQwenImage21", clip=["m", 0], prompt="a boat", **{name: "fog"}, resolution=1024)}
        assert sampled(nodes, ["e", 0], ["e", 1]) == PAIR
        nodes["e"]["inputs"][name] = ""
        assert sampled(nodes, ["e", 0], ["e", 1]) == []
    box = {"p": encoder("a boat"), "n": node("Encoder", clip=["m", 0], positive_prompt="fog")}
    assert sampled(box, "p", "n") == PAIR  # a box that is named for the other side


def test_prompt_styler_sides() -> None:
    nodes = {
        "s": node("SDXLPromptStyler", text_positive="a boat", text_negative="fog", style="base", log_prompt="No"),
        "p": encoder(["s", 0]),
        "n": encoder(["s", 1]),
    }
    assert sampled(nodes, "p", "n") == PAIR


def test_advanced_prompt_styler_has_three_outputs_a_side() -> None:
    nodes = {
        "s": node("SDXLPromptStylerAdvanced", text_positive_g="a boat", text_positive_l="oil", text_negative="fog"),
        "p": node("CLIPTextEncodeSDXL", text_g=["s", 0], text_l=["s", 1]),
        "n": node("CLIPTextEncodeSDXL", text_g=["s", 3], text_l=["s", 4]),
        "q": encoder(["s", 2]),
        "m": encoder(["s", 5]),
    }
    assert sampled(nodes, "p", "n") == [("a boat, oil", "fog")]
    assert sampled(nodes, "q", "m") == [("a boat, oil", "fog")]


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


def test_texts_that_grow_from_node_to_node_end_soon() -> None:
    nodes: Nodes = {"n": encoder("fog"), "f0": node("Text Multiline", text="a a"), "w0": node("PrimitiveInt", value=1)}
    nodes["r0"] = nodes["f0"]
    for i in range(1, 100):  # 2^100 characters, and 4^100 ways
        nodes[f"f{i}"] = node("StringFormat", f_string="{a} {a}", **{"values.a": [f"f{i - 1}", 0]})
        nodes[f"r{i}"] = node("StringReplace", string=[f"r{i - 1}", 0], find="a", replace="a a")
        nodes[f"w{i}"] = node("ComfyAndNode", **{f"values.value{k}": [f"w{i - 1}", 0] for k in range(4)})
    nodes |= {"p": encoder(["f99", 0]), "q": encoder(["r99", 0])}
    nodes["s"] = node("ComfySwitchNode", switch=["w99", 0], on_true=["p", 0], on_false=["p", 0])
    start = time.process_time()
    assert [sampled(nodes, name, "n") for name in ("p", "q", "s")] == [[], [], []]
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


def test_drawn_switch_and_combo() -> None:
    combo = box(1, "CustomCombo", ["a boat", 1, "a car", "a boat", ""])
    encode = encoder_box(2, "old text", 20)
    switch = box(4, "ComfySwitchNode", [True], on_false=21, on_true=22)
    sockets = [{"name": "switch", "type": "BOOLEAN", "link": None, "widget": {"name": "switch"}}]
    switch["inputs"] = sockets + switch["inputs"]
    graph = drawn(
        [
            combo,
            encode,
            box(3, "CLIPTextEncode", ["fog"]),
            switch,
            box(5, "CLIPTextEncode", ["a car"]),
            box(6, "KSampler", [1], positive=23, negative=24),
        ],
        [
            [20, 1, 0, 2, 0, "S"],
            [21, 5, 0, 4, 0, "C"],
            [22, 2, 0, 4, 1, "C"],
            [23, 4, 0, 6, 0, "C"],
            [24, 3, 0, 6, 1, "C"],
        ],
    )
    assert pairs_in_graph(graph) == PAIR


def test_drawn_group_node_is_not_guessed_at() -> None:
    group = box(1, "workflow/both encoders", ["a boat", "fog, rain"])
    graph = drawn([group, box(2, "KSampler", [1], positive=1, negative=2)], [[1, 1, 0, 2, 0], [2, 1, 1, 2, 1]])
    assert pairs_in_graph(graph) == []


# Subgraphs: a sampler and its negative encoder inside, the prompt's widget promoted to the instance

SUBGRAPH = "9ae6082b-c7f4-433c-9971-7a8f65a3ea65"


def encoder_box(number: int, text: str, link: int | None = None) -> dict[str, Any]:
    made = box(number, "CLIPTextEncode", [text])
    made["inputs"] = [{"name": "text", "type": "STRING", "link": link, "widget": {"name": "text"}}]
    return made


def wire(number: int, origin: int, slot: int, target: int, place: int) -> dict[str, Any]:
    return {"id": number, "origin_id": origin, "origin_slot": slot, "target_id": target, "target_slot": place}


def painter(**changed: Any) -> dict[str, Any]:
    """A subgraph with two inputs, of which the second is the prompt, and with one picture as its output."""
    nodes = [
        encoder_box(6, "an old car", 5),
        encoder_box(7, "fog"),
        box(3, "KSampler", [1, "randomize", 20], positive=2, negative=3, seed=4),
    ]
    links = [wire(2, 6, 0, 3, 0), wire(3, 7, 0, 3, 1), wire(5, -10, 1, 6, 0), wire(8, 3, 0, -20, 0)]
    inputs = [{"name": "model", "linkIds": []}, {"name": "text", "linkIds": [5]}]
    return {"id": SUBGRAPH, "name": "Painter", "nodes": nodes, "links": links, "inputs": inputs} | changed


def instance(number: int, values: list[Any], kind: str = SUBGRAPH, mode: int = 0, **inputs: int) -> dict[str, Any]:
    return box(number, kind, values, mode, **inputs)


def with_subgraphs(
    nodes: list[dict[str, Any]], *subgraphs: dict[str, Any], links: list[list[Any]] | None = None
) -> dict[str, Any]:
    return drawn(nodes, links or []) | {"definitions": {"subgraphs": list(subgraphs)}}


def test_widgets_promoted_to_an_instance_are_read_there() -> None:
    assert pairs_in_graph(with_subgraphs([instance(10, ["a boat"])], painter())) == PAIR
    named = instance(10, [5, "a boat"]) | {"properties": {"proxyWidgets": [["3", "seed"], ["-1", "text"]]}}
    assert pairs_in_graph(with_subgraphs([named], painter())) == PAIR
    inner = instance(10, ["rain"]) | {"properties": {"proxyWidgets": [["7", "text"]]}}
    assert pairs_in_graph(with_subgraphs([inner], painter())) == [("an old car", "rain")]


def test_an_instance_without_values_leaves_those_inside() -> None:
    plain = instance(10, []) | {"properties": {"proxyWidgets": [["6", "text"], ["3", "seed"]]}}
    assert pairs_in_graph(with_subgraphs([plain], painter())) == [("an old car", "fog")]


def test_each_instance_has_its_own_values() -> None:
    graph = with_subgraphs([instance(10, ["a boat"]), instance(11, ["a car"]), instance(12, ["x"], mode=2)], painter())
    assert pairs_in_graph(graph) == [("a boat", "fog"), ("a car", "fog")]


def test_links_lead_into_a_subgraph_and_out_of_it() -> None:
    writer = {
        "id": "writer", "nodes": [encoder_box(1, "x", 1)], "inputs": [{"name": "words"}],
        "links": [wire(1, -10, 0, 1, 0), wire(2, 1, 0, -20, 0), wire(3, -10, 0, -20, 1)],
    }  # fmt: skip
    nodes = [
        box(1, "PrimitiveStringMultiline", ["a boat"]),
        instance(2, ["stale"], "writer", words=1),  # a link comes before the widget's value
        instance(3, ["fog"], "writer"),
        box(4, "KSampler", [1], positive=2, negative=3),
        box(5, "KSampler", [1], positive=4, negative=3),
        encoder_box(6, "x", 5),
    ]
    links = [[1, 1, 0, 2, 0], [2, 2, 0, 4, 0], [3, 3, 0, 4, 1], [4, 6, 0, 5, 0], [5, 2, 1, 6, 0]]
    assert pairs_in_graph(with_subgraphs(nodes, writer, links=links)) == PAIR


def test_a_bypassed_instance_hands_on_what_comes_in() -> None:
    nodes = [
        box(1, "CLIPTextEncode", ["a boat"]),
        box(2, "CLIPTextEncode", ["fog"]),
        instance(3, ["x"], mode=4, conditioning=1),
        box(4, "KSampler", [1], positive=2, negative=3),
    ]
    links = [[1, 1, 0, 3, 0], [2, 3, 0, 4, 0], [3, 2, 0, 4, 1]]
    assert pairs_in_graph(with_subgraphs(nodes, painter(), links=links)) == PAIR


def test_a_subgraph_within_a_subgraph() -> None:
    inside = instance(1, ["an old car"])
    inside["inputs"] = [{"name": "text", "type": "STRING", "link": 1, "widget": {"name": "text"}}]
    outer = {"id": "outer", "nodes": [inside], "links": [wire(1, -10, 0, 1, 0)], "inputs": [{"name": "words"}]}
    assert pairs_in_graph(with_subgraphs([instance(10, ["a boat"], "outer")], outer, painter())) == PAIR


def test_set_and_get_nodes_are_joined_within_their_own_subgraph() -> None:
    nodes = [
        encoder_box(6, "x", 5),
        box(7, "CLIPTextEncode", ["fog"]),
        box(8, "SetNode", ["prompt"], CONDITIONING=1),
        box(9, "GetNode", ["prompt"]),
        box(3, "KSampler", [1], positive=2, negative=3),
    ]
    links = [wire(5, -10, 0, 6, 0), wire(1, 6, 0, 8, 0), wire(2, 9, 0, 3, 0), wire(3, 7, 0, 3, 1)]
    subgraph = painter(nodes=nodes, links=links, inputs=[{"name": "text"}])
    graph = with_subgraphs([instance(10, ["a boat"]), instance(11, ["a car"])], subgraph)
    assert pairs_in_graph(graph) == [("a boat", "fog"), ("a car", "fog")]


def test_subgraphs_without_end_end_soon() -> None:
    itself = painter(nodes=[*painter()["nodes"], instance(9, ["a boat"])])
    assert pairs_in_graph(with_subgraphs([instance(10, ["a boat"])], itself)) == PAIR
    nested = [
        {"id": f"s{depth}", "nodes": [instance(i, [], f"s{depth + 1}") for i in range(30)]} for depth in range(19)
    ]  # 30^19 in all
    start = time.process_time()
    assert pairs_in_graph(with_subgraphs([instance(10, [], "s0")], *nested)) == []
    assert time.process_time() - start < 5


def test_subgraphs_of_nonsense_never_raise() -> None:
    odd: list[Any] = [
        None, 5, {"id": 4}, {"id": "a", "nodes": 3, "links": {}, "inputs": [None, {"name": 5}]},
        {"id": "b", "nodes": [instance(1, [], "a")], "links": [wire(1, -10, 9, -20, -1), [1, -10, 0, -20, "x"]]},
    ]  # fmt: skip
    nodes = [instance(1, [], "a"), instance(2, [], "b") | {"properties": {"proxyWidgets": [5, ["x"]]}}]
    nodes.append(instance(3, [1, 2], "b") | {"properties": {"proxyWidgets": [5, [["y"], None, 3]]}})
    assert pairs_in_graph(with_subgraphs(nodes, *odd)) == []
    assert pairs_in_graph(drawn(nodes, []) | {"definitions": {"subgraphs": 5}}) == []
    assert pairs_in_graph(drawn(nodes, []) | {"definitions": [1]}) == []


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
