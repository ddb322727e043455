"""The panel: an accordion with the controls, and buttons that write a negative prompt before any picture."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any

import gradio as gr

from ..negopt.errors import NegOptError
from . import host
from .arguments import ARGUMENTS, BY_NAME, OWN_SEED, read_controls
from .controls import KEEPS_DEFAULT, make, paste_fields
from .negatives import Picture, creativity, strip_comments, write_negatives

log = logging.getLogger(__name__)

BOXES = ("prompt", "neg_prompt", "styles")
"""The host's own components that the buttons need, by the last part of their ids."""


class Panel:
    """The components of one tab."""

    def __init__(self) -> None:
        self._tab = ""
        self._boxes: dict[str, Any] = {}
        self._wired = False
        self._controls: dict[str, Any] = {}
        self._write: Any = None
        self._send: Any = None
        self._written: Any = None
        self.paste_fields: list[tuple[Any, Any]] = []

    def build(self, elem_id: Callable[[str], str]) -> list[Any]:
        """Make the components, in the order of `ARGUMENTS`."""
        made: dict[str, Any] = {}

        def control(name: str, **more: Any) -> None:
            made[name] = make(BY_NAME[name], elem_id(name), **more)

        with _accordion(made, elem_id), gr.Column(elem_classes=["negopt-panel"]):
            control("mode")
            with gr.Row():
                for name in ("creativity", "max_terms", "max_tokens"):
                    control(name)
            with gr.Row():
                # Any value: gradio 4 would refuse the whole job for a model that a pasted picture names and nobody has.
                control("model", scale=4, allow_custom_value=True)
                host.refresh_button(made["model"], host.writer().models, elem_id("refresh_models"))
                control("seed", scale=2)
            with gr.Row():
                control("avoid", placeholder="terms, separated by commas", scale=3)
                control("prefer", placeholder="aesthetics=1", scale=2)
            with gr.Row():
                control("weights", min_width=80)
                control("embeddings", min_width=80)
                control("each_picture", min_width=300, scale=2)
            control("originals", visible=False)
            written = gr.Textbox(
                label="Written negative prompt",
                lines=3,
                elem_id=elem_id("written"),
                placeholder="Write shows here what suits the prompt, before any picture is made",
            )
            setattr(written, KEEPS_DEFAULT, True)
            with gr.Row():
                write = gr.Button("Write", elem_id=elem_id("write"))
                send = gr.Button("Send to negative prompt", elem_id=elem_id("send"))
        if not self._wired:  # later calls only ask for the defaults
            self._controls, self._write, self._send, self._written = made, write, send, written
            self._wire()
        controls = {argument.name: made[argument.name] for argument in ARGUMENTS}
        self.paste_fields = paste_fields(controls)
        return list(controls.values())

    def see(self, component: Any, tab: str) -> None:
        """Remember the host's component if it is one of `BOXES`; wire the buttons when all are there."""
        self._tab = tab
        name = str(getattr(component, "elem_id", "")).removeprefix(f"{tab}_")
        if name in BOXES and name not in self._boxes:
            self._boxes[name] = component
            self._wire()

    def _wire(self) -> None:
        if self._wired or not self._controls or len(self._boxes) < len(BOXES):
            return
        self._wired = True
        controls = [self._controls[argument.name] for argument in ARGUMENTS]
        boxes = [self._boxes[name] for name in BOXES]
        self._write.click(fn=write_shown, inputs=[*boxes, *controls], outputs=[self._written])
        self._send.click(
            fn=lambda text: (text, False, "") if text.strip() else [gr.update()] * 3,
            inputs=[self._written],
            outputs=[self._boxes["neg_prompt"], self._controls["enabled"], self._controls["originals"]],
        ).then(fn=None, _js=f"function() {{ update_{self._tab}_tokens(); }}")  # the host's own count beside the box


def _accordion(made: dict[str, Any], elem_id: Callable[[str], str]) -> Any:
    """The accordion as a context; puts the checkbox into `made`, in its header where the host can."""
    argument = BY_NAME["enabled"]
    accordion = host.input_accordion()
    if accordion is None:
        context = gr.Accordion(argument.option.label, open=False, elem_id=elem_id("panel"))
        with context:
            made["enabled"] = make(argument, elem_id("enabled"))
        return context
    made["enabled"] = accordion(
        bool(host.default_of(argument)), label=argument.option.label, elem_id=elem_id("enabled")
    )
    for part in (made["enabled"], made["enabled"].accordion):
        setattr(part, KEEPS_DEFAULT, True)
    return made["enabled"]


def write_shown(prompt: str, negative: str, styles: list[str], *values: Any) -> str:
    """What the button Write shows: the negative that the prompt in the box would get. A failure pops up."""
    try:
        controls = read_controls(values)
        strip = strip_comments if host.comments_enabled() else str
        prompt, _ = host.styled(prompt, "", styles)
        seed = random.getrandbits(32) if controls.seed == OWN_SEED and creativity(controls) else controls.seed
        picture = Picture(strip(prompt), strip(negative), abs(seed))
        return write_negatives([picture], controls, host.writer().write(controls.model))[0].text
    except NegOptError as error:
        reason = str(error)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    log.error("NegOpt: %s", reason)
    gr.Warning(f"NegOpt: {reason}")
    return ""
