"""A complete small Stable Diffusion world: its pictures and captions, a checkpoint, judges, and people.

`painter` draws it, `captions` describes it, `build` trains on that alone, `check` says whether it is
fit for learning negative prompts. See docs/miniature.md.
"""

from __future__ import annotations

from pathlib import Path

BUNDLED = Path(__file__).parent / "bundled"
"""The world that comes with the package: what `build` made, less its work folder."""
