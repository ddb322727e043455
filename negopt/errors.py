"""What can go wrong, in words for the person who sees it.

Every error that NegOpt raises on purpose is a `NegOptError` whose text is one clear line: what was
wrong, where, and what to do. Hosts catch this class and show the line; anything else is a bug.
"""

from __future__ import annotations


class NegOptError(Exception):
    """Base of all errors raised on purpose."""


class OptionError(NegOptError, ValueError):
    """An option has a value outside its definition."""


class ModelError(NegOptError, RuntimeError):
    """A model cannot be found, or what was found cannot be opened."""


class DataError(NegOptError, ValueError):
    """A source of prompt pairs, or a data set, cannot be read."""
