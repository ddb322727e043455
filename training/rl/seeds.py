"""Every random number of a run follows from what it is for, so that a run can be taken up anywhere."""

from __future__ import annotations

import random

import torch


def seed_of(*parts: object) -> int:
    """A seed from several values, the same on every machine."""
    return random.Random("/".join(map(str, parts))).getrandbits(62)


def generator_of(*parts: object) -> torch.Generator:
    """Random numbers from several values."""
    return torch.Generator().manual_seed(seed_of(*parts))
