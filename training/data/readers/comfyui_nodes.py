"""What a ComfyUI graph is made of, and the form of it that was run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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


def read_api(document: Mapping[str, Any]) -> Graph:
    """The graph of a `prompt` (API format)."""
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
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int)) and is_number(value[1]):
        return Link(str(value[0]), value[1])
    if isinstance(value, Mapping) and "__value__" in value:  # how a list is told from a link
        return value["__value__"]
    return value


def is_number(value: Any) -> bool:
    """Whether a value can number an output: a whole number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
