"""ComfyUI graphs: from each sampler back along its positive and negative links to the text.

A graph is read in two forms: the `prompt` one (API format: what was run) and the `workflow` one (what the
page drew, see `comfyui_drawing`). Both become `Node`s; the walk knows only those. Nodes are told by the
names of their inputs rather than by a list of classes, so that most packs are understood without being
known: an input named `negative` leads to the negative side in a loader, a pipe, a context or a ControlNet
alike. Only nodes whose inputs mean something else are named here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .comfyui_drawing import read_drawn
from .comfyui_nodes import Graph, Link, Node, read_api

POSITIVE, NEGATIVE = "positive", "negative"
_DEEPEST = 150  # links from a sampler to a text; a workflow has some tens, and each is four calls deep
_MOST_VISITS = 20_000  # nodes visited for one text, so that no knot of links takes for ever
_LONGEST_TEXT = 100_000  # characters that a node may make of texts: each of a chain could double them


def is_graph(document: Any) -> bool:
    """Whether a JSON value is a ComfyUI graph in one of its two forms."""
    if not isinstance(document, Mapping):
        return False
    if isinstance(document.get("nodes"), list):
        return any(isinstance(node, Mapping) and "type" in node for node in document["nodes"])
    inner = document.get("prompt")
    nodes = inner if isinstance(inner, Mapping) else document
    return any(isinstance(node, Mapping) and "class_type" in node for node in nodes.values())


def pairs_in_graph(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(prompt, negative) of each sampler in the graph, each different pair once, in the graph's order.

    A sampler whose positive or negative side leads to no text, or both to the same, gives no pair. Never
    raises: links to nodes that are not there lead nowhere, and circles are left where they close.
    """
    graph = read_drawn(document) if isinstance(document.get("nodes"), list) else read_api(document)
    pairs: dict[tuple[str, str], None] = {}
    for node in _samplers(graph):
        prompt, negative = (_Walk(graph, side).text_into(node) for side in (POSITIVE, NEGATIVE))
        if prompt and negative and prompt != negative:
            pairs[prompt, negative] = None
    return list(pairs)


# --- Where the walk begins

_SAMPLER = re.compile(r"sampler|guider|upscale.*(?:ultimate|sd)|ultimate.*upscale", re.IGNORECASE)
_NO_SAMPLER = re.compile(r"KSamplerSelect|SamplerSelect|scheduler|provider|settings|parameters|info", re.IGNORECASE)
_PIPE = re.compile(r"(?:.*_)?pipe(?:_?\d+)?|(?:base_|sdxl_)?(?:ctx|context)(?:_?\d+)?|sdxl_tuple", re.IGNORECASE)


def _samplers(graph: Graph) -> list[Node]:
    """Nodes that sample with a positive and a negative side; without any, whatever else has both sides."""
    samplers = [node for node in graph.values() if _SAMPLER.search(node.kind) and not _NO_SAMPLER.search(node.kind)]
    samplers = [node for node in samplers if not node.bypassed and _has_sides(node)]
    if samplers:
        return samplers
    fed = {value.node for node in graph.values() for value in node.inputs.values() if isinstance(value, Link)}
    return [
        node for name, node in graph.items()
        if not node.bypassed and {POSITIVE, NEGATIVE} <= node.inputs.keys() and name not in fed
    ]  # fmt: skip


def _has_sides(node: Node) -> bool:
    if any(isinstance(node.inputs.get(side), Link) for side in (POSITIVE, NEGATIVE)):
        return True
    return any(_PIPE.fullmatch(name) and isinstance(value, Link) for name, value in node.inputs.items())


# --- The walk

# Nodes that make text out of a picture or out of instructions: what goes in is not the prompt.
_MAKES_TEXT = re.compile(
    r"llm|gpt|llama|groq|florence|blip|caption|interrogat|tagger|qwen.?(?:2|vl)|llava|gemini|claude|deepseek|moondream"
    r"|chat|translat|negopt|promptgen|enhance|textgenerate"
    # of ComfyUI's own string nodes those whose output cannot be told without running somebody's pattern
    r"|^regex(?:extract|replace)$|^stringsubstring$|^jsonextractstring$",
    re.IGNORECASE,
)
_NO_WORDS = ("", "true", "false")  # switches that packs write as text
_NO_TEXT = re.compile(r"zero.?out", re.IGNORECASE)
_TEXT_NAME = re.compile(
    r"(?:text|string|str|prompt|value|part|input|any|item|tag|line)s?"
    r"(?:[_ -]?(?:[a-z]|\d{1,3}|field|input|value))?"
    r"|(?:opt_)?(?:prefix|suffix|prepend|append|pre_text|post_text)(?:_text)?|populated_text|wildcard_text"
    r"|clip_[lg]|t5xxl|llama|bert|mt5xl|user_prompt|prompt_[lg]|text_[lg]|multiline_text|custom_text|positive_prompt|negative_prompt|",
    re.IGNORECASE,
)
_CONDITIONING_NAME = re.compile(r"cond(?:itioning)?s?(?:_?(?:\d+|to|from|base|[a-z]))?|guider", re.IGNORECASE)
_POSITIVE_NAME = re.compile(r"(?:\w+_)?positive(?:_\w+)?|pos(?:_\w+)?|cond1|conditioning_positive", re.IGNORECASE)
_NEGATIVE_NAME = re.compile(r"(?:\w+_)?negative(?:_\w+)?|neg(?:_\w+)?", re.IGNORECASE)
_SIDE_NO_TEXT = re.compile(r"ascore|strength|weight|interpretation|normaliz|guidance|mode|type|seed", re.IGNORECASE)
_SEPARATOR = ("delimiter", "separator", "seperator", "join_with", "delimeter")
_SELECTORS = ("select", "selected", "index", "input_index", "Input", "input", "selected_index")
# Switches of two inputs: what each lets through where its condition holds, and where not.
_TWO_WAYS = (
    ("on_true", "on_false"),  # ComfyUI's own ComfySwitchNode, and so KJNodes and easy-use
    ("tt_value", "ff_value"),  # Impact Pack
    ("text_a", "text_b"),  # WAS Node Suite: these two
    ("conditioning_a", "conditioning_b"),
)
_CONDITIONS = ("switch", "boolean", "cond")
# Nodes with several texts, one an output.
_TEXT_BY_SLOT = {"Text String": ("text", "text_b", "text_c", "text_d"), "CustomCombo": ("choice",)}
_FIELDS = re.compile(r"\{([a-z])\}")
_SIDE_BY_SLOT = {
    "ControlNetApplyAdvanced": (POSITIVE, NEGATIVE),
    "ControlNetApplySD3": (POSITIVE, NEGATIVE),
    "ACN_AdvancedControlNetApply": (POSITIVE, NEGATIVE),
    "InpaintModelConditioning": (POSITIVE, NEGATIVE),
    "SDXLPromptStyler": (POSITIVE, NEGATIVE),
    "SDXLPromptStylerAdvanced": (POSITIVE,) * 3 + (NEGATIVE,) * 3,  # for each side its g, its l, and both
    "easy stylesSelector": (POSITIVE, NEGATIVE),
    "Efficient Loader": (None, POSITIVE, NEGATIVE),
}


class _Walk:
    """One walk up the graph along one side. Collects texts; each node and output is entered once."""

    def __init__(self, graph: Graph, side: str) -> None:
        self._graph = graph
        self._side = side
        self._open: set[tuple[str, int, str]] = set()
        self._visits = 0

    def text_into(self, sampler: Node) -> str:
        """The text that reaches `sampler` from this side, or an empty one."""
        return _joined(self._from_side(sampler, self._side), ", ")

    def _follow(self, value: Any, side: str) -> list[str]:
        """The texts of an input: its own value, or what its link leads to."""
        if isinstance(value, str):
            return [value] if value.strip().lower() not in _NO_WORDS else []
        if not isinstance(value, Link):
            return []
        node = self._graph.get(value.node)
        step = (value.node, value.slot, side)
        self._visits += 1
        if node is None or step in self._open or len(self._open) > _DEEPEST or self._visits > _MOST_VISITS:
            return []
        self._open.add(step)
        try:
            return self._from_node(node, value.slot, side)
        finally:
            self._open.remove(step)

    def _from_node(self, node: Node, slot: int, side: str) -> list[str]:
        inputs = node.inputs
        if node.bypassed:
            return self._follow(inputs.get(str(slot)), side)
        if _NO_TEXT.search(node.kind) or _MAKES_TEXT.search(node.kind):
            return []
        by_slot = _TEXT_BY_SLOT.get(node.kind)
        if by_slot is not None:
            return self._follow(inputs.get(by_slot[slot]), side) if slot < len(by_slot) else []
        sides = _SIDE_BY_SLOT.get(node.kind, ())
        if slot < len(sides):
            side = sides[slot] or side
        let_through = self._let_through(node)
        if let_through is not None:
            found = (self._follow(inputs.get(name), side) for name in let_through)
            return next((texts for texts in found if texts), [])
        if _is_replacement(node):
            return self._replaced(node, side)
        if node.kind == "StringFormat":
            return self._formatted(node, side)
        sided = self._from_side(node, side)
        return sided if sided or _is_sided(node, side) else self._from_plain(node, side)

    def _from_side(self, node: Node, side: str) -> list[str]:
        """Along inputs that are named for a side, else through the node's pipe."""
        pattern = _POSITIVE_NAME if side == POSITIVE else _NEGATIVE_NAME
        names = [n for n in node.inputs if pattern.fullmatch(n) and not _SIDE_NO_TEXT.search(n)]
        exact = [n for n in names if n.lower() in (side, f"text_{side}", f"{side}_prompt")]
        texts = [text for name in exact or names for text in self._follow(node.inputs[name], side)]
        if texts:
            return list(dict.fromkeys(texts))
        for name, value in node.inputs.items():
            if _PIPE.fullmatch(name) and isinstance(value, Link):
                texts = self._follow(value, side)
                if texts:
                    return texts
        guider = node.inputs.get("guider")
        return self._follow(guider, side) if isinstance(guider, Link) else []

    def _from_plain(self, node: Node, side: str) -> list[str]:
        """Along inputs that hold conditioning or text, joined with the node's own separator."""
        inputs = node.inputs
        if node.kind.startswith("ShowText"):  # what is typed into it is what the run before showed
            inputs = {name: value for name, value in inputs.items() if isinstance(value, Link)}
        names = [n for n in inputs if _CONDITIONING_NAME.fullmatch(n) and isinstance(inputs[n], Link)]
        names = names or [n for n in inputs if _TEXT_NAME.fullmatch(n)]
        other = _NEGATIVE_NAME if side == POSITIVE else _POSITIVE_NAME
        names = [n for n in names if not other.fullmatch(n)] or names
        if any(n in inputs and self._follow(inputs[n], side) for n in ("populated_text",)):
            names = ["populated_text"]
        if not names:
            # one way in, whatever its name: reroutes, and boxes such as "easy positive" on the negative side
            names = list(inputs) if len(inputs) == 1 else []
        parts = [text for name in _in_order(names) for text in self._follow(inputs[name], side)]
        separator = next((str(inputs[n]) for n in _SEPARATOR if isinstance(inputs.get(n), str)), None)
        if separator is not None and len(parts) > 1:
            return [separator.replace("\\n", "\n").join(parts)]  # spaces at the ends may be all that parts them
        return list(dict.fromkeys(parts))

    def _let_through(self, node: Node) -> list[str] | None:
        """The inputs that a switch may let through, best first; None where the node is no switch.

        A number chooses the input that ends in it; a switch without a number takes the first that is connected. What
        a condition or a number is that only a run can tell, nobody knows: then it is none of them.
        """
        inputs = node.inputs
        if node.kind == "ComfyPassOrNoneNode":
            return ["anything" if "anything" in inputs else "default"]
        is_switch = "switch" in node.kind.lower()
        condition = next((inputs[name] for name in _CONDITIONS if name in inputs), None)
        for number, ways in enumerate(_TWO_WAYS):
            if condition is not None and any(way in inputs for way in ways) and (is_switch or number < 2):
                holds = self._number(condition)
                return [] if holds is None else [ways[0] if holds else ways[1]]
        if not is_switch:
            return None
        numbered = {int(digits[1]): name for name in inputs if (digits := re.search(r"(\d{1,9})$", name))}
        if not numbered:
            return None
        chosen = [inputs[name] for name in _SELECTORS if name in inputs]
        if not chosen:
            return [numbered[place] for place in sorted(numbered)]
        number = next((number for number in map(self._number, chosen) if number is not None), -1)
        return [numbered[number]] if number in numbered else []

    def _number(self, value: Any, depth: int = 0) -> int | None:
        """A number or truth value, or where a link leads to one; None where only a run could tell."""
        if isinstance(value, int):
            return int(value)
        node = self._graph.get(value.node) if isinstance(value, Link) else None
        self._visits += 1
        if node is None or depth > 20 or self._visits > _MOST_VISITS:
            return None
        if node.bypassed:
            return self._number(node.inputs.get(str(value.slot)), depth + 1)
        if node.kind in ("ComfyNotNode", "ComfyAndNode", "ComfyOrNode"):
            parts = [self._number(part, depth + 1) for part in list(node.inputs.values())[:8]]
            if not parts or None in parts:
                return None
            return int(not parts[0] if node.kind == "ComfyNotNode" else (all if "And" in node.kind else any)(parts))
        if node.kind == "CustomCombo":
            return self._number(node.inputs.get("index"), depth + 1) if value.slot else None
        names = list(node.inputs) if len(node.inputs) == 1 else ["value"]
        return self._number(node.inputs.get(names[0]), depth + 1)

    def _formatted(self, node: Node, side: str) -> list[str]:
        """ComfyUI's StringFormat: Python's format, of which names alone in their brackets are understood."""
        pattern = " ".join(self._follow(node.inputs.get("f_string"), side))
        names = _FIELDS.findall(pattern)
        values = {name: " ".join(self._follow(node.inputs.get(f"values.{name}"), side)) for name in set(names)}
        length = len(pattern) + sum(len(values[name]) for name in names)
        if not all(values.values()) or length > _LONGEST_TEXT or re.search(r"[{}]", _FIELDS.sub("", pattern)):
            return []
        return [_FIELDS.sub(lambda match: values[match[1]], pattern)]

    def _replaced(self, node: Node, side: str) -> list[str]:
        """A node that writes one text in place of another."""
        names = ("text_a", "text_b", "text_c") if "text_a" in node.inputs else ("string", "find", "replace")
        if "text" in node.inputs and "string" not in node.inputs and "text_a" not in node.inputs:
            names = ("text", "find", "replace")
        text, find, replacement = (" ".join(self._follow(node.inputs.get(n), side)) for n in names)
        if find and len(text) + text.count(find) * len(replacement) > _LONGEST_TEXT:
            return []
        return [text.replace(find, replacement) if find else text] if text else []


def _is_replacement(node: Node) -> bool:
    if node.kind == "StringFunction|pysssss":
        return node.inputs.get("action") == "replace"
    return "find" in node.inputs and "replace" in node.inputs


def _is_sided(node: Node, side: str) -> bool:
    """Whether the node keeps the sides apart, so that an empty one means no text rather than the other one's.

    One with a prompt and a `negative_prompt` does, for the negative side: the prompt is the positive one.
    """
    negative = any(_NEGATIVE_NAME.fullmatch(n) and not _SIDE_NO_TEXT.search(n) for n in node.inputs)
    return negative and (side == NEGATIVE or any(_POSITIVE_NAME.fullmatch(n) for n in node.inputs))


def _in_order(names: Iterable[str]) -> list[str]:
    """Prefixes first, suffixes last, the rest as the node lists them."""

    def place(name: str) -> int:
        plain = name.lower().removeprefix("opt_")
        if plain.startswith(("prefix", "prepend", "pre_")):
            return 0
        return 2 if plain.startswith(("suffix", "append", "post_")) else 1

    return sorted(names, key=place)


def _joined(parts: list[str], separator: str) -> str:
    return separator.join(part.strip() for part in parts if part.strip()).strip()
