"""The model card, written from the run: what it learned from, what it measured, what it cannot do."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from transformers import T5ForConditionalGeneration


def model_card(state: dict[str, Any], data: Path, network: T5ForConditionalGeneration) -> str:
    """README.md of an exported model. `state` is the run's, `data` its data set folder."""
    return "\n".join([_head(), _what(state, network), _data(data), _training(state), _limits(state)])


def _head() -> str:
    return (
        "---\nlicense: mit\nlibrary_name: negopt\npipeline_tag: text2text-generation\n"
        "tags:\n- negative-prompt\n- stable-diffusion\n- t5\n---\n\n"
        "# A NegOpt generator: prompt in, negative prompt out\n"
    )


def _what(state: dict[str, Any], network: T5ForConditionalGeneration) -> str:
    config = network.config
    parameters = sum(parameter.numel() for parameter in network.parameters())
    base = state["recipe"]["base"]
    origin = "trained from scratch" if base == "mini" else f"fine-tuned from {base}"
    return (
        f"A T5 of {parameters / 1e6:.1f} million parameters, {origin}: {config.num_layers} encoder and "
        f"{config.num_decoder_layers} decoder layers, d_model {config.d_model}, {config.vocab_size} pieces.\n\n"
        '```python\nimport negopt\n\ngenerator = negopt.load("path/to/this/folder")\n'
        'print(generator.generate("portrait photo of an old fisherman, 85mm, overcast").text)\n```\n\n'
        "`transformers.T5ForConditionalGeneration.from_pretrained` opens it, too; the rules that keep a "
        "negative free of repeats and of what the prompt asks for are the generator's.\n"
    )


def _data(data: Path) -> str:
    """What the data set's own build says of it; a data set of another making is only named."""
    try:
        build = json.loads((data / "build.json").read_text(encoding="utf-8"))
        rows, sources = build["rows"], build["sources"]
    except (OSError, ValueError, KeyError):
        return "## Data\n\nNo record of a build was found beside the data set.\n"
    largest = max(sources, key=lambda name: sources[name])
    return (
        "## Data\n\n"
        f"{rows['train']:,} pairs of prompt and negative prompt for training, {rows['validation']:,} for "
        f"validation, {rows['test']:,} for test, no author or page in two of them; from "
        f"{len(sources):,} public sources, {sources[largest] / sum(sources.values()):.0%} of the pairs from "
        f"the largest ({largest}). Explicit and hateful prompts were left out, "
        "pairs that a language model wrote too. The texts are not part of the model's folder; for most of them "
        "their source states no licence.\n"
    )


def _training(state: dict[str, Any]) -> str:
    recipe = state["recipe"]
    rows = "\n".join(f"| {m['step']} | {m['nats_per_term']:.4f} | {m['term_f1']:.4f} |" for m in state["history"])
    return (
        "## Training\n\n"
        f"Supervised fine-tuning only, on {state['pairs']:,} pairs that people wrote: no picture was looked at. Ended "
        f"{datetime.date.today().isoformat()} after {state['step']} steps and {state['seconds'] / 3600:.1f} hours; "
        f"the weights are those of step {state['best_step']}.\n\n"
        f"```json\n{json.dumps(recipe, indent=1)}\n```\n\n"
        "Validation, likelihood in nats a term (lower is better) and term F1 on the first rows of the split:\n\n"
        f"| step | nats a term | term F1 |\n|---|---|---|\n{rows}\n\n" + _lengths(state)
    )


def _lengths(state: dict[str, Any]) -> str:
    """How the usual length of a list was chosen; nothing for a vocabulary without plans."""
    if not state.get("length_f1"):
        return ""
    figures = ", ".join(f"{length} terms {f1:.3f}" for length, f1 in state["length_f1"].items())
    return f"Term F1 by the planned length of the list, of which the best is the default: {figures}.\n"


def _limits(state: dict[str, Any]) -> str:
    return (
        "## What it cannot do\n\n"
        "It writes what people write, habits and all: whether a term makes the picture better was never "
        "measured for this model. Most of its pairs are English, from 2023, for checkpoints of the "
        "Stable Diffusion 1.x family, many of them anime; for other languages and for models that follow "
        "negatives differently it is a guess. It takes no account of which checkpoint draws. Models that are "
        "sampled without guidance ignore negative prompts altogether.\n"
    )
