"""How fast the generator is, against transformers on the same weights and against a T5-small.

    python -m benchmarks.generate [--model MODEL] [--threads 2] [--repeats 40] [--json FILE] [--quick]

Everything is measured in one run and in turns, and shown as medians with quartiles and ratios. Needs
transformers (the `train` extra) for the comparisons. "The same number of terms" is made so: for each
prompt our generator writes its answer, from text to text; transformers then generates, greedily and
from prepared token ids, as many tokens of the same network as that answer has (where every term is
judged on its own, ours computes only the first); and a T5-small
of random weights generates as many tokens as the answer's terms would take it, `PIECES_PER_TERM` each.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import negopt
from benchmarks.measure import Sample, busy, growth_exponent, in_fresh_processes, in_turns, machine, table
from benchmarks.prompts import PROMPTS
from negopt.generator import MAX_PROMPT_TOKENS
from negopt.locate import locate
from negopt.prompt import read_prompt

PIECES_PER_TERM = 3.5
"""Word pieces of T5's vocabulary that a term takes, its comma included. BERT's 30,522 English word pieces
take 3.2 on 17,698 terms of real negative prompts (measured with the tokenizer of all-MiniLM-L6-v2); T5's
32,000 serve four languages. 18 terms are thus the 64 tokens of a usual negative prompt."""

TARGETS = {
    "against transformers": 8.0,
    "against T5-small": 20.0,
    "one prompt, ms": 40.0,
    "batch of 64, prompts/s": 60.0,
    "import, ms": 50.0,
    "load, ms": 150.0,
}

IMPORT = """
import sys, time
start = time.perf_counter()
import negopt
taken = time.perf_counter() - start
assert "torch" not in sys.modules
print(taken * 1e3)
"""

LOAD = """
import sys, time
import torch
torch.set_num_threads({threads})
torch.ones(2, 2) @ torch.ones(2, 2)
import negopt
start = time.perf_counter()
negopt.load({model!r})
print((time.perf_counter() - start) * 1e3)
"""


@dataclass(frozen=True)
class Work:
    """What one prompt asks of each of the three."""

    prompt: str
    input_ids: torch.Tensor
    steps: int
    """Tokens that our generator's answer has, its plan included and the end left out."""
    terms: int

    @property
    def pieces(self) -> int:
        """Tokens that a T5-small would take for as many terms."""
        return max(1, round(self.terms * PIECES_PER_TERM))


def prepare(generator: negopt.Generator, prompts: Sequence[str]) -> list[Work]:
    """Answers every prompt once and notes what that took."""
    work = []
    tokenizer = generator.tokenizer
    for prompt in prompts:
        answer = generator.generate(prompt)
        ids = tokenizer.encode(read_prompt(prompt).text, MAX_PROMPT_TOKENS)
        written = tokenizer.encode_terms([term.text.lower() for term in answer.terms])
        between = len(tokenizer.between) * (len(written) - 1)
        tokens = len(tokenizer.plan(len(written))) + sum(map(len, written)) + between
        work.append(Work(prompt, torch.tensor([ids]), tokens, len(answer.terms)))
    return work


def same_weights(model: str | None, generator: negopt.Generator, work: Work) -> Any:
    """The model in transformers, once its logits are seen to be ours."""
    from transformers import T5ForConditionalGeneration

    theirs = T5ForConditionalGeneration.from_pretrained(locate(model)).float().eval()
    given = torch.tensor([[generator.network.config.decoder_start_token_id, 5, 6, 7]])
    with torch.no_grad():
        logits = theirs(input_ids=work.input_ids, decoder_input_ids=given).logits
    error = float((generator.network.logits(work.input_ids, None, given) - logits).abs().max())
    if error > 1e-4:
        raise SystemExit(f"these are not the same weights: logits differ by {error}")
    return theirs


def random_t5_small() -> Any:
    """T5-small as T5Config describes it by default: 60 million random weights."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    config: Any = T5Config()
    config.decoder_start_token_id = config.pad_token_id
    return T5ForConditionalGeneration(config).eval()


def transformers_generate(model: Any, input_ids: torch.Tensor, tokens: int) -> None:
    """Greedy generation of exactly so many tokens."""
    model.generate(
        input_ids=input_ids,
        attention_mask=torch.ones_like(input_ids),
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        do_sample=False,
        num_beams=1,
    )


def one_prompt(
    generator: negopt.Generator, work: Sequence[Work], repeats: int, models: Mapping[str, Any]
) -> dict[str, Sample]:
    """Our generator and the others on one prompt after the other."""

    def tasks(item: Work) -> dict[str, Any]:
        chosen: dict[str, Any] = {"negopt": lambda: generator.generate(item.prompt)}
        if "transformers" in models:
            chosen["transformers"] = lambda: transformers_generate(models["transformers"], item.input_ids, item.steps)
        if "T5-small" in models:
            chosen["T5-small"] = lambda: transformers_generate(models["T5-small"], item.input_ids, item.pieces)
        return chosen

    in_turns([tasks(item) for item in work[:2]])  # the first calls of each allocate and choose kernels
    return in_turns([tasks(work[i % len(work)]) for i in range(repeats)])


def growth(generator: negopt.Generator, sizes: Sequence[int], repeats: int) -> dict[int, Sample]:
    """Time for each number of prompts, in turns."""
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(max(sizes))]
    tasks = {str(size): lambda size=size: generator.generate_batch(prompts[:size]) for size in sizes}
    return {int(name): sample for name, sample in in_turns([tasks] * repeats).items()}


def versions(threads: int) -> str:
    """What it ran on."""
    parts = [f"Python {sys.version.split()[0]}", f"torch {torch.__version__}"]
    try:
        import transformers

        parts.append(f"transformers {transformers.__version__}")
    except ImportError:
        parts.append("no transformers")
    return f"{machine()}; {', '.join(parts)}; {threads} threads"


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    generator = negopt.load(options.model)
    work = prepare(generator, PROMPTS[: 8 if options.quick else None])
    models: dict[str, Any] = {}
    try:
        models = {"transformers": same_weights(options.model, generator, work[0]), "T5-small": random_t5_small()}
    except ImportError:
        print("transformers is not installed: without the comparisons", file=sys.stderr)
    sizes = [1, 4, 16, 64] if options.quick else [1, 2, 4, 8, 16, 32, 64, 128, 256]
    single = one_prompt(generator, work, options.repeats, models)
    del models
    batches = growth(generator, sizes, max(3, options.repeats // 8))
    processes = max(3, options.repeats // 4)
    load = LOAD.format(threads=options.threads, model=options.model)
    return {
        "single": single,
        "batches": batches,
        "exponent": growth_exponent(sizes, [batches[size].median for size in sizes]),
        "import": in_fresh_processes(IMPORT, processes),
        "load": in_fresh_processes(load, processes),
        "steps": Sample(tuple(float(item.steps) for item in work)),
        "terms": Sample(tuple(float(item.terms) for item in work)),
        "parameters": sum(tensor.numel() for tensor in _tensors(options.model)),
    }


def _tensors(model: str | None) -> list[torch.Tensor]:
    from safetensors.torch import load_file

    return [tensor for file in locate(model).glob("*.safetensors") for tensor in load_file(file).values()]


def shown(figures: Mapping[str, Any]) -> str:
    """The Markdown tables."""
    single, batches = figures["single"], figures["batches"]
    rows = [["one prompt: negopt, text to text", _ms(single["negopt"]), "", _target("one prompt, ms", "under {} ms")]]
    for name, label, target in (
        ("transformers", "one prompt: transformers.generate, same weights, same tokens", "against transformers"),
        ("T5-small", "one prompt: T5-small in transformers, same terms", "against T5-small"),
    ):
        if name in single:
            ratio = single[name].over(single["negopt"])
            rows.append([label, _ms(single[name]), _times(ratio), _target(target, "at least {} x")])
    if 64 in batches:
        rate = Sample(tuple(64e3 / value for value in batches[64].values))
        rows.append(
            ["batch of 64", _number(rate, "prompts/s"), "", _target("batch of 64, prompts/s", "at least {} prompts/s")]
        )
    rows.append(["import negopt (without torch)", _ms(figures["import"]), "", _target("import, ms", "under {} ms")])
    rows.append(["load the model (torch loaded)", _ms(figures["load"]), "", _target("load, ms", "under {} ms")])
    speed = table(["what", "median (quartiles)", "negopt is faster by", "wanted"], rows)
    sizes = [[str(size), _ms(sample), f"{sample.median / size:.1f} ms"] for size, sample in batches.items()]
    grown = table(["prompts", "median (quartiles)", "a prompt"], sizes)
    return (
        f"{speed}\n\nAn answer has {figures['terms'].median:.0f} terms, {figures['steps'].median:.0f} tokens "
        f"(medians); the network has {figures['parameters'] / 1e6:.1f} million weights.\n\n{grown}\n\n"
        f"Time grows with the number of prompts to the power {figures['exponent']:.2f} (1 is linear)."
    )


def _ms(sample: Sample) -> str:
    return _number(sample, "ms")


def _times(sample: Sample) -> str:
    return _number(sample, "x")


def _number(sample: Sample, unit: str) -> str:
    first, third = sample.quartiles
    return f"{sample.median:.1f} {unit} ({first:.1f} to {third:.1f})"


def _target(name: str, text: str) -> str:
    return text.format(f"{TARGETS[name]:.0f}")


def as_json(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures as plain JSON values, every measurement included."""
    plain: dict[str, Any] = {}
    for name, value in figures.items():
        if isinstance(value, Sample):
            plain[name] = value.as_json()
        elif isinstance(value, Mapping):
            plain[name] = as_json({str(key): inner for key, inner in value.items()})
        else:
            plain[name] = value
    return plain


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate", description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a model folder or name instead of the bundled one")
    parser.add_argument("--threads", type=int, default=2, help="threads that torch may use (default: 2)")
    parser.add_argument("--repeats", type=int, default=40, help="measurements of one prompt (default: 40)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    parser.add_argument("--quick", action="store_true", help="few measurements, to see that it runs")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats = min(options.repeats, 8)
    if options.repeats < 2 or options.threads < 1:
        parser.error("at least 2 repeats and 1 thread")
    torch.set_num_threads(options.threads)
    warning = busy()
    figures = measure(options)
    print(f"Measured on {versions(options.threads)}.\n\n{shown(figures)}")
    if warning:
        print(f"\nNote: {warning}.")
    if options.json:
        report = {"machine": versions(options.threads), "busy": warning, **as_json(figures)}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
