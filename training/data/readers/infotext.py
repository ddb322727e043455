"""A1111's generation parameters as text: prompt, `Negative prompt:`, then `Steps: 20, Sampler: ...`.

Reads the text only; where it was stored (PNG chunk, EXIF, side file) is `pictures`' business. Forge, SD.Next
and many ComfyUI savers write the same. SD.Next puts the wildcards that it filled in between negative prompt and
settings: `Template:`, `Negative template:` (its `processing_info.py`).
"""

from __future__ import annotations

import re

_NEGATIVE = re.compile(r"(?:^|\n)[ \t]*Negative prompt:[ \t]*", re.IGNORECASE)
_INLINE_NEGATIVE = re.compile(r"[ \t]Negative prompt:[ \t]*")
_SETTINGS = re.compile(r"(?:^|\n)[ \t]*Steps:[ \t]*\d+[ \t]*(?:,|\n|$)")
_TEMPLATES = re.compile(r"(?:^|\n)(?:Negative )?template: ", re.IGNORECASE)
# Settings that copying left in a field without their beginning; names that no prompt has before a colon.
_LATER_SETTINGS = re.compile(
    r"[\s,.\"']*\b(?:Unprompted Seed|Hires (?:upscale|steps|upscaler)|ControlNet \d|ENSD|Model hash|AddNet Enabled"
    r"|Denoising strength|ADetailer \w+|CFG scale|Clip skip|Sampler|Seed(?=: ?\d{4})|Size(?=: ?\d+x\d)):"
)
_INLINE_SETTINGS = re.compile(r"[\s,.]Steps:[ \t]*\d+,[ \t]*(?:Sampler|Size|Seed|CFG scale):")


def split_infotext(text: str) -> tuple[str, str] | None:
    """(prompt, negative prompt) of `text`, or None where it is no infotext; either part may be empty.

    >>> split_infotext("a cat\\nNegative prompt: blurry,\\ndog\\nSteps: 20, Sampler: Euler a")
    ('a cat', 'blurry,\\ndog')
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    settings = _SETTINGS.search(text) or _INLINE_SETTINGS.search(text)
    body = text[: settings.start()] if settings else text
    negative = _NEGATIVE.search(body) or _INLINE_NEGATIVE.search(body)
    if negative is None:
        return (body.strip(), "") if settings else None
    return body[: negative.start()].strip(), _TEMPLATES.split(body[negative.end() :], maxsplit=1)[0].strip()


def without_settings(text: str) -> str:
    """`text` without a tail of generation settings that was copied along with it."""
    found = (pattern.search(text) for pattern in (_SETTINGS, _INLINE_SETTINGS, _LATER_SETTINGS))
    return text[: min((match.start() for match in found if match), default=len(text))]
