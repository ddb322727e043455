"""Civitai's own generator: `extraMetadata`, JSON within JSON, states what was asked for, beside a ComfyUI graph.

Both stand in one object, in EXIF UserComment or under `parameters`, as Civitai's `comfy.metadata.ts` reads them; in
its WebP files the graph stands apart, where ComfyUI writes it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..comfyui_graph import is_graph, pairs_in_graph
from .texts import Pair, json_object, mapping, pair_of


def pairs(texts: Mapping[str, str]) -> list[Pair] | None:
    """The pair that was asked for, else those of the graph in the same object."""
    record = json_object(texts.get("parameters", ""))
    if record is None:
        return None
    stated = record.get("extraMetadata")
    asked = json_object(stated) if isinstance(stated, str) else mapping(record, "extraMetadata")
    if asked and asked.get("prompt"):
        return pair_of(asked["prompt"], asked.get("negativePrompt"))
    graph = {name: node for name, node in record.items() if name not in ("extra", "extraMetadata")}
    return (pairs_in_graph(graph) or None) if is_graph(graph) else None
