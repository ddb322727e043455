"""What a picture is worth: aesthetics, alignment, fidelity, and their weighted sum.

Each is a `Judge`: it looks at a picture once (`observe`) and scores what it saw, as often as wanted. Knows
nothing of who makes the pictures, nor of negative prompts.
"""

from __future__ import annotations

from .aesthetics import Aesthetics
from .alignment import Alignment
from .fidelity import Fidelity, inception_score
from .judge import JUDGES, Judge, judge_named, register
from .weighted import Reward, WeightedReward

__all__ = [
    "JUDGES",
    "Aesthetics",
    "Alignment",
    "Fidelity",
    "Judge",
    "Reward",
    "WeightedReward",
    "inception_score",
    "judge_named",
    "register",
]
