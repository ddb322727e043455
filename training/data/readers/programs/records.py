"""Programs that write the two texts by name, one a chunk of a PNG, or a JSON object under any name.

A chunk each: Easy Diffusion ("embed"), kohya's sd-scripts (`prompt`, `negative-prompt`). JSON: Easy Diffusion in JPEG
and WebP, SwarmUI (`sui_image_params` under `parameters`, in the first year in EXIF Model), Stability Matrix's WebP,
RuinedFooocus. The names that count are those of `columns`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...columns import pair_from_record
from .texts import Pair, json_object


def pairs(texts: Mapping[str, str]) -> list[Pair] | None:
    """The pair of the texts themselves, or of the first JSON object that holds one."""
    if not texts.get("prompt", "").lstrip().startswith("{"):
        pair = pair_from_record(texts, source="", depth=0)
        if pair is not None:
            return [(pair.prompt, pair.negative)]
    for text in texts.values():
        record = json_object(text)
        pair = pair_from_record(record, source="") if record is not None else None
        if pair is not None:
            return [(pair.prompt, pair.negative)]
    return None
