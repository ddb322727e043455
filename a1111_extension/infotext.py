"""What a picture's infotext says about NegOpt, and how pasting it brings the controls back.

`NegOpt` holds the mode and says that NegOpt wrote; the other keys begin with it, too. The negative prompt
itself is the host's own `Negative prompt`, which pasting puts into the box. The artist's text that it was
written from is kept beside it and goes into the control `originals`: so a pasted picture's negative is
written from the artist's text again, not on top of itself. Imports no host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..negopt.errors import OptionError
from ..negopt.options import Value
from .arguments import ARGUMENTS, BY_NAME, OWN_SEED, Argument, Controls, write_originals
from .negatives import Negative, creativity

KEY = BY_NAME["mode"].key
SEED, ORIGINAL, HIRES_ORIGINAL, NOTE = "NegOpt seed", "NegOpt original", "NegOpt hires original", "NegOpt note"
NEGATIVE, HIRES_NEGATIVE = "Negative prompt", "Hires negative prompt"
"""The host's own keys, as it reads them."""


def is_ours(key: str) -> bool:
    """Whether an infotext key is NegOpt's."""
    return key == KEY or key.startswith(KEY + " ")


def describe(
    controls: Controls, negatives: Sequence[Negative], hires: Sequence[Negative], common_seed: int
) -> dict[str, Any]:
    """The infotext keys for pictures with these negatives; `hires` is empty without a second pass."""
    keys: dict[str, Any] = {}
    for argument in ARGUMENTS:
        value = controls.value(argument.name) if argument.key else argument.default
        if argument.key and (argument.always or value != argument.default):
            keys[argument.key] = f"{value:g}" if isinstance(value, float) else value
    if creativity(controls) and not controls.each_picture:
        keys[SEED] = common_seed
    keys[ORIGINAL] = per_picture([negative.original or None for negative in negatives])
    if any(second.original != first.original for first, second in zip(negatives, hires, strict=False)):
        keys[HIRES_ORIGINAL] = per_picture([negative.original for negative in hires])
    return keys


def per_picture(values: Sequence[Any]) -> Any:
    """The value of an infotext key that differs from picture to picture; a plain one where it does not."""
    return values[0] if len(set(values)) == 1 else partial(_value_of_picture, tuple(values))


def _value_of_picture(values: Sequence[Any], **infotext: Any) -> Any:
    return values[picture_index(**infotext)]


def picture_index(
    p: Any,
    index: int = 0,
    use_main_prompt: bool = False,
    all_negative_prompts: Sequence[str] = (),
    **_: Any,
) -> int:
    """The number of the picture among all of the job, from what the host calls an infotext function with.

    The host counts within the batch while it makes pictures, and from the first picture on afterwards; the
    negatives it passes along tell which.
    """
    if use_main_prompt:
        return 0
    whole_job = len(all_negative_prompts) == len(p.all_negative_prompts)
    return index if whole_job else p.iteration * p.batch_size + index


def hires_negative(texts: Sequence[str], *, negative_prompt: str = "", **infotext: Any) -> str | None:
    """The host's key for the second pass, with the right picture's text in every batch; for `partial`."""
    text = texts[picture_index(**infotext)]
    return text if text != negative_prompt else None


def restored(argument: Argument, params: Mapping[str, Any]) -> Any:
    """A control's value from a pasted infotext; None leaves the control as it is."""
    if argument.name == "enabled":
        return KEY in params
    if KEY not in params:
        return "" if argument.name == "originals" else None
    if argument.name == "seed":
        return _restored_seed(params)
    if argument.name == "originals":
        return _restored_originals(params)
    return _typed(argument, params.get(argument.key))


READERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    argument.name: partial(restored, argument) for argument in ARGUMENTS
}
"""For each control, what reads it from an infotext; the same objects for both tabs, as "Send to" needs them."""


def _restored_originals(params: Mapping[str, Any]) -> str:
    original = params.get(ORIGINAL, "")
    table = {params.get(NEGATIVE, ""): original}
    if params.get(HIRES_NEGATIVE):
        table[params[HIRES_NEGATIVE]] = params.get(HIRES_ORIGINAL, original)
    # A part of the original is what the host leaves of it when it turns a style's terms into the style again.
    return write_originals({written.strip(): own for written, own in table.items() if written.strip() not in own})


def _restored_seed(params: Mapping[str, Any]) -> int:
    """The seed as a control: free again where it was the picture's own."""
    seed = str(params.get(SEED, params.get("Seed", "")))
    return OWN_SEED if seed == str(params.get("Seed", "")) else int(_read(BY_NAME["seed"], int, seed))


def _typed(argument: Argument, text: Any) -> Value:
    """A value as the control holds it; its default where the infotext does not state it."""
    kind = argument.option.type
    return argument.default if text is None else _read(argument, _is_true if kind is bool else kind, str(text))


def _is_true(text: str) -> bool:
    return text == "True"


def _read(argument: Argument, kind: Callable[[str], Value], text: str) -> Value:
    """The value that `text` holds; the default where it holds none: anyone can write an infotext."""
    try:
        return argument.check(kind(text))
    except (ValueError, OptionError):
        return argument.default
