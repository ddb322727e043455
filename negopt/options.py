"""Every option of the generator, defined once: name, type, range, default, help.

The command line, the ComfyUI nodes, the A1111 script and its API all build their inputs from
`OPTIONS`, and all hand their values to `Options`, which refuses what lies outside the definition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import OptionError
from .preference import read_preference

Value = str | int | float | bool


@dataclass(frozen=True)
class Option:
    """The definition of one option, in the terms in which a user interface is built."""

    name: str
    label: str
    default: Value
    help: str
    """One or two sentences, shown as tooltip or beside the flag."""
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    """What one click of a slider or spin box changes."""
    advanced: bool = False
    """True for what most people leave alone; an interface may fold it away."""
    multiline: bool = False
    table: bool = False
    """True for text that lists metrics and what they count, "aesthetics=1, alignment=0.5"; from Python a dict, too."""

    @property
    def type(self) -> type:
        """str, int, float or bool: the type of the value."""
        return type(self.default)

    def check(self, value: Any) -> Value:
        """The value in the option's own type; raises `OptionError` saying what would be right."""
        if self.table:
            return self._table(value)
        if self.type is str:
            return self._text(value)
        if self.type is bool:
            if not isinstance(value, bool):
                raise OptionError(f"{self.name} must be true or false, not {value!r}")
            return value
        return self._number(value)

    def _text(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, Sequence) and all(isinstance(part, str) for part in value):
            return ", ".join(value)
        raise OptionError(f"{self.name} must be text or a list of texts, not {value!r}")

    def _table(self, value: Any) -> str:
        if isinstance(value, Mapping):
            value = ", ".join(f"{name}={weight}" for name, weight in value.items())
        text = self._text(value).strip()
        try:
            if text:
                read_preference(text)
        except OptionError as error:
            raise OptionError(f"{self.name}: {error}") from None
        return text

    def _number(self, value: Any) -> int | float:
        kind = "a whole number" if self.type is int else "a number"
        right = f"{kind} from {self.minimum:g} to {self.maximum:g}"
        assert self.minimum is not None
        assert self.maximum is not None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.minimum <= value <= self.maximum:
            raise OptionError(f"{self.name} must be {right}, not {value!r}")
        if self.type is int and value != int(value):
            raise OptionError(f"{self.name} must be {right}, not {value!r}")
        return self.type(value)


def _option(default: Value, label: str, help: str, **more: Any) -> Any:
    """A dataclass field that carries the definition of its option."""
    return field(default=default, metadata={"label": label, "help": help, **more})


@dataclass(frozen=True)
class Options:
    """Values for one call of the generator, checked. `OptionError` for a value outside its definition."""

    keep: str = _option(
        "",
        "Keep",
        "Your own negative terms. They come first, word for word and with their weights, and are never repeated.",
        multiline=True,
    )
    avoid: str = _option(
        "",
        "Avoid",
        "Terms that are never written, nor their variants; separate them with commas.",
        multiline=True,
    )
    max_terms: int = _option(
        30,
        "Max terms",
        "The most terms that are written besides your own. The model ends sooner where it finds that enough.",
        minimum=0,
        maximum=100,
        step=1,
    )
    max_tokens: int = _option(
        75,
        "Max tokens",
        "The whole negative prompt fits into this many CLIP tokens, your own terms included (they are kept "
        "even when they alone take more). 75 is one chunk of Stable Diffusion's text encoder; 0 means no limit.",
        minimum=0,
        maximum=1000,
        step=1,
        advanced=True,
    )
    creativity: float = _option(
        0.0,
        "Creativity",
        "0 writes the same answer always; higher values vary it. At 1 a term comes up as often as people write it "
        "for such a prompt.",
        minimum=0.0,
        maximum=2.0,
        step=0.05,
    )
    seed: int = _option(
        0,
        "Seed",
        "Another number gives another answer when creativity is above 0.",
        minimum=0,
        maximum=2**53 - 1,
        step=1,
    )
    n: int = _option(
        1,
        "Alternatives",
        "How many different negative prompts to write for each prompt.",
        minimum=1,
        maximum=16,
        step=1,
        advanced=True,
    )
    weights: bool = _option(
        False,
        "Weights",
        "Write emphasis, as in (worst quality:1.4), for the terms that people usually emphasise.",
    )
    embeddings: bool = _option(
        False,
        "Embeddings",
        "Allow names of textual-inversion embeddings such as EasyNegative. They do nothing unless you have "
        "their files.",
        advanced=True,
    )
    prefer: str = _option(
        "",
        "Prefer",
        "What shall count how much, for a model that was trained for every weighting: aesthetics=1, alignment=0.5. "
        "What is left out counts nothing; empty, all count alike.",
        advanced=True,
        table=True,
    )

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            object.__setattr__(self, name, option.check(getattr(self, name)))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Options:
        """Options from names and values; raises `OptionError` for a name that is none."""
        unknown = sorted(set(values) - set(OPTIONS))
        if unknown:
            raise OptionError(f"unknown option {unknown[0]!r}; the options are {', '.join(OPTIONS)}")
        return cls(**values)


OPTIONS: dict[str, Option] = {
    f.name: Option(name=f.name, default=f.default, **f.metadata)  # type: ignore[arg-type]
    for f in fields(Options)
}
"""All options by name, in the order in which an interface shows them."""
