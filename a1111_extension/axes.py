"""NegOpt in the X/Y/Z plot: on or off, mode, model, creativity, number of terms, preference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..negopt.errors import OptionError
from . import host
from .arguments import ARGUMENTS, Argument
from .process import set_instead

PREFIX = "[NegOpt] "
ON, OFF = "on", "off"
_TRUE, _FALSE = ("on", "true", "yes", "1"), ("off", "false", "no", "0")


def add_axes() -> None:
    """Add the axes to the host's X/Y/Z script, once; without one, do nothing."""
    grid = host.xyz_grid()
    if grid is None or not hasattr(grid, "axis_options") or not hasattr(grid, "AxisOption"):
        return
    known = {option.label for option in grid.axis_options}
    axes = [_axis(grid.AxisOption, argument) for argument in ARGUMENTS if argument.axis]
    grid.axis_options.extend(axis for axis in axes if axis.label not in known)


def _axis(axis_option: Callable[..., Any], argument: Argument) -> Any:
    kind = argument.option.type
    return axis_option(
        PREFIX + ("On/off" if kind is bool else argument.option.label),
        str if kind is bool else kind,
        partial(_apply, argument),
        confirm=partial(_confirm, argument),
        choices=_choices(argument),
    )


def _choices(argument: Argument) -> Callable[[], list[str]] | None:
    if argument.option.type is bool:
        return lambda: [ON, OFF]
    if argument.name == "model":
        return lambda: host.writer().models()
    return (lambda: list(argument.choices)) if argument.choices else None


def _apply(argument: Argument, p: Any, x: Any, xs: Sequence[Any]) -> None:
    """Set the value of one cell."""
    set_instead(p, argument.name, _value(argument, x))


def _confirm(argument: Argument, p: Any, xs: Sequence[Any]) -> None:
    """Say what is wrong before the first picture is made."""
    for x in xs:
        _value(argument, x)
        if argument.name == "model" and x not in host.writer().models():
            raise OptionError(f"there is no model {x!r}; there are: {', '.join(host.writer().models())}")


def _value(argument: Argument, x: Any) -> Any:
    if argument.option.type is not bool:
        return argument.check(x)
    if str(x).strip().lower() not in (*_TRUE, *_FALSE):
        raise OptionError(f"{PREFIX}On/off takes on and off, not {x!r}")
    return str(x).strip().lower() in _TRUE
