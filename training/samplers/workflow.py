"""A ComfyUI workflow as a form to fill in: where the prompt, the negative prompt and the seed go.

The workflow is the user's own, in API format. From the node that takes the picture the graph is followed back to
the samplers, and from these along their positive and negative links to the texts. Nodes are told by the types of
their inputs and outputs, which the server knows, rather than by a list of classes, so that most packs are
understood without being known; a switch, which takes anything, is seen through. Where a graph leaves a choice, the
user makes it by writing `{prompt}` or `{negative}` into a text, which keeps the rest of that text.

A NegOpt node in the workflow stands for what is being trained: the text that it would write is the text given.
Knows no network: what a server says of its nodes comes as a value.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from negopt.errors import OptionError

from .sampler import Picture

Graph = dict[str, dict[str, Any]]
"""Nodes by id: "class_type", and "inputs" by name, each a value or a link [id, number of the output]."""

POSITIVE, NEGATIVE = "positive", "negative"
MARKS = {POSITIVE: "{prompt}", NEGATIVE: "{negative}"}
"""What stands in a text for the picture's own."""
TAKER = "negopt_picture"
"""The id of the node that sends the picture."""
SENDS_PICTURE = "SaveImageWebsocket"
_MARK = re.compile("|".join(map(re.escape, MARKS.values())))
_SEEDS = ("seed", "noise_seed")
_ANY = ("*", "COMFY_MATCHTYPE_V3")
"""Types of outputs that put out what comes in, as a switch does."""
_NEITHER = ("empty", "uncond")
"""How the names of conditioning begin that is of no side: no text belongs there."""
_NO_TEXT = ("ConditioningZeroOut",)
"""What comes out of these does not depend on the text that goes in."""
_WRITERS = {
    "NegOpt": (MARKS[POSITIVE], MARKS[NEGATIVE], POSITIVE, NEGATIVE),
    "NegOptAlternatives": (MARKS[POSITIVE], MARKS[NEGATIVE], POSITIVE, NEGATIVE),
    "NegOptMerge": (MARKS[NEGATIVE],),
}
"""NegOpt's nodes, and what stands in for each of their outputs: a text, or a side's text encoded."""


class Slot(NamedTuple):
    """An input of a node."""

    node: str
    name: str


@dataclass(frozen=True)
class NodeClass:
    """What a server says of a node's class."""

    inputs: Mapping[str, tuple[str, Mapping[str, Any]]]
    """Type and options of each input; the type of a menu is COMBO, its option "options" the choices."""
    outputs: tuple[str, ...]
    """Their types."""
    names: tuple[str, ...]
    """The outputs' names."""
    ends: bool
    """Whether it is run for its own sake: it saves or shows something."""

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> NodeClass:
        """From ComfyUI's /object_info."""
        inputs = {}
        for part in ("required", "optional"):
            for name, declared in (said["input"].get(part) or {}).items():
                kind, options = declared[0], declared[1] if len(declared) > 1 else {}
                inputs[name] = ("COMBO", {"options": kind}) if isinstance(kind, list) else (str(kind), options)
        outputs = tuple("COMBO" if isinstance(kind, list) else str(kind) for kind in said["output"])
        return cls(inputs, outputs, tuple(map(str, said["output_name"])), bool(said["output_node"]))


_UNKNOWN = NodeClass({}, (), (), ends=False)


def read_workflow(file: Path) -> Graph:
    """The graph in a file, JSON in API format or a picture that ComfyUI saved; raises `OptionError`."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise OptionError(f"{file}: cannot be read ({error.strerror or error})") from error
    try:
        graph = json.loads(_text_in_picture(file) if data.startswith(b"\x89PNG") else data)
    except (ValueError, OSError) as error:
        raise OptionError(f"{file}: not a workflow in JSON ({error})") from error
    if isinstance(graph, dict) and isinstance(graph.get("nodes"), list):
        raise OptionError(f"{file}: is the workflow as it is drawn; export it with Export (API) in ComfyUI's menu")
    if isinstance(graph, dict) and isinstance(graph.get("prompt"), dict):
        graph = graph["prompt"]
    whole = isinstance(graph, dict) and graph and all(_is_node(node) for node in graph.values())
    if not whole:
        raise OptionError(f"{file}: not a ComfyUI workflow in API format")
    return {str(key): {**node, "inputs": dict(node["inputs"])} for key, node in graph.items()}


def classes_of(graph: Graph) -> set[str]:
    """The classes of the nodes of a workflow, and those that a form may add."""
    return {node["class_type"] for node in graph.values()} - set(_WRITERS) | {"CLIPTextEncode", SENDS_PICTURE}


@dataclass(frozen=True)
class Form:
    """A workflow that makes one picture and sends it, with places for its texts and its seed."""

    graph: Graph
    texts: tuple[Slot, ...]
    """The inputs that hold a mark."""
    seeds: tuple[Slot, ...]

    def fill(self, picture: Picture) -> Graph:
        """The graph for one picture; nodes without a place are shared."""
        graph = dict(self.graph)
        for slot in {*self.texts, *self.seeds}:
            graph[slot.node] = {**graph[slot.node], "inputs": dict(graph[slot.node]["inputs"])}
        given = {MARKS[POSITIVE]: picture.prompt, MARKS[NEGATIVE]: picture.negative_prompt}
        for node, name in self.texts:
            inputs = graph[node]["inputs"]
            inputs[name] = _MARK.sub(lambda mark: given[mark.group()], inputs[name])
        for node, name in self.seeds:
            graph[node]["inputs"][name] = picture.seed
        return graph

    @property
    def description(self) -> dict[str, Any]:
        """What a run's record says of it."""
        width, height = self._first("width"), self._first("height")
        return {
            "checkpoint": self._first("ckpt_name", "unet_name", "model_name"),
            "steps": self._first("steps"),
            "guidance": self._first("cfg", "guidance"),
            "scheduler": " ".join(str(self._first(name) or "") for name in ("sampler_name", "scheduler")).strip(),
            "size": width if width == height else f"{width}x{height}",
        }

    def _first(self, *names: str) -> Any:
        """The first value typed into an input of one of these names, None where there is none."""
        values = (node["inputs"].get(name) for name in names for node in self.graph.values())
        return next((value for value in values if value is not None and not _is_link(value)), None)


def make_form(graph: Graph, classes: Mapping[str, NodeClass], node: str | None = None) -> Form:
    """The form of a workflow; `classes`: what the server knows of `classes_of(graph)`.

    `node`: the sampler whose texts and seed are meant, where it is not each that the picture comes through.
    Raises `OptionError`, above all where no negative prompt reaches a sampler.
    """
    try:
        return _FormMaker(copy.deepcopy(graph), classes).make(node)
    except RecursionError:
        raise OptionError("the workflow's links go round in a circle") from None


class _FormMaker:
    """One graph on its way to become a form."""

    def __init__(self, graph: Graph, classes: Mapping[str, NodeClass]) -> None:
        self.graph, self.classes = graph, classes

    def make(self, node: str | None) -> Form:
        if node is not None and node not in self.graph:
            raise OptionError(f"the workflow has no node {node}")
        for key in [key for key, found in self.graph.items() if found["class_type"] in _WRITERS]:
            self._take_out_writer(key)
        picture = self._picture(node)
        needed = self._behind([picture[0]])
        self.graph = {key: found for key, found in self.graph.items() if key in needed}
        self.graph[TAKER] = {"class_type": SENDS_PICTURE, "inputs": {"images": picture}}
        self._one_picture_at_a_time()
        meant = self._behind([node]) if node is not None else set(self.graph)
        self._mark_texts(self._samplers(node, meant))
        seeds = [Slot(key, name) for key, name, _ in self._inputs() if key in meant and name in _SEEDS]
        if not seeds:
            raise OptionError("the workflow has no seed: no sampler has an input named seed or noise_seed")
        texts = [Slot(key, name) for key, name, value in self._inputs() if _marks_in(value)]
        return Form(self.graph, tuple(texts), tuple(seeds))

    # What the picture needs

    def _take_out_writer(self, key: str) -> None:
        """Put marks in the place of what a NegOpt node puts out."""
        writer = self.graph.pop(key)
        instead = _WRITERS[writer["class_type"]]
        for slot in [Slot(other, name) for other, name, value in self._inputs() if _is_link(value) and value[0] == key]:
            number = self.graph[slot.node]["inputs"][slot.name][1]
            stand_in: Any = instead[number] if number < len(instead) else None
            if stand_in in MARKS:
                stand_in = [self._encoder(key, writer, stand_in), 0]
            self.graph[slot.node]["inputs"][slot.name] = stand_in

    def _encoder(self, key: str, writer: dict[str, Any], side: str) -> str:
        """The id of a node that encodes the text of a side as the NegOpt node `key` would."""
        if "clip" not in writer["inputs"]:
            raise OptionError(f"node {key} ({writer['class_type']}) gives conditioning, but no CLIP is connected to it")
        made = f"{key}_{side}"
        self.graph[made] = {
            "class_type": "CLIPTextEncode",
            "inputs": {"clip": writer["inputs"]["clip"], "text": MARKS[side]},
        }
        return made

    def _picture(self, node: str | None) -> list[Any]:
        """The link that the picture comes through; a picture that is saved goes before one that is shown."""
        found = {}
        for key, name, value in self._inputs():
            shows = self._class(key).ends and self._carries(key, name, "IMAGE")
            if shows and (node is None or node in self._behind([key])):
                found[Slot(key, name)] = value
        saved = {slot: link for slot, link in found.items() if not self._kind(slot.node).startswith("Preview")}
        links = list((saved or found).values())
        if not links:
            raise OptionError("the workflow saves no picture" + (f" that node {node} makes" if node else ""))
        if any(link != links[0] for link in links):
            raise OptionError(f"the workflow saves several pictures ({self._named(saved or found)}); leave one of them")
        return list(links[0])

    def _behind(self, keys: Iterable[str]) -> set[str]:
        """These nodes and all that they need."""
        found: set[str] = set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key not in found and key in self.graph:
                found.add(key)
                waiting += [value[0] for value in self.graph[key]["inputs"].values() if _is_link(value)]
        return found

    def _one_picture_at_a_time(self) -> None:
        for key, name, _ in list(self._inputs()):
            if name == "batch_size":
                self.graph[key]["inputs"][name] = 1

    # Where the texts are

    def _samplers(self, node: str | None, meant: set[str]) -> list[str]:
        """The nodes in which conditioning ends: samplers and guiders; `node` alone, where it is one."""
        found = [key for key in self.graph if key in meant and self._sides(key) and self._ends_conditioning(key)]
        return [node] if node is not None and node in found else found

    def _ends_conditioning(self, key: str) -> bool:
        """Whether a node asks for conditioning, rather than for anything, and makes something else of it."""
        asks = any(self._declares(key, name, "CONDITIONING") for name in self.graph[key]["inputs"])
        passes_on = not {"CONDITIONING", *_ANY}.isdisjoint(self._class(key).outputs)
        return asks and (self._samples(key) or not passes_on)

    def _samples(self, key: str) -> bool:
        """Whether a node is a sampler whatever else it puts out, as those of Efficiency Nodes do."""
        seeded = any(name in _SEEDS for name in self.graph[key]["inputs"])
        return seeded and not {"LATENT", "IMAGE"}.isdisjoint(self._class(key).outputs)

    def _sides(self, key: str) -> dict[str, str]:
        """The conditioning that goes into a node: its side by the input's name."""
        names = [name for name in self._conditioning(key) if not name.lower().startswith(_NEITHER)]
        if any(POSITIVE in name.lower() for name in names):
            names = [name for name in names if _names_side(name)]
        return {name: NEGATIVE if NEGATIVE in name.lower() else POSITIVE for name in names}

    def _conditioning(self, key: str) -> list[str]:
        """The inputs of a node that conditioning comes through."""
        return [name for name in self.graph[key]["inputs"] if self._carries(key, name, "CONDITIONING")]

    def _mark_texts(self, samplers: list[str]) -> None:
        """Put marks into the texts of the samplers; raises `OptionError` where there is no negative."""
        marked: dict[str, set[Slot]] = {POSITIVE: set(), NEGATIVE: set()}
        for key in samplers:
            for name, side in self._sides(key).items():
                marked[side].update(self._texts_into(key, name, side))
        both = marked[POSITIVE] & marked[NEGATIVE]
        if both:
            raise OptionError(
                f"a workflow without a negative: {self._named(both)} is the text of both sides; if it has a text for "
                f"each, write {MARKS[POSITIVE]} and {MARKS[NEGATIVE]} into them"
            )
        for side, slots in marked.items():
            for node, name in slots:
                if MARKS[side] not in _marks_in(self.graph[node]["inputs"][name]):
                    self.graph[node]["inputs"][name] = MARKS[side]
        guidance = [self.graph[key]["inputs"].get("cfg") for key in samplers if NEGATIVE in self._sides(key).values()]
        if guidance and all(value == 1 for value in guidance):
            raise OptionError("a workflow without a negative: with a guidance (cfg) of 1 it has no effect")
        for side, what in ((NEGATIVE, "a negative"), (POSITIVE, "a prompt")):
            if not any(MARKS[side] in _marks_in(value) for _, _, value in self._inputs()):
                raise OptionError(
                    f"a workflow without {what}: no text reaches the {side} of a sampler"
                    f" ({self._named(samplers) or 'there is none'}); write {MARKS[side]} into the text that is meant"
                )

    def _texts_into(self, key: str, name: str, side: str) -> set[Slot]:
        """The texts that an input of a sampler comes from, each to be replaced whole or marked already."""
        encoders = self._encoders(self.graph[key]["inputs"][name], side)
        texts = [self._leaves(slot, of) for encoder, of in encoders for slot in self._text_inputs(encoder, of)]
        every = {slot for leaves in texts for slot in leaves}
        marked = {slot for slot in every if MARKS[side] in _marks_in(self.graph[slot.node]["inputs"][slot.name])}
        if marked:
            return marked
        if len(encoders) > 1 or any(len(leaves) > 1 for leaves in texts):
            raise OptionError(
                f"the {side} of node {key} ({self._kind(key)}) comes from several texts ({self._named(every)}); "
                f"write {MARKS[side]} into the one that is meant"
            )
        return every

    def _encoders(self, link: Any, side: str) -> set[tuple[str, str]]:
        """The nodes that make the conditioning of a link out of text, each with the side that is asked of it."""
        key = link[0]
        if key not in self.graph or self._kind(key) in _NO_TEXT:
            return set()
        side = self._side_of(link, side)
        inputs = self.graph[key]["inputs"]
        through = self._conditioning(key)
        if not through:
            return {(key, side)}
        return {found for name in _of_side(through, side) for found in self._encoders(inputs[name], side)}

    def _side_of(self, link: Any, side: str) -> str:
        """The side that an output is named for, else `side`, which was asked of it."""
        key, number = link
        names = self._class(key).names
        return next((mark for mark in MARKS if number < len(names) and mark in names[number].lower()), side)

    def _text_inputs(self, key: str, side: str) -> list[Slot]:
        """The inputs of a node that hold text: those with room for several lines, where there are such."""
        declared = self._class(key).inputs
        holding = [name for name in self.graph[key]["inputs"] if self._holds_text(key, name)]
        texts = {name: declared[name][1] if name in declared else {} for name in holding}
        prompts = [name for name, options in texts.items() if options.get("multiline") or options.get("dynamicPrompts")]
        return [Slot(key, name) for name in _of_side(prompts or list(texts), side)]

    def _leaves(self, slot: Slot, side: str) -> set[Slot]:
        """Where the text of an input is typed: there, or in the nodes that its link leads to."""
        value = self.graph[slot.node]["inputs"][slot.name]
        if not _is_link(value) or value[0] not in self.graph:
            return {slot}
        side = self._side_of(value, side)
        leaves = {leaf for found in self._text_inputs(value[0], side) for leaf in self._leaves(found, side)}
        typed = {leaf: self.graph[leaf.node]["inputs"][leaf.name] for leaf in leaves}
        if self._type_of(value) in _ANY:  # which of its texts a switch passes on is not known here
            return {leaf for leaf, text in typed.items() if MARKS[side] in _marks_in(text)} or {slot}
        filled = {leaf for leaf, text in typed.items() if text != ""}
        return filled or set(sorted(leaves)[:1]) or {slot}

    def _holds_text(self, key: str, name: str) -> bool:
        """Whether an input takes text, or anything and is given text."""
        kind, _ = self._class(key).inputs.get(name, ("*", {}))
        return kind == "STRING" or (kind in _ANY and self._carries(key, name, "STRING"))

    # The graph itself

    def _inputs(self) -> Iterator[tuple[str, str, Any]]:
        for key, node in self.graph.items():
            for name, value in node["inputs"].items():
                yield key, name, value

    def _kind(self, key: str) -> str:
        return str(self.graph[key]["class_type"])

    def _class(self, key: str) -> NodeClass:
        return self.classes.get(self._kind(key), _UNKNOWN)

    def _carries(self, key: str, name: str, kind: str, seen: frozenset[str] = frozenset()) -> bool:
        """Whether what comes through a link into an input is of a type, as the input or what puts it out says."""
        value = self.graph[key]["inputs"][name]
        linked = _is_link(value) and value[0] in self.graph
        return linked and (self._declares(key, name, kind) or self._puts_out(value, kind, seen))

    def _declares(self, key: str, name: str, kind: str) -> bool:
        """Whether an input is said to take this type and no other."""
        return self._class(key).inputs.get(name, ("", {}))[0] == kind

    def _puts_out(self, link: Any, kind: str, seen: frozenset[str]) -> bool:
        """Whether an output is of a type; one that may be anything is of those that go into its node. `seen`: such
        nodes on the way here, for a circle of them ends nowhere."""
        key, said = link[0], self._type_of(link)
        if said not in _ANY or key in seen:
            return said == kind
        return any(self._carries(key, name, kind, seen | {key}) for name in self.graph[key]["inputs"])

    def _type_of(self, link: Any) -> str:
        """What an output is said to be, "" where nothing is known of it."""
        key, number = link
        outputs = self._class(key).outputs
        return outputs[number] if number < len(outputs) else ""

    def _named(self, found: Iterable[Slot | str]) -> str:
        """Nodes in words: "6 (CLIPTextEncode)"."""
        keys = sorted({slot.node if isinstance(slot, Slot) else slot for slot in found})
        return ", ".join(f"{key} ({self._kind(key)})" for key in keys)


def _of_side(names: list[str], side: str) -> list[str]:
    """Those named for a side, where any is named for one."""
    sided = [name for name in names if _names_side(name)]
    return [name for name in sided if side in name.lower()] if sided else names


def _names_side(name: str) -> bool:
    return any(side in name.lower() for side in MARKS)


def _marks_in(value: Any) -> list[str]:
    return _MARK.findall(value) if isinstance(value, str) else []


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _text_in_picture(file: Path) -> str:
    """The workflow that ComfyUI wrote into a PNG; raises `ValueError`."""
    from PIL import Image

    with Image.open(file) as picture:
        text = picture.info.get("prompt")
    if not text:
        raise ValueError("the picture holds no workflow")
    return str(text)
