"""What every node with the dropdown of models has in common."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .models import version


class ModelNode(io.ComfyNode):
    """A node whose inputs come as lists, `model` among them."""

    @classmethod
    def validate_inputs(cls, model: Any = None) -> bool:
        """A model that is not there is no reason to refuse a workflow: the node says so and passes `keep` on.

        Naming `model` here keeps ComfyUI's own check of the dropdown off; ranges it checks itself.
        """
        return True

    @classmethod
    def fingerprint_inputs(cls, model: list[str] | None = None, **_: Any) -> str:
        """Changes when the model's files do, so that a model trained anew writes anew."""
        return version((model or [""])[0] or "")
