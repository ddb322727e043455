"""One stage of the build: a training loop that a kill cannot harm.

The learning rate stays constant after its rise, and what counts are the averaged weights (EMA): a stage
can so end at any step, by its goal or by the clock, and go on later as if it had never stopped. Batches
and noise of a step follow from (seed, step) alone; a checkpoint holds the rest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tqdm import tqdm

from negopt.errors import ModelError
from training.atomic import recover_folder, replace_folder
from training.checkpoint import load_checkpoint, moment_names, read_tensors, save_checkpoint

WARMUP = 100
"""Steps in which the learning rate rises."""
SECONDS_BETWEEN_CHECKPOINTS = 60.0


class Stage:
    """Trains `module` for `steps`, or until `goal` says that the last evaluation is good enough."""

    def __init__(
        self,
        folder: Path,
        module: torch.nn.Module,
        *,
        steps: int,
        learning_rate: float,
        seed: int = 0,
        decay: float = 0.999,
        every: int = 500,
        evaluate: Callable[[], dict[str, float]] | None = None,
        goal: Callable[[dict[str, float]], bool] | None = None,
        facts: dict[str, Any] | None = None,
    ):
        """`facts` is what a checkpoint must agree in to be resumed (sizes, the fingerprint of its data)."""
        self.folder, self.module, self.steps, self.seed = folder, module, steps, seed
        self.rate, self.decay, self.every = learning_rate, decay, every
        self.evaluate, self.goal = evaluate, goal
        self.optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
        self.average = {name: p.detach().clone() for name, p in module.named_parameters()}
        self.state: dict[str, Any] = {"step": 0, "seconds": 0.0, "done": False, "history": [], "facts": facts or {}}

    def run(self, loss: Callable[[int], torch.Tensor], minutes: float | None = None) -> dict[str, Any]:
        """Train to the end or for `minutes`; leaves the averaged weights in the module, returns the state."""
        self._resume()
        began = saved = time.monotonic()
        spent, losses = self.state["seconds"], []
        bar = tqdm(total=self.steps, initial=self.state["step"], desc=self.folder.name, unit="step", mininterval=10.0)
        self.module.train()
        while not self.state["done"] and (minutes is None or time.monotonic() - began < 60 * minutes):
            losses.append(self._step(loss))
            bar.update()
            self.state["seconds"] = spent + time.monotonic() - began
            self.state["done"] = self.state["step"] >= self.steps
            if self.state["step"] % self.every == 0 or self.state["done"]:
                self._measure(losses)
                losses = []
            if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                self._save()
                saved = time.monotonic()
        bar.close()
        self._save()
        self._copy(self.average)
        self.module.eval()
        return self.state

    def _step(self, loss: Callable[[int], torch.Tensor]) -> float:
        step = self.state["step"]
        torch.manual_seed(int(rng_of(self.seed, step).integers(2**62)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * min(1.0, (step + 1) / WARMUP)
        value = loss(step)
        self.optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        # the average must not remember the random start: it begins short
        keep = min(self.decay, (step + 1) / (step + 10))
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                self.average[name].lerp_(parameter, 1 - keep)
        self.state["step"] = step + 1
        number = value.item()
        if not np.isfinite(number):
            raise ModelError(f"{self.folder.name}: the loss is {number} at step {step}; the last checkpoint is kept")
        return number

    def _measure(self, losses: list[float]) -> None:
        measured = {"step": self.state["step"], "loss": float(np.mean(losses)), "seconds": self.state["seconds"]}
        if self.evaluate:
            with self.averaged(), torch.no_grad():
                measured |= self.evaluate()
        self.state["history"].append(measured)
        print(json.dumps({k: round(v, 5) for k, v in measured.items()}), flush=True)
        if self.goal and self.goal(measured):
            self.state["done"] = True

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The module with its averaged weights, for a while."""
        live = {name: p.detach().clone() for name, p in self.module.named_parameters()}
        self._copy(self.average)
        self.module.eval()
        try:
            yield
        finally:
            self._copy(live)
            self.module.train()

    def _copy(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                parameter.copy_(weights[name])

    def _save(self) -> None:
        self.state["moments"] = moment_names(self.optimizer)
        with replace_folder(self.folder) as fresh:
            save_checkpoint(fresh / "live", self.module, self.optimizer, self.state)
            save_file(self.average, fresh / "average.safetensors")

    def _resume(self) -> None:
        recover_folder(self.folder)
        if not self.folder.exists():
            return
        state = load_checkpoint(self.folder / "live", self.module, self.optimizer)
        if state["facts"] != self.state["facts"]:
            raise ModelError(f"{self.folder} belongs to other settings or data; delete it to start anew")
        self.average = read_tensors(self.folder / "average.safetensors")
        self.state = state
        met = bool(self.goal and state["history"] and self.goal(state["history"][-1]))
        self.state["done"] = state["step"] >= self.steps or met


def rng_of(*parts: int) -> np.random.Generator:
    """A generator from several numbers, the same on every machine."""
    return np.random.default_rng(parts)
