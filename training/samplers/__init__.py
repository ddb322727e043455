"""Who makes the pictures. The rest of the training sees only the interface, `Sampler`.

Whatever is behind it (a checkpoint in this process, a running ComfyUI, a running AUTOMATIC1111) is loaded
once and stays where it is.
"""

from __future__ import annotations

from .sampler import Picture, Sampler

__all__ = ["Picture", "Sampler"]
