"""The inputs and outputs of the nodes, built from the one definition of each option.

Saved workflows store values by position: a released node's list of inputs is only ever appended to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..negopt.options import OPTIONS, Option
from .models import model_names
from .rows import NAMES

CATEGORY = "conditioning/NegOpt"
WRITING_OPTIONS = ("max_terms", "creativity", "seed", "weights", "max_tokens", "embeddings")
"""Those of the generator's options that every writing node has after its texts and its model, in order."""
LATER_OPTIONS = ("prefer",)
"""Those that came later, after all else, in order."""
NegOptModel = io.Custom("NEGOPT_MODEL")


def prompt_input(tooltip: str) -> io.Input:
    """The prompt: typed into the node, where `{a|b}` is resolved once for both texts, or linked."""
    return io.String.Input(
        "prompt", multiline=True, dynamic_prompts=True, placeholder="prompt", default="", tooltip=tooltip
    )


def model_input() -> io.Input:
    """The dropdown of models."""
    return io.Combo.Input(
        "model",
        options=model_names(),
        default=model_names()[0],
        optional=True,
        tooltip="Who writes: the model that comes with NegOpt, or one from models/negopt.",
    )


def linked_model_input() -> io.Input:
    """A model from NegOpt Load Model."""
    return NegOptModel.Input(
        "negopt_model", optional=True, tooltip="From NegOpt Load Model; takes the place of the dropdown's."
    )


def option_inputs(*names: str, **changes: Mapping[str, Any]) -> list[io.Input]:
    """One input for each named option; `changes` replace parts of its definition ("default", "advanced"...)."""
    return [_option_input(replace(OPTIONS[name], **changes.get(name, {}))) for name in names]


def _option_input(option: Option) -> io.Input:
    numbers = {"min": option.minimum, "max": option.maximum, "step": option.step}
    text = {"multiline": option.multiline, "dynamic_prompts": option.name == "keep", "placeholder": option.name}
    kinds: dict[type, tuple[type[io.Input], dict[str, Any]]] = {
        str: (io.String.Input, text),
        bool: (io.Boolean.Input, {}),
        int: (io.Int.Input, numbers),
        float: (io.Float.Input, numbers),
    }
    kind, more = kinds[option.type]
    name = NAMES.get(option.name, option.name)
    made = kind(name, optional=True, default=option.default, tooltip=option.help, **more)
    if option.advanced:
        made.extra_dict["advanced"] = True  # as a keyword only newer versions know it; the page has long known it
    return made


def writing_inputs() -> list[io.Input]:
    """What both writing nodes have after their prompt: options, model, and the sockets."""
    clip = io.Clip.Input(
        "clip",
        optional=True,
        tooltip="Connect the checkpoint's CLIP, and the node encodes both texts, too: it then takes the place of "
        "both CLIP Text Encode nodes, and counts tokens with that CLIP.",
    )
    options = option_inputs(*WRITING_OPTIONS)
    later = option_inputs(*LATER_OPTIONS)
    return [*option_inputs("keep", "avoid"), model_input(), *options, clip, linked_model_input(), *later]


def writing_outputs() -> list[io.Output]:
    """Both texts, and both encoded, where a CLIP is connected; lists, one item for each negative."""
    return [
        io.String.Output(
            "prompt_text",
            display_name="prompt text",
            is_output_list=True,
            tooltip="The prompt as it was used, with dynamic prompts resolved: both texts go with the same one.",
        ),
        io.String.Output(
            "negative_text", display_name="negative text", is_output_list=True, tooltip="The negative prompt."
        ),
        io.Conditioning.Output(
            "positive",
            display_name="positive",
            is_output_list=True,
            tooltip="The prompt encoded; needs the clip input.",
        ),
        io.Conditioning.Output(
            "negative",
            display_name="negative",
            is_output_list=True,
            tooltip="The negative prompt encoded; needs the clip input.",
        ),
    ]
