"""Gradio's components from the definitions of the controls; the same code serves gradio 3 and 4."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import host
from .arguments import Argument
from .infotext import READERS

KEEPS_DEFAULT = "do_not_save_to_config"
"""Attribute that keeps a control out of the host's ui-config.json: its default is on the settings page."""


def component(argument: Argument) -> tuple[type, dict[str, Any]]:
    """The class of a control and what it is made with, but its value and id."""
    option = argument.option
    keywords: dict[str, Any] = {"label": option.label}
    if argument.name == "model":
        return gr.Dropdown, {**keywords, "choices": host.writer().models()}
    if argument.choices:
        return gr.Radio, {**keywords, "choices": list(argument.choices)}
    if option.type is bool:
        return gr.Checkbox, keywords
    if argument.name == "seed":
        return gr.Number, {**keywords, "precision": 0}
    if option.type in (int, float):
        limits = {"minimum": option.minimum, "maximum": option.maximum, "step": option.step}
        return gr.Slider, {**keywords, **limits}
    return gr.Textbox, {**keywords, "lines": 1}


def make(argument: Argument, elem_id: str, **more: Any) -> Any:
    """The control itself."""
    kind, keywords = component(argument)
    made = kind(value=host.default_of(argument), elem_id=elem_id, **{**keywords, **more})
    setattr(made, KEEPS_DEFAULT, True)
    return made


def paste_fields(controls: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Each control with what reads it from an infotext, as the host wants them."""
    return [(control, READERS[name]) for name, control in controls.items()]
