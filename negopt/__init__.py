"""NegOpt writes the negative prompt that suits each prompt.

    import negopt

    generator = negopt.load()
    print(generator.generate("portrait photo of an old fisherman, 85mm, overcast").text)

Importing this package loads neither torch nor a model; both come with the first `load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import DataError, ModelError, NegOptError, OptionError
from .options import OPTIONS, Option, Options

if TYPE_CHECKING:
    from .generator import Generator, NegativePrompt, WrittenTerm, load

__version__ = "0.1.0"
__all__ = [
    "OPTIONS",
    "DataError",
    "Generator",
    "ModelError",
    "NegOptError",
    "NegativePrompt",
    "Option",
    "OptionError",
    "Options",
    "WrittenTerm",
    "load",
]


def __getattr__(name: str) -> Any:
    """The generator's names, on first use: they need torch, which takes a second to import."""
    if name in ("Generator", "NegativePrompt", "WrittenTerm", "load"):
        from . import generator

        return getattr(generator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
