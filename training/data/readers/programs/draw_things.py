"""Draw Things: JSON with the prompt as `c` and the negative prompt as `uc` (its `ImageConverter.swift`).

Its JSON is the picture's comment, which the Mac writes into XMP as `exif:UserComment` (seen in programs that read it).
The XML around it is not parsed: entities within entities have no end.
"""

from __future__ import annotations

import html
from collections.abc import Mapping

from .texts import Pair, json_object, pair_of

_XMP = "XML:com.adobe.xmp"


def pairs(texts: Mapping[str, str]) -> list[Pair] | None:
    """The pair in the comment, wherever that stands."""
    for text in (texts.get("Comment"), texts.get("parameters"), _comment(texts.get(_XMP, ""))):
        record = json_object(text) if text else None
        if record is not None and "c" in record and "uc" in record:
            return pair_of(record["c"], record["uc"])
    return None


def _comment(xmp: str) -> str:
    """The text of `exif:UserComment`, the first of its languages."""
    _, _, rest = xmp.partition("<exif:UserComment")
    inside, closed, _ = rest.partition("</exif:UserComment>")
    _, _, entry = inside.partition("<rdf:li")
    text = entry.partition(">")[2].partition("</rdf:li>")[0]
    return html.unescape(text) if closed else ""
