"""The script's controls, defined once, in the order of the API's list.

The panel, the settings page, the API, the infotext and the X/Y/Z axes are all derived from `ARGUMENTS`.
What the generator knows as an option keeps the generator's own definition. New controls go to the end:
API callers count on the order. Imports no host.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..negopt.errors import OptionError
from ..negopt.locate import BUNDLED
from ..negopt.options import OPTIONS, Option, Value

EXTEND, REPLACE, IF_EMPTY = "extend mine", "replace mine", "only when mine is empty"
MODES = (EXTEND, REPLACE, IF_EMPTY)
OWN_SEED = -1
"""The value of `seed` that takes the picture's own."""


@dataclass(frozen=True)
class Argument:
    """One control: its definition, and the name under which the infotext keeps its value."""

    option: Option
    choices: tuple[str, ...] = ()
    key: str = ""
    """Infotext key; empty for what is not a setting of its own there."""
    always: bool = False
    """Whether the infotext states it even when it has its default."""
    axis: bool = False
    """Whether X/Y/Z can vary it."""

    @property
    def name(self) -> str:
        return self.option.name

    @property
    def default(self) -> Value:
        return self.option.default

    def check(self, value: Any) -> Value:
        """The value in its own type, the default for None; `OptionError` says what would be right."""
        if value is None:
            return self.default
        checked = self.option.check(value)
        if not self.choices:
            return checked
        wanted = str(checked).strip().lower()
        if wanted not in self.choices:
            raise OptionError(f"{self.name} must be one of {', '.join(map(repr, self.choices))}, not {value!r}")
        return wanted


def _generator_option(name: str, **more: Any) -> Argument:
    return Argument(OPTIONS[name], key=f"NegOpt {name.replace('_', ' ')}", **more)


_ENABLED = Option("enabled", "NegOpt", False, "Write the negative prompt that suits each prompt.")
_MODE = Option(
    "mode",
    "Mode",
    EXTEND,
    "What becomes of the negative prompt you typed: it comes first, word for word, and is completed; or it is "
    "replaced; or NegOpt writes only where you typed none.",
)
_MODEL = Option("model", "Model", BUNDLED.name, "Which of the models in the models folders writes.")
_EACH_PICTURE = Option(
    "each_picture",
    "Another negative for each picture",
    False,
    "Each picture of a batch gets its own, drawn from its seed; creativity 0 counts as 0.5 then. "
    "Off: one text for all pictures of a prompt.",
)
_SEED = replace(
    OPTIONS["seed"],
    default=OWN_SEED,
    minimum=OWN_SEED,
    help="What the writing is drawn from when creativity is above 0; -1 takes the first picture's seed.",
)
_ORIGINALS = Option(
    "originals",
    "Originals",
    "",
    "Filled by pasting: a JSON object of negative prompts that NegOpt wrote and the texts they were written from.",
)

ARGUMENTS: tuple[Argument, ...] = (
    Argument(_ENABLED, axis=True),
    Argument(_MODE, MODES, key="NegOpt", always=True, axis=True),
    Argument(_MODEL, key="NegOpt model", always=True, axis=True),
    _generator_option("creativity", always=True, axis=True),
    _generator_option("max_terms", always=True, axis=True),
    _generator_option("avoid"),
    _generator_option("weights"),
    _generator_option("embeddings"),
    Argument(_EACH_PICTURE, key="NegOpt each picture"),
    _generator_option("max_tokens"),
    Argument(_SEED),
    Argument(_ORIGINALS),
    _generator_option("prefer", axis=True),
)
BY_NAME: Mapping[str, Argument] = {argument.name: argument for argument in ARGUMENTS}
GENERATOR_OPTIONS = ("creativity", "max_terms", "avoid", "weights", "embeddings", "max_tokens", "prefer")


@dataclass(frozen=True)
class Controls:
    """The checked values of all controls."""

    enabled: bool
    mode: str
    model: str
    each_picture: bool
    seed: int
    originals: Mapping[str, str]
    """What a text that NegOpt wrote was written from: where it stands as negative, the original is taken."""
    options: Mapping[str, Value]
    """The generator's options but `keep`, `seed` and `n`."""

    def value(self, name: str) -> Value:
        """A control's value by its name."""
        return self.options[name] if name in self.options else getattr(self, name)


def is_enabled(values: Sequence[Any], instead: Mapping[str, Any] | None = None) -> bool:
    """The first control alone, values as in `read_controls`: while it is off, the others may hold anything."""
    return bool(BY_NAME["enabled"].check(_by_name(values, instead).get("enabled")))


def read_controls(values: Sequence[Any], instead: Mapping[str, Any] | None = None) -> Controls:
    """The controls from a list of values in the order of `ARGUMENTS`, missing ones at their defaults.

    `instead`: values by name that go before those of the list (an X/Y/Z cell's). Raises `OptionError`.
    """
    given = _by_name(values, instead)
    checked: dict[str, Any] = {name: argument.check(given.get(name)) for name, argument in BY_NAME.items()}
    return Controls(
        enabled=checked["enabled"],
        mode=checked["mode"],
        model=checked["model"],
        each_picture=checked["each_picture"],
        seed=checked["seed"],
        originals=_read_originals(checked["originals"]),
        options={name: checked[name] for name in GENERATOR_OPTIONS},
    )


def write_originals(originals: Mapping[str, str]) -> str:
    """The value of the control `originals`."""
    return json.dumps(dict(originals), ensure_ascii=False)


def _by_name(values: Sequence[Any], instead: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(zip(BY_NAME, values, strict=False)) | dict(instead or {})


def _read_originals(text: str) -> Mapping[str, str]:
    if not text:
        return {}
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict) or not all(isinstance(original, str) for original in table.values()):
        raise OptionError("originals must be a JSON object of texts")
    return table
