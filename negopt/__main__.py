"""`python -m negopt`: the same as the `negopt` command."""

from .cli import console

console()
