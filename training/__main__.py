"""`python -m training COMMAND ...`: the door to every stage of the training.

Each command is a module with `add_arguments(parser)` and `run(args) -> int`, imported only when it is
called, so that one stage's libraries do not slow another's start.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from negopt.errors import NegOptError, OptionError

COMMANDS = {
    "data": ("training.data.cli", "build a clean data set from prompts and negative prompts; its statistics"),
    "sft": ("training.sft", "supervised fine-tuning: learn to write what people write"),
    "evaluate-text": ("training.evaluate_text", "term F1 of a model and of the baselines it must beat"),
    "rl": ("training.rl.cli", "reinforcement learning: learn from pictures which negatives make them better"),
    "evaluate": ("training.evaluation.cli", "which negatives make the best pictures: table and page"),
    "preference": ("training.evaluation.preference", "one model for every weighting: each metric against its weight"),
    "export": ("training.deliver", "put a model into ComfyUI, a web UI or the Hugging Face Hub"),
    "run": ("training.run", "from your pictures to a model that learned from your checkpoint, all stages by a preset"),
    "reproduce": ("training.reproduce", "the paper's whole method on the miniature, and what it should show"),
    "miniature": ("training.miniature.cli", "a complete small Stable Diffusion world: build it, check it"),
}

OURS = ("negopt", "training")
NEEDS = 'training needs more than the generator does: pip install -e ".[train,judges]" in the folder of this repository'


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 could not be done, 2 asked for wrongly."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except OptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NegOptError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OURS:
            raise
        print(f"error: {error.name} is not installed; {NEEDS}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m training", description="Train negative prompt models.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    called = next((word for word in arguments if not word.startswith("-")), None)
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name == called:
            importlib.import_module(module).add_arguments(command)
    args = parser.parse_args(arguments)
    return int(importlib.import_module(COMMANDS[args.command][0]).run(args))


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):  # into files and pipes, too: Windows' code page lacks letters
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    sys.exit(main())
