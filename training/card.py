"""The model card, written from the run: what it learned from, what it measured, what it cannot do."""

from __future__ import annotations

import datetime
import json
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import T5ForConditionalGeneration

_KNOWN_SOURCES = {
    "dfanr/CivitaiModelList": "Most of its pairs are English, from 2023, for checkpoints of the Stable Diffusion 1.x "
    "family, many of them anime; for other languages and for models that follow negatives differently it is a guess.",
}
"""What is known of a source's pairs and stands in no data set."""
_OF_ANY_SOURCE = (
    "For languages, styles and checkpoints that are not among its pairs, and for models that follow negatives "
    "differently, it is a guess."
)


def model_card(state: dict[str, Any], data: Path, network: T5ForConditionalGeneration) -> str:
    """README.md of a model that learned from pairs. `state` is the run's, `data` its data set folder."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    base = state["recipe"]["base"]
    origin = "trained from scratch" if base == "mini" else f"fine-tuned from {base}"
    what = _what(network.config.to_dict(), f"of {parameters / 1e6:.1f} million parameters, {origin}")
    build = _build_of(data)
    return "\n".join([_head(), what, _data(build), _training(state, build), _limits(build)])


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


def _build_of(data: Path) -> dict[str, Any]:
    """What the data set's own build says of it; nothing for a data set of another making."""
    try:
        build = json.loads((data / "build.json").read_text(encoding="utf-8"))
        return build if build["rows"] and build["sources"] else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _data(build: dict[str, Any]) -> str:
    if not build:
        return "## Data\n\nNo record of a build was found beside the data set.\n"
    rows, sources = build["rows"], build["sources"]
    kept = "were kept" if _has_model_written(build) else "were left out, too, where marked or evident"
    return (
        "## Data\n\n"
        f"{rows['train']:,} pairs of prompt and negative prompt for training, {rows['validation']:,} for "
        f"validation, {rows['test']:,} for test, {_parted_by(build)}; from {_origin(sources)}. "
        f"Explicit and hateful prompts were left out; pairs that a language model wrote {kept}. "
        f"The texts are not part of the model's folder{_licences(build)}.\n"
    )


def _has_model_written(build: dict[str, Any]) -> bool:
    """Whether pairs that a language model wrote may be among the data."""
    return bool(build.get("options", {}).get("keep_model_written"))


def _parted_by(build: dict[str, Any]) -> str:
    """What the splits have not in common."""
    if build.get("one_author"):
        return "nearly all by one author, who is in all of them"
    if build.get("shared_prompts"):
        return "no prompt in two of them"
    return "no author or page in two of them"


def _origin(sources: dict[str, int]) -> str:
    """How many sources there are, and the largest: by name if that is a Hub id, for a file's name is its owner's."""
    largest = max(sources, key=lambda name: sources[name])
    name = f" ({largest})" if "/" in largest else ""
    if len(sources) == 1:
        return f"one source{name}"
    return (
        f"{len(sources):,} sources, {sources[largest] / sum(sources.values()):.0%} of the pairs from the largest{name}"
    )


def _licences(build: dict[str, Any]) -> str:
    """That most sources state none, where it is so."""
    licences = build.get("licences", {})
    unstated = sum(licences.get(name, 0) for name in ("none", "unknown"))
    most = 2 * unstated > sum(licences.values())
    return "; for most of them their source states no licence" if most else ""


def _training(state: dict[str, Any], build: dict[str, Any]) -> str:
    recipe = state["recipe"]
    writers = "that people wrote" if build and not _has_model_written(build) else "of prompt and negative prompt"
    rows = "\n".join(f"| {m['step']} | {m['nats_per_term']:.4f} | {m['term_f1']:.4f} |" for m in state["history"])
    return (
        "## Training\n\n"
        f"Supervised fine-tuning only, on {state['pairs']:,} pairs {writers}: no picture was looked at. Ended "
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
    return {name: _name_alone(value) if isinstance(value, str) else value for name, value in sampler.items()}


def _name_alone(value: str) -> str:
    """The last part of a path; what may be a Hub id, such as owner/name, stays as it is."""
    path = PureWindowsPath(value)  # which knows both kinds of slashes
    no_id = path.root or len(path.parts) > 2 or value.startswith((".", "~"))
    return path.name if no_id or path.suffix.lower() == ".safetensors" else value


def _mean(history: list[dict[str, float]], name: str) -> float:
    return sum(measured[name] for measured in history) / len(history)


def _lengths(state: dict[str, Any]) -> str:
    """How the usual length of a list was chosen; nothing for a vocabulary without plans."""
    if not state.get("length_f1"):
        return ""
    figures = ", ".join(f"{length} terms {f1:.3f}" for length, f1 in state["length_f1"].items())
    return f"Term F1 by the planned length of the list, of which the best is the default: {figures}.\n"


def _limits(build: dict[str, Any]) -> str:
    return (
        "## What it cannot do\n\n"
        "It writes what people write, habits and all: whether a term makes the picture better was never "
        f"measured for this model. {_guesses(build)} It takes no account of which checkpoint draws. Models that are "
        "sampled without guidance ignore negative prompts altogether.\n"
    )


def _guesses(build: dict[str, Any]) -> str:
    """For what its data says little, as far as it is known."""
    sources = build.get("sources", {})
    known = [text for name, text in _KNOWN_SOURCES.items() if 2 * sources.get(name, 0) > sum(sources.values())]
    return known[0] if known else _OF_ANY_SOURCE
