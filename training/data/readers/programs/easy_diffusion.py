"""Easy Diffusion: a text file beside the picture, a setting a line (`TASK_TEXT_MAPPING` of its `save_utils.py`).

Its labels look like A1111's and are not: the negative prompt ends at the next label, which is another in each version.
What it writes into pictures and JSON files are records, see there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .texts import Pair, pair_of

_LABEL = re.compile(
    r"^(Prompt|Negative Prompt|Seed|Stable Diffusion model|Clip Skip|ControlNet (?:model|Filter|Strength)|VAE model"
    r"|Sampler|Scheduler|Width|Height|Steps|(?:Distilled )?Guidance(?: Scale)?|Prompt Strength|LoRA (?:model|Strength)"
    r"|Hypernetwork (?:model|Strength)|Embedding models|Seamless Tiling|Use (?:Face Correction|Upscaling)|Upscale By"
    r"|Latent Upscaler Steps): ?",
    re.MULTILINE,
)


def pairs(texts: Mapping[str, str]) -> list[Pair] | None:
    """The pair of such a file, which is given as `parameters`."""
    text = texts.get("parameters", "")
    if not text.startswith("Prompt: ") or "\nSeed: " not in text or "\nNegative prompt: " in text:
        return None
    _, *parts = _LABEL.split(text.replace("\r\n", "\n"))
    values = dict(zip(parts[::2], parts[1::2], strict=True))
    return pair_of(values.get("Prompt"), values.get("Negative Prompt"))
