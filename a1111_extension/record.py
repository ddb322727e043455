"""A record of the negative prompts written, for those who want one: a file with one JSON object a line."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
_lock = threading.Lock()


def record(
    file: Path, model: str, prompts: Sequence[str], options: Mapping[str, Any], negatives: Sequence[str], seconds: float
) -> None:
    """Append a line for each prompt. `seconds` is what all of them took together. Never raises."""
    lines = [
        json.dumps(
            {
                "prompt": prompt,
                "negative_prompt": negative,
                "model": model,
                "options": dict(options),
                "milliseconds": round(1000 * seconds / len(prompts), 1),
            },
            ensure_ascii=False,
        )
        for prompt, negative in zip(prompts, negatives, strict=True)
    ]
    try:
        with _lock, file.open("a", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")
    except OSError as error:
        log.warning("NegOpt: cannot write its record (%s)", error)
