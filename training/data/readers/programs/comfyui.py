"""ComfyUI: the graph that was run under `prompt`, what the page drew under `workflow`."""

from __future__ import annotations

from collections.abc import Mapping

from ..comfyui_graph import is_graph, pairs_in_graph
from .texts import Pair, json_object


def pairs(texts: Mapping[str, str]) -> list[Pair] | None:
    """The pairs of the first of the two graphs that has any."""
    for name in ("prompt", "workflow"):
        graph = json_object(texts.get(name, ""))
        found = pairs_in_graph(graph) if graph is not None and is_graph(graph) else []
        if found:
            return found
    return None
