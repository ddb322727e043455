"""The model card, written from the run: what it learned from, what it measured, what it cannot do."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import T5ForConditionalGeneration


def model_card(state: dict[str, Any], data: Path, network: T5ForConditionalGeneration) -> str:
    """README.md of a model that learned from pairs. `state` is the run's, `data` its data set folder."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    base = state["recipe"]["base"]
    origin = "trained from scratch" if base == "mini" else f"fine-tuned from {base}"
    what = _what(network.config.to_dict(), f"of {parameters / 1e6:.1f} million parameters, {origin}")
    return "\n".join([_head(), what, _data(data), _training(state), _limits(state)])


def taught_card(state: dict[str, Any], begun_as: str, config: dict[str, Any]) -> str:
    """README.md of a model that learned from pictures. `state` is the RL run's, `begun_as` the name of the model that
    it began as, `config` its network's."""
    return "\n".join([_head(), _what(config, f"that learned from pictures, begun as {begun_as}"), _lesson(state)])


def plain_card(config: dict[str, Any]) -> str:
    """README.md of a model of which nothing is known but its network's `config`."""
    return "\n".join([_head(), _what(config, "of which no record of a training is at hand")])


def _head() -> str:
    return (
        "---\nlicense: mit\nlibrary_name: negopt\npipeline_tag: text2text-generation\n"
        "tags:\n- negative-prompt\n- stable-diffusion\n- t5\n---\n\n"
        "# A NegOpt generator: prompt in, negative prompt out\n"
    )


def _what(config: dict[str, Any], origin: str) -> str:
    layers = config.get("num_layers")
    return (
        f"A T5 {origin}: {layers} encoder and {config.get('num_decoder_layers') or layers} decoder layers, "
        f"d_model {config.get('d_model')}, {config.get('vocab_size')} pieces.\n\n"
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


def _lesson(state: dict[str, Any]) -> str:
    """From whose pictures it learned what, and how far it went."""
    recipe, history = state["recipe"], state["history"]
    quarter = max(1, len(history) // 4)
    names = [name for name in ("reward", *recipe["weights"], "kl", "terms") if name in history[0]]
    rows = "\n".join(
        f"| {name} | {_mean(history[:quarter], name):.4f} | {_mean(history[-quarter:], name):.4f} |" for name in names
    )
    return (
        "## Learned from pictures\n\n"
        f"Reinforcement learning ({recipe['algorithm']}), ended {datetime.date.today().isoformat()} after "
        f"{state['step']} steps and {state['seconds'] / 3600:.1f} hours, with {history[-1]['pictures']:,.0f} pictures "
        "by\n\n"
        f"```json\n{json.dumps(_without_folders(state['sampler']), indent=1)}\n```\n\n"
        "Its negatives suit that checkpoint and these settings; for others they are a guess. Of the steps' figures, "
        "means of the first and of the last quarter (reward in units of the first policy's spread, kl in nats a step; "
        "on training prompts, by the judges that were paid for, so they say that it learned and not how much better "
        "the pictures are: `evaluate` does):\n\n"
        f"| | first | last |\n|---|---|---|\n{rows}\n\n"
        f"```json\n{json.dumps(recipe, indent=1)}\n```\n"
    )


def _without_folders(sampler: dict[str, Any]) -> dict[str, Any]:
    """Whoever reads the card need not know where files lay on the machine of the training."""
    return {
        name: Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
        for name, value in sampler.items()
    }


def _mean(history: list[dict[str, float]], name: str) -> float:
    return sum(measured[name] for measured in history) / len(history)


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
