"""Memory of a GPU that runs out, whatever the error is called that says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from negopt.errors import ModelError

SAYING = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
"""What errors say that have no class of their own: of the CUDA runtime and of MPS, of cuBLAS and cuDNN, of a CPU."""


def ran_out(error: RuntimeError) -> bool:
    """Does the error say that memory ran out?"""
    known = isinstance(error, torch.cuda.OutOfMemoryError)  # as torch before 2.5 calls it, too
    return known or any(words in str(error) for words in SAYING)


@contextmanager
def enough_for(what: str) -> Iterator[None]:
    """Inside, memory that runs out is a `ModelError` which says for what it was too little."""
    try:
        yield
    except RuntimeError as error:
        if not ran_out(error):
            raise
        raise ModelError(f"out of memory: the device has too little for {what}; free some, or take less") from error
