"""Programs: how each of them wrote prompt and negative prompt into the texts of a picture.

A module a program, each with a function `pairs` from texts by name (a PNG's keywords; EXIF and sidecars are given the
same names) to the pairs in them: empty where the program wrote the picture, but no negative prompt was given; None
where the texts are another program's. They know nothing about files. The first that does not answer None decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import a1111, civitai, comfyui, draw_things, easy_diffusion, fooocus, invokeai, novelai, records

# Those that are sure of their own first. A1111's text states what was really asked, so it comes before a graph.
_PROGRAMS = (novelai, invokeai, fooocus, civitai, easy_diffusion, a1111, comfyui, draw_things, records)


def pairs_in_texts(texts: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(prompt, negative, kind) of each pair in a picture's texts, by their names in a PNG."""
    for program in _PROGRAMS:
        found = program.pairs(texts)
        if found is not None:
            kind = "workflow" if program is comfyui else "infotext"
            yield from ((prompt, negative, kind) for prompt, negative in found)
            return
