"""NegOpt Load Model: a model from a path or from the Hugging Face Hub."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..negopt.resident import stamp_of
from .inputs import CATEGORY, NegOptModel
from .models import refer


class NegOptLoadModel(io.ComfyNode):
    """Finds a model for the writing nodes; where there is none, they say so."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="NegOptLoadModel",
            display_name="NegOpt Load Model",
            category=CATEGORY,
            description="A model from a folder anywhere or from the Hugging Face Hub (owner/name, downloaded once: "
            "safetensors only, no code), for the input negopt_model of the other NegOpt nodes.",
            inputs=[
                io.String.Input(
                    "model",
                    default="",
                    placeholder="folder, or owner/name",
                    # Old pages read tooltips as message templates: no braces, no at sign, no bar in any of ours.
                    tooltip="The folder of a model that you trained, or a Hugging Face id such as owner/name. "
                    "Empty is the model that comes with NegOpt.",
                )
            ],
            outputs=[
                NegOptModel.Output("negopt_model", display_name="negopt model", tooltip="To a NegOpt node's input.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, model: str | None = None) -> str | float:
        """Changes when the model's files do; a model that could not be found is looked for at every run."""
        reference = refer(model or "", download=False)
        return repr(stamp_of(reference.folder)) if reference.folder else float("nan")

    @classmethod
    def execute(cls, model: str, **_: Any) -> io.NodeOutput:
        return io.NodeOutput(refer(model))
