"""What one can see of a run while it learns: figures, sheets of pictures, and a bar.

    OUT/logs                        TensorBoard: every figure of every step, and the sheets
    OUT/samples/step-000120.png     for a few prompts the picture without a negative prompt, and with the one that
                                    the policy writes now at creativity 0, on the same initial noise

Only looks on: the pictures of a sheet are not learned from, and no random number of the run depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from negopt.generator import Generator
from negopt.rollout import Rollout
from negopt.terms import term_key
from training.atomic import write_bytes
from training.samplers import Picture, Sampler
from training.sheet import Cell, png, sheet

STEPS_BETWEEN_SHEETS = 20
SHOWN = 6
"""Prompts of a sheet."""

Write = Callable[[Sequence[str]], list[str]]
"""The negative prompts that the policy writes now for some prompts."""


class Logbook:
    """Writes down each step of a run of `total` steps of which `done` are behind it."""

    def __init__(self, out: Path, sampler: Sampler, prompts: Sequence[str], total: int, done: int) -> None:
        """`prompts`: those of the sheets, of which the first few are shown."""
        self._samples, self._sampler, self._total = out / "samples", sampler, total
        self._prompts = list(prompts[:SHOWN])
        self._plain: torch.Tensor | None = None
        self._scalars = SummaryWriter(str(out / "logs"), purge_step=done + 1)
        self._bar = tqdm(total=total, initial=done, unit="step", mininterval=2.0)

    def __enter__(self) -> Logbook:
        return self

    def __exit__(self, *reason: object) -> None:
        self._bar.close()
        self._scalars.close()

    def step(self, step: int, measured: Mapping[str, float], write: Write) -> None:
        """Step number `step`, from 1, is done and gave these figures."""
        for name, value in measured.items():
            self._scalars.add_scalar(f"rl/{name}", value, step)
        self._bar.set_postfix_str(
            f"reward {measured['reward']:.3f}, {measured['pictures_a_second']:.1f} pictures/s", refresh=False
        )
        self._bar.update()
        if step % STEPS_BETWEEN_SHEETS == 0 or step == self._total:
            self.sheet(step, write)

    def sheet(self, step: int, write: Write) -> None:
        """What the policy does to the pictures now."""
        negatives = write(self._prompts)
        if self._plain is None:
            self._plain = self._look([""] * len(self._prompts))
        cells = [[Cell(image) for image in self._plain], list(map(Cell, self._look(negatives), negatives))]
        page = sheet(self._prompts, list(zip(["no negative prompt", f"step {step}"], cells, strict=True)))
        self._samples.mkdir(parents=True, exist_ok=True)
        write_bytes(self._samples / f"step-{step:06}.png", png(page))
        self._scalars.add_image("samples", np.asarray(page), step, dataformats="HWC")

    def _look(self, negatives: Sequence[str]) -> torch.Tensor:
        """float32 [B, 3, H, W], each prompt on a noise of its own that stays the same."""
        return self._sampler.sample(
            [Picture(p, n, row) for row, (p, n) in enumerate(zip(self._prompts, negatives, strict=True))]
        )


def known_terms(generator: Generator) -> frozenset[str]:
    """The terms that many people wrote in a model's training data; empty where it does not say."""
    return generator.settings.terms or frozenset(generator.tokenizer.whole_terms.values())


def written(rollouts: Sequence[Rollout], known: frozenset[str]) -> dict[str, float]:
    """How the negatives of one step are written, where degeneration is seen first.

    "terms": of a negative, on average; "longest": of any; "different": share of negatives unlike those before;
    "repeats": share of terms that stood in the same negative already; "unseen": share of terms of the model's own
    that are not in `known`, left out where nothing is known.
    """
    answers = [rollout.answer for rollout in rollouts]
    keys = [[term_key(term.text) for term in answer.terms] for answer in answers]
    own = [term.text for answer in answers for term in answer.terms if term.origin == "model"]
    every = max(1, sum(map(len, keys)))
    figures = {
        "terms": sum(map(len, keys)) / len(keys),
        "longest": float(max(map(len, keys))),
        "different": len({answer.text for answer in answers}) / len(answers),
        "repeats": 1 - sum(len(set(of_one)) for of_one in keys) / every if any(keys) else 0.0,
    }
    if known:
        figures["unseen"] = sum(text not in known for text in own) / max(1, len(own))
    return figures
