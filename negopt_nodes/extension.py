"""The pack as ComfyUI sees it: its nodes, its models folder, its route."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import host, routes
from .load_model_node import NegOptLoadModel
from .merge_node import NegOptMerge
from .writing_nodes import NegOpt, NegOptAlternatives


class NegOptExtension(ComfyExtension):
    """Made once at start-up; not every version of ComfyUI calls `on_load`, so nothing waits for it."""

    def __init__(self) -> None:
        host.register_models_folder()
        routes.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [NegOpt, NegOptAlternatives, NegOptMerge, NegOptLoadModel]
