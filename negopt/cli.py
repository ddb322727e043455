"""The command line: `negopt "PROMPT"` prints the negative prompt, and nothing else.

Every option is built from its one definition in `options.py`. Exit codes: 0 written, 1 a model or file
that cannot be opened, 2 a bad option.
"""

from __future__ import annotations

import argparse
import codecs
import errno
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import NegOptError, OptionError
from .options import OPTIONS, Option, Options
from .syntax import without_comments
from .wire import describe

if TYPE_CHECKING:
    from .generator import NegativePrompt


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if (args.prompt is None) == (args.file is None):
        parser.error("give one prompt, or --file with one prompt a line")
    try:
        values = {name: getattr(args, name) for name in OPTIONS}
        Options.of(values)
        _write_answers(args, values)
    except OptionError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        raise
    except (NegOptError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser, with one flag for each option of the generator."""
    from . import __version__

    parser = _Parser(prog="negopt", description="Write the negative prompt that suits a Stable Diffusion prompt.")
    parser.add_argument("prompt", nargs="?", help="the prompt, in any host's syntax")
    parser.add_argument("--file", metavar="FILE", help="read one prompt a line from FILE, or from standard input: -")
    parser.add_argument("--json", action="store_true", help="print one JSON object a prompt, with the terms")
    parser.add_argument("--model", help="a model folder, a name in a models folder, or a Hub id (default: bundled)")
    parser.add_argument("--device", default="cpu", help="where the network runs (default: cpu)")
    parser.add_argument("--version", action="version", version=f"negopt {__version__}")
    group = parser.add_argument_group("options of the generator")
    for option in OPTIONS.values():
        _add_flag(group, option)
    return parser


def _add_flag(group: Any, option: Option) -> None:
    flag = "--" + option.name.replace("_", "-")
    text = f"{option.help} (default: {option.default!r})".replace("%", "%%")
    if option.type is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=option.default, help=text)
    elif option.type is str:
        metavar = "METRIC=N,..." if option.table else "TERMS"
        group.add_argument(flag, default=option.default, metavar=metavar, help=text)
    else:
        group.add_argument(flag, type=option.type, default=option.default, metavar="N", help=text)


def _write_answers(args: argparse.Namespace, values: dict[str, Any]) -> None:
    if args.file not in (None, "-") and (not Path(args.file).exists() or Path(args.file).is_dir()):
        raise OptionError(f"--file {args.file}: no such file")
    prompts = iter([args.prompt]) if args.file is None else _lines(args.file)
    # torch says so on stderr where numpy is not installed; nothing here needs it.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
    from .generator import load

    generator = load(args.model, args.device)
    for prompt, answer in _answers(generator, prompts, values, stream=args.file == "-"):
        for text in _report(prompt, answer, as_json=args.json):
            with _to_a_pipe():
                print(text, flush=args.file == "-")


def _answers(
    generator: Any, prompts: Iterator[str], values: dict[str, Any], *, stream: bool
) -> Iterator[tuple[str, NegativePrompt]]:
    """Each prompt with its answer: from standard input at once, from a file in batches."""
    if stream:
        for prompt in prompts:
            yield prompt, generator.generate(prompt, **values)
        return
    read: list[str] = []
    kept = _remembered(prompts, read)
    for number, answer in enumerate(generator.stream(kept, **values)):
        yield read[number], answer
        read[number] = ""  # a file of millions of prompts stays out of memory


def _remembered(prompts: Iterator[str], read: list[str]) -> Iterator[str]:
    for prompt in prompts:
        read.append(prompt)
        yield prompt


def _lines(name: str) -> Iterator[str]:
    """The file's lines without their ends. A blank line is a prompt, too: answers stay beside prompts."""
    if name == "-":
        lines = (line.rstrip(b"\r\n").decode("utf-8", "replace") for line in sys.stdin.buffer)
        yield from (line.removeprefix("\ufeff") if number == 0 else line for number, line in enumerate(lines))
        return
    with Path(name).open("rb") as opened:
        # Windows PowerShell's `>` writes UTF-16; peek, since a pipe cannot be read twice
        wide = opened.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        with io.TextIOWrapper(opened, encoding="utf-16" if wide else "utf-8-sig", errors="replace") as file:
            yield from (line.rstrip("\r\n") for line in file)


def _report(prompt: str, answer: NegativePrompt, *, as_json: bool) -> list[str]:
    """One line for each alternative, or one JSON object for all."""
    answers = [answer, *answer.alternatives]
    if not as_json:
        # One line each, whatever the artist's own text holds: `--file` pairs lines with lines.
        return [_in_one_line(a.text) for a in answers]
    return [json.dumps(describe(prompt, answer), ensure_ascii=False)]


def _in_one_line(text: str) -> str:
    """A comment would take the following lines with it: a comma stands for it."""
    *lines, last = text.splitlines() or [""]
    bare = [(line, without_comments(line)) for line in lines]
    return " ".join([*(left if left == line else left.rstrip(" ,") + "," for line, left in bare), last])


@contextmanager
def _to_a_pipe() -> Iterator[None]:
    """Windows calls a pipe that nobody reads an invalid argument (https://github.com/python/cpython/issues/79935)."""
    try:
        yield
    except OSError as error:
        if sys.platform == "win32" and error.errno == errno.EINVAL:
            raise BrokenPipeError(errno.EPIPE, "nobody reads this") from error
        raise


def console() -> None:
    """Entry point of the `negopt` command."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    try:
        code = main()
        with _to_a_pipe():
            sys.stdout.flush()
    except BrokenPipeError:  # `negopt --file all.txt | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
