"""ComfyUI workflows as the page drew them, subgraphs included, read into one graph."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .comfyui_nodes import Graph, Link, Node, is_number

_DEEPEST_SUBGRAPH = 20  # subgraphs within subgraphs; one that holds itself never ends
_MOST_DRAWN = 100_000  # nodes, links and sockets in all subgraphs that are opened: ten in ten in ten are soon so many
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
    "ComfySwitchNode": ("switch",),
    "CustomCombo": ("choice",),
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


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


_DRAWN_GROUP = re.compile(r"workflow[/>]|[0-9a-f]{8}-[0-9a-f]{4}-")
_INSIDE, _OUTSIDE = "-10", "-20"  # the ids that stand in a subgraph for its inputs and for its outputs


def read_drawn(drawing: Mapping[str, Any]) -> Graph:
    """The graph of a `workflow`."""
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
        if isinstance(link, list) and len(link) >= 5 and is_number(link[2]):
            yield str(link[0]), Link(str(link[1]), link[2]), str(link[3]), str(link[4])
        elif isinstance(link, Mapping) and is_number(link.get("origin_slot")):
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
