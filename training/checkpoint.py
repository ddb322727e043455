"""The state of a training run on disk: weights, optimizer moments and counters, as safetensors.

What is written here is all that a resumed run needs, since the order of batches and the dropout of
each step follow from (seed, step) alone. A checkpoint appears whole or not at all: it is written beside
the old one and renamed, so a run killed while saving resumes from the checkpoint before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from negopt.errors import ModelError
from training.atomic import replace_folder

WEIGHTS, MOMENTS, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
TENSORS = "tensors.safetensors"


def save_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    tensors: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write `folder` anew; `state` holds JSON values, `tensors` what else a run has gathered."""
    with replace_folder(folder) as fresh:
        save_file(_contiguous(dict(model.named_parameters())), fresh / WEIGHTS)
        save_file(_contiguous(_moments(model, optimizer)), fresh / MOMENTS)
        save_file(_contiguous(tensors or {}), fresh / TENSORS)
        (fresh / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")


def load_checkpoint(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put the run in `folder` back into `model` and `optimizer`; returns its state.

    Raises `ModelError` when the checkpoint is damaged or belongs to another model.
    """
    state = load_state(folder)
    try:
        weights = load_file(folder / WEIGHTS)
        moments = load_file(folder / MOMENTS)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(weights[name])
                own = {key: moments[f"{name}|{key}"] for key in state["moments"]}
                optimizer.state[parameter] = {k: v.to(_place(k, v, parameter), copy=True) for k, v in own.items()}
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _damaged(folder, error) from error
    return state


def load_state(folder: Path) -> dict[str, Any]:
    """Only the state of a checkpoint; raises `ModelError` when it is damaged."""
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(folder, error) from error
    return state


def _damaged(folder: Path, error: Exception) -> ModelError:
    return ModelError(f"{folder}: cannot resume from this checkpoint ({error}); delete the folder to start anew")


def load_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The `tensors` of a checkpoint."""
    return read_tensors(folder / TENSORS)


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """All tensors of a file, in memory of their own: they may outlive it. Those that safetensors gives are the file
    itself, mapped, and Windows neither deletes nor replaces a file as long as one of them is there."""
    return {name: tensor.clone() for name, tensor in load_file(file).items()}


def load_weights(folder: Path, model: torch.nn.Module) -> None:
    """Only the weights of a checkpoint."""
    weights = load_file(folder / WEIGHTS)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def moment_names(optimizer: torch.optim.Optimizer) -> list[str]:
    """Names of the tensors that the optimizer keeps for each parameter ("exp_avg", "step"...)."""
    return sorted({name for state in optimizer.state.values() for name in state})


def _moments(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}|{key}": torch.as_tensor(value)
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def _contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}


def _place(name: str, value: torch.Tensor, parameter: torch.Tensor) -> torch.device:
    """The step counter of torch's optimizers stays on the CPU; moments live beside their parameter."""
    return torch.device("cpu") if name == "step" else parameter.device
