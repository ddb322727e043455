"""A1111, Forge and SD.Next: their text under `parameters`, in EXIF UserComment, or as a GIF's comment.

Many other programs and ComfyUI's save nodes write the same; some write JSON under the same names, which is not it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..infotext import split_infotext
from .texts import Pair, json_object

_NAMES = ("parameters", "Parameters", "comment", "Comment", "Description")


def pairs(texts: Mapping[str, str]) -> list[Pair] | None:
    """The pair of the first text with both parts: one without may stand beside a graph that has both."""
    for name in _NAMES:
        parts = split_infotext(texts[name]) if name in texts else None
        if parts is not None and all(parts) and json_object(texts[name]) is None:
            return [parts]
    return None
