"""What a host does with NegOpt, in one run: load the model, write for ten prompts, alone and together.

Prints one JSON object: the versions it ran on and every answer. Needs nothing but negopt and what it
depends on, no test tools; `run.py` runs it in several environments and compares what it prints.

    python tests/compat/smoke.py [MODEL]
"""

from __future__ import annotations

import importlib.util
import json
import platform
import subprocess
import sys
import warnings
from importlib.metadata import version

PROMPTS = [
    "portrait photo of an old fisherman, 85mm, overcast",
    "1girl, silver hair, red eyes, school uniform, cherry blossoms, (masterpiece:1.2), best quality",
    "black and white sketch of a cathedral, ink, cross hatching",
    "two girls walking a dog in the rain, neon signs, cyberpunk city, <lora:neon_style:0.8>",
    "a bowl of ramen on a wooden table, food photography, steam, shallow depth of field",
    "isometric 3d render of a tiny house, pastel colours, blender, octane render",
    "mountain lake at dawn, no people, mist, wide angle, ultra detailed",
    "ﬁne ａrt, 日本の庭園, café à l'aube 🌸, [autumn|winter]",
    "((detailed hands)), woman playing the piano, candle light, oil painting BREAK rococo interior",
    "",
]


def answers(model: str | None) -> dict[str, object]:
    """Every answer: greedy, one by one and in a batch, with options, with alternatives, sampled."""
    import negopt

    generator = negopt.load(model)
    together = generator.generate_batch(PROMPTS)
    return {
        "single": [generator.generate(prompt).text for prompt in PROMPTS],
        "batch": [answer.text for answer in together],
        "options": generator.generate(PROMPTS[0], keep="(lowres:1.3), hat", avoid="blurry", max_terms=8).text,
        "alternatives": [answer.text for answer in generator.generate(PROMPTS[1], n=3).alternatives],
        "sampled": [answer.text for answer in generator.generate_batch(PROMPTS, creativity=0.8, seed=5)],
        "probabilities": [round(term.probability, 3) for term in together[0].terms],
    }


def report(model: str | None) -> dict[str, object]:
    """The answers with what they ran on, and what must hold before a model is opened."""
    light = subprocess.run(
        [sys.executable, "-c", "import sys, negopt; print('torch' in sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    packages = ("torch", "tokenizers", "safetensors", "huggingface-hub")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "import loads torch": light.stdout.strip() == "True",
        "transformers is there": importlib.util.find_spec("transformers") is not None,
        "answers": answers(model),
    }


if __name__ == "__main__":
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = report(sys.argv[1] if len(sys.argv) > 1 else None)
    result["warnings"] = sorted({str(warning.message).splitlines()[0] for warning in caught})
    json.dump(result, sys.stdout, ensure_ascii=True)
