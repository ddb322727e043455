"""ComfyUI graphs: from each sampler back along its positive and negative links to the text.

A graph is read in two forms: the `prompt` one (API format: what was run) and the `workflow` one (what the
page drew). Both become `Node`s; the walk knows only those. Nodes are told by the names of their inputs
rather than by a list of classes, so that most packs are understood without being known: an input named
`negative` leads to the negative side in a loader, a pipe, a context or a ControlNet alike. Only nodes whose
inputs mean something else are named here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

POSITIVE, NEGATIVE = "positive", "negative"
_DEEPEST = 150  # links from a sampler to a text; a workflow has some tens, and each is four calls deep
_MOST_VISITS = 20_000  # nodes visited for one text, so that no knot of links takes for ever
_DEEPEST_SUBGRAPH = 20  # subgraphs within subgraphs; one that holds itself never ends
_MOST_DRAWN = 100_000  # nodes, links and sockets in all subgraphs that are opened: ten in ten in ten are soon so many


@dataclass(frozen=True)
class Link:
    """Where an input comes from: a node's id and the number of its output."""

    node: str
    slot: int


@dataclass
class Node:
    """A node: its class, its inputs by name (a `Link` or a value), and for the drawn form its state.

    One that is bypassed does nothing itself: its inputs go by the numbers of the outputs that they are handed to.
    """

    kind: str
    inputs: dict[str, Any] = field(default_factory=dict)
    bypassed: bool = False


Graph = dict[str, Node]


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
    graph = _read_drawn(document) if isinstance(document.get("nodes"), list) else _read_api(document)
    pairs: dict[tuple[str, str], None] = {}
    for node in _samplers(graph):
        prompt, negative = (_Walk(graph, side).text_into(node) for side in (POSITIVE, NEGATIVE))
        if prompt and negative and prompt != negative:
            pairs[prompt, negative] = None
    return list(pairs)


# --- The two forms


def _read_api(document: Mapping[str, Any]) -> Graph:
    inner = document.get("prompt")
    nodes = inner if isinstance(inner, Mapping) else document
    graph: Graph = {}
    for name, node in nodes.items():
        if not isinstance(node, Mapping) or not isinstance(node.get("class_type"), str):
            continue
        inputs = node.get("inputs")
        values = inputs.items() if isinstance(inputs, Mapping) else ()
        graph[str(name)] = Node(node["class_type"], {str(key): _value(value) for key, value in values})
    return graph


def _value(value: Any) -> Any:
    """A link in the API form is [node id, output number]; other lists are values."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int)) and _is_number(value[1]):
        return Link(str(value[0]), value[1])
    if isinstance(value, Mapping) and "__value__" in value:  # how a list is told from a link
        return value["__value__"]
    return value


# The order of the text widgets of common nodes, for files from before the page wrote their names down.
_WIDGETS = {
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeSDXL": (
        "width", "height", "crop_w", "crop_h", "target_width", "target_height", "text_g", "text_l",
    ),
    "CLIPTextEncodeSDXLRefiner": ("ascore", "width", "height", "text"),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CLIPTextEncodeSD3": ("clip_l", "clip_g", "t5xxl", "empty_padding"),
    "Efficient Loader": (
        "ckpt_name", "vae_name", "clip_skip", "lora_name", "lora_model_strength", "lora_clip_strength",
        "positive", "negative",
    ),
    "Eff. Loader SDXL": (
        "base_ckpt_name", "base_clip_skip", "refiner_ckpt_name", "refiner_clip_skip", "positive_ascore",
        "negative_ascore", "vae_name", "positive", "negative",
    ),
    "StringConcatenate": ("string_a", "string_b", "delimiter"),
    "StringReplace": ("string", "find", "replace"),
    "StringFunction|pysssss": ("action", "tidy_tags", "text_a", "text_b", "text_c"),
    "ImpactWildcardProcessor": ("wildcard_text", "populated_text"),
    "ImpactWildcardEncode": ("wildcard_text", "populated_text"),
    "SDXLPromptStyler": ("text_positive", "text_negative", "style"),
    "ShowText|pysssss": (),
    "easy positive": ("positive",),
    "easy negative": ("negative",),
}  # fmt: skip


def _is_number(value: Any) -> bool:
    """Whether a value can number an output: a whole number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


_DRAWN_GROUP = re.compile(r"workflow[/>]|[0-9a-f]{8}-[0-9a-f]{4}-")
_INSIDE, _OUTSIDE = "-10", "-20"  # the ids that stand in a subgraph for its inputs and for its outputs


def _read_drawn(drawing: Mapping[str, Any]) -> Graph:
    definitions = drawing.get("definitions")
    subgraphs = _mappings(definitions.get("subgraphs")) if isinstance(definitions, Mapping) else []
    reader = _Drawings({graph["id"]: graph for graph in subgraphs if isinstance(graph.get("id"), str)})
    reader.add(drawing)
    return reader.graph


class _Drawings:
    """Reads a drawn workflow and the subgraphs in it into one graph.

    A node whose type is a subgraph's id is an instance of it. The nodes inside are named `INSTANCE:NODE`, and the
    instance becomes a bypassed node, which hands its outputs what the nodes inside give.
    """

    def __init__(self, subgraphs: Mapping[str, Mapping[str, Any]]) -> None:
        self.graph: Graph = {}
        self._subgraphs = subgraphs
        self._sizes = {name: _size(subgraph) for name, subgraph in subgraphs.items()}
        self._drawn = 0

    def add(
        self,
        drawing: Mapping[str, Any],
        prefix: str = "",
        arriving: Mapping[int, Any] | None = None,
        stated: Mapping[str, Mapping[str, Any]] | None = None,
        depth: int = 0,
    ) -> dict[str, Any]:
        """Adds the nodes of one drawing, and returns what arrives at a subgraph's outputs, by their numbers.

        `arriving` is what the graph around it hands to each input; `stated` are values that the instance states for
        nodes in it, by the node's id and the input's name.
        """
        links: dict[str, Any] = {}
        outputs: dict[str, Any] = {}
        for number, origin, target, place in _drawn_links(drawing):
            within = origin.node != _INSIDE
            source = Link(prefix + origin.node, origin.slot) if within else (arriving or {}).get(origin.slot)
            links[number] = source
            if target == _OUTSIDE:
                outputs[place] = source
        level: Graph = {}
        for raw in _mappings(drawing.get("nodes")):
            if not isinstance(raw.get("type"), str) or raw.get("mode") == 2:
                continue  # mode 2: muted, it does not run
            sockets = _sockets(raw)
            inputs = {} if raw["type"] in self._subgraphs else _widget_values(raw, sockets)
            inputs.update((stated or {}).get(str(raw.get("id")), {}))
            for socket in sockets:
                source = links.get(str(socket.get("link")))
                if source is not None:
                    inputs[socket["name"]] = source
            node = Node(raw["type"], inputs, bypassed=raw.get("mode") == 4)
            name = prefix + str(raw.get("id"))
            if node.bypassed:
                _keep_passages(node, raw, sockets)
            elif raw["type"] in self._subgraphs:
                node = Node(raw["type"], self._open(raw, inputs, name, depth), bypassed=True)
            level[name] = node
        _join_set_and_get(level)
        self.graph |= level
        return outputs

    def _open(self, raw: Mapping[str, Any], inputs: Mapping[str, Any], name: str, depth: int) -> dict[str, Any]:
        """Adds the subgraph of the instance `raw`, whose inputs have these links and values; returns its outputs."""
        subgraph = self._subgraphs[raw["type"]]
        self._drawn += self._sizes[raw["type"]]
        if depth >= _DEEPEST_SUBGRAPH or self._drawn > _MOST_DRAWN:
            return {}
        values, stated = _promoted(raw, subgraph)
        values |= inputs  # a link from outside comes before the value typed in
        names = [entry.get("name") for entry in _mappings(subgraph.get("inputs"))]
        arriving = {slot: values.get(entry) for slot, entry in enumerate(names) if isinstance(entry, str)}
        return self.add(subgraph, f"{name}:", arriving, stated, depth + 1)


def _size(subgraph: Mapping[str, Any]) -> int:
    """How many things in it take time to read."""
    size = 1 + len(_list(subgraph.get("links"))) + len(_list(subgraph.get("inputs")))
    for node in _mappings(subgraph.get("nodes")):
        size += 1 + sum(len(_list(node.get(part))) for part in ("inputs", "outputs", "widgets_values"))
    return size


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in _list(value) if isinstance(entry, Mapping)]


def _sockets(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [socket for socket in _mappings(raw.get("inputs")) if isinstance(socket.get("name"), str)]


def _drawn_links(drawing: Mapping[str, Any]) -> Iterator[tuple[str, Link, str, str]]:
    """(number, origin, id of the target, number of its input) of each link."""
    for link in _list(drawing.get("links")):
        if isinstance(link, list) and len(link) >= 5 and _is_number(link[2]):
            yield str(link[0]), Link(str(link[1]), link[2]), str(link[3]), str(link[4])
        elif isinstance(link, Mapping) and _is_number(link.get("origin_slot")):
            origin = Link(str(link.get("origin_id")), link["origin_slot"])
            yield str(link.get("id")), origin, str(link.get("target_id")), str(link.get("target_slot"))


def _promoted(raw: Mapping[str, Any], subgraph: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The values typed in at an instance: by the subgraph's inputs, and for nodes in it by their id and input.

    They stand in the order of `proxyWidgets`, which names (node, input) with -1 for the subgraph itself, or without
    that in the order of those inputs of the subgraph that lead to a widget, as ComfyUI's page reads them.
    """
    typed = _list(raw.get("widgets_values"))
    properties = raw.get("properties")
    proxies = _list(properties.get("proxyWidgets")) if isinstance(properties, Mapping) else []
    own: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    if not proxies:
        return dict(zip(_inputs_with_widgets(subgraph), typed, strict=False)), inner
    if len(proxies) != len(typed):
        return own, inner  # files that keep the values only at the nodes inside
    for proxy, value in zip(proxies, typed, strict=True):
        if not isinstance(proxy, list) or len(proxy) < 2:
            continue
        target, name = str(proxy[0]), str(proxy[1])
        (own if target == "-1" else inner.setdefault(target, {}))[name] = value
    return own, inner


def _inputs_with_widgets(subgraph: Mapping[str, Any]) -> list[str]:
    """The names of the subgraph's inputs that lead to a widget inside, in their order."""
    widgets = {
        str(socket.get("link"))
        for raw in _mappings(subgraph.get("nodes"))
        for socket in _sockets(raw)
        if isinstance(socket.get("widget"), Mapping)
    }
    slots = {
        origin.slot for number, origin, _, _ in _drawn_links(subgraph) if origin.node == _INSIDE and number in widgets
    }
    return [str(entry.get("name")) for slot, entry in enumerate(_mappings(subgraph.get("inputs"))) if slot in slots]


def _widget_values(raw: Mapping[str, Any], sockets: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The typed-in values by name: as the file names them, by the known order, or by a name for any text."""
    values = raw.get("widgets_values")
    if _DRAWN_GROUP.match(raw["type"]):  # its nodes are drawn elsewhere, and its widgets are all of theirs
        return {}
    if isinstance(values, Mapping):
        return {str(name): value for name, value in values.items()}
    if not isinstance(values, list):
        return {}
    named = [s["name"] for s in sockets if isinstance(s.get("widget"), Mapping)]
    names = _WIDGETS.get(raw["type"])
    if names is None and len(named) == len(values):
        names = tuple(named)
    if names is not None:
        return dict(zip(names, values, strict=False))
    texts = [value for value in values if isinstance(value, str)]
    if raw["type"] in ("SetNode", "GetNode", "easy setNode", "easy getNode"):
        return {"key": texts[0]} if texts else {}
    if len(texts) > 1:  # menus and switches are single words; prompts rarely are
        texts = [text for text in texts if re.search(r"[\s,]", text.strip())] or [max(texts, key=len)]
    return {f"text_{number}": text for number, text in enumerate(texts, 1)}


def _keep_passages(node: Node, raw: Mapping[str, Any], sockets: list[Mapping[str, Any]]) -> None:
    """A bypassed node hands each output the first input of the same type: keep those, by output."""
    passages: dict[str, Any] = {}
    for slot, output in enumerate(_list(raw.get("outputs"))):
        kind = output.get("type") if isinstance(output, Mapping) else None
        same = [s["name"] for s in sockets if s.get("type") == kind and isinstance(node.inputs.get(s["name"]), Link)]
        nth = sum(o.get("type") == kind for o in _list(raw.get("outputs"))[:slot] if isinstance(o, Mapping))
        if same:
            passages[str(slot)] = node.inputs[same[min(nth, len(same) - 1)]]
    node.inputs = passages


def _join_set_and_get(graph: Graph) -> None:
    """Set and Get nodes (KJNodes, easy-use) are links without a line: draw the line."""
    sources = {
        str(node.inputs.get("key")): link
        for node in graph.values()
        if node.kind in ("SetNode", "easy setNode")
        for link in node.inputs.values()
        if isinstance(link, Link)
    }
    for node in graph.values():
        if node.kind in ("GetNode", "easy getNode"):
            link = sources.get(str(node.inputs.get("key")))
            node.inputs = {"": link} if link is not None else {}


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
    r"llm|gpt|ollama|florence|blip|caption|interrogat|tagger|qwen.?(?:2|vl)|llava|gemini|claude|deepseek|moondream"
    r"|chat|translat|negopt|promptgen|enhance",
    re.IGNORECASE,
)
_NO_WORDS = ("", "true", "false")  # switches that packs write as text
_NO_TEXT = re.compile(r"zero.?out", re.IGNORECASE)
_TEXT_NAME = re.compile(
    r"(?:text|string|str|prompt|value|part|input|any|item|tag|line)s?"
    r"(?:[_ -]?(?:[a-z]|\d{1,3}|field|input|value))?"
    r"|(?:opt_)?(?:prefix|suffix|prepend|append|pre_text|post_text)(?:_text)?|populated_text|wildcard_text"
    r"|clip_[lg]|t5xxl|prompt_[lg]|text_[lg]|multiline_text|custom_text|positive_prompt|negative_prompt|",
    re.IGNORECASE,
)
_CONDITIONING_NAME = re.compile(r"cond(?:itioning)?s?(?:_?(?:\d+|to|from|base|[a-z]))?|guider", re.IGNORECASE)
_POSITIVE_NAME = re.compile(r"(?:\w+_)?positive(?:_\w+)?|pos(?:_\w+)?|cond1|conditioning_positive", re.IGNORECASE)
_NEGATIVE_NAME = re.compile(r"(?:\w+_)?negative(?:_\w+)?|neg(?:_\w+)?", re.IGNORECASE)
_SIDE_NO_TEXT = re.compile(r"ascore|strength|weight|interpretation|normaliz|guidance|mode|type|seed", re.IGNORECASE)
_SEPARATOR = ("delimiter", "separator", "seperator", "join_with", "delimeter")
_SELECTORS = ("select", "selected", "index", "input_index", "Input", "selected_index")
# Nodes with several texts, one an output.
_TEXT_BY_SLOT = {"Text String": ("text", "text_b", "text_c", "text_d")}
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
        let_through = _let_through(node)
        if let_through is not None:
            found = (self._follow(inputs.get(name), side) for name in let_through)
            return next((texts for texts in found if texts), [])
        if _is_replacement(node):
            return self._replaced(node, side)
        sided = self._from_side(node, side)
        return sided if sided or _is_sided(node) else self._from_plain(node, side)

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

    def _replaced(self, node: Node, side: str) -> list[str]:
        """A node that writes one text in place of another."""
        names = ("text_a", "text_b", "text_c") if "text_a" in node.inputs else ("string", "find", "replace")
        if "text" in node.inputs and "string" not in node.inputs and "text_a" not in node.inputs:
            names = ("text", "find", "replace")
        text, find, replacement = (" ".join(self._follow(node.inputs.get(n), side)) for n in names)
        return [text.replace(find, replacement) if find else text] if text else []


def _let_through(node: Node) -> list[str] | None:
    """The inputs that a switch may let through, best first; None where the node is no switch.

    A number chooses the input that ends in it; a switch without a number takes the first that is connected.
    """
    if "switch" not in node.kind.lower():
        return None
    numbered = {int(digits[1]): name for name in node.inputs if (digits := re.search(r"(\d+)$", name))}
    if not numbered:
        return None
    number = next((node.inputs[n] for n in _SELECTORS if isinstance(node.inputs.get(n), int)), None)
    if number is None:
        return [numbered[place] for place in sorted(numbered)]
    return [numbered[number]] if number in numbered else []


def _is_replacement(node: Node) -> bool:
    if node.kind == "StringFunction|pysssss":
        return node.inputs.get("action") == "replace"
    return "find" in node.inputs and "replace" in node.inputs


def _is_sided(node: Node) -> bool:
    """Whether the node has both sides, so that an empty one means no text rather than the other one's."""
    return any(_NEGATIVE_NAME.fullmatch(n) for n in node.inputs) and any(
        _POSITIVE_NAME.fullmatch(n) for n in node.inputs
    )


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
