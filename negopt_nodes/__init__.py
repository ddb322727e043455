"""NegOpt in ComfyUI: nodes (V3), a route, and the page's script in `web/`.

`host.py` is the only file that knows ComfyUI's own modules; `models.py`, `jobs.py` and `report.py` know
none of it and run without a host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .extension import NegOptExtension


async def comfy_entrypoint() -> NegOptExtension:
    """What ComfyUI calls once, at start-up."""
    from .extension import NegOptExtension

    return NegOptExtension()
