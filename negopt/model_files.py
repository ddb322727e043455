"""The files in a model's folder: JSON, weights, preferences, and what negopt.json says besides the network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from .errors import ModelError
from .locate import INDEX, PREFERENCE, SETTINGS, WEIGHTS
from .preference import Preferences


@dataclass(frozen=True)
class Settings:
    """What a model folder's negopt.json says besides the network; all of it may be missing."""

    emphasis: Mapping[str, float] = field(default_factory=dict)
    """The weight that people usually put on a term (for the option `weights`)."""
    length: int = 20
    """How many terms the model plans for, in a vocabulary with plans, unless fewer are asked for."""
    order: Literal["free", "written"] = "written"
    """Whether the model was trained on terms in any order or in the author's."""
    anchor: float = 0.0
    """How far each term is judged on its own, whatever stands there already (see `decoding.decode`)."""
    embeddings: Mapping[str, str] = field(default_factory=dict)
    """Names of embeddings as their files spell them, by their lower-case form."""
    terms: frozenset[str] = frozenset()
    """The terms that a model with a vocabulary of terms may write; all it knows where none are named."""
    metrics: tuple[str, ...] = ()
    """What a model with preferences can prefer, in the order in which it is shown; the vectors are in a file."""

    @classmethod
    def read(cls, path: Path) -> Settings:
        """The file's settings, none if there is no file; raises `ModelError` for a damaged one."""
        if not path.is_file():
            return cls()
        values = read_json(path)
        try:
            length = int(values.get("length", cls.length))
            order: Literal["free", "written"] = "free" if values.get("order") == "free" else "written"
            emphasis = {str(term): float(weight) for term, weight in values.get("emphasis", {}).items()}
            anchor = min(1.0, max(0.0, float(values.get("anchor", cls.anchor))))
            terms = frozenset(map(str, values.get("terms", ())))
            embeddings = {str(name): str(file) for name, file in values.get("embeddings", {}).items()}
            metrics = _names(values.get("metrics", []))
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError(
                f"{path}: emphasis and embeddings must be tables, terms and metrics lists, length and anchor numbers "
                f"({error})"
            ) from error
        return cls(emphasis, length, order, anchor, embeddings, terms, metrics)


def _names(values: Any) -> tuple[str, ...]:
    """A JSON list of different names; raises ValueError for anything else."""
    if not isinstance(values, list) or not all(isinstance(name, str) and name for name in values):
        raise ValueError(f"{values!r} is no list of names")
    if len(set(values)) < len(values):
        raise ValueError(f"{values!r} names one twice")
    return tuple(values)


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: holds no JSON object")
    return value


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the folder's safetensors file, or of the files that its index names."""
    files = [folder / WEIGHTS]
    if not files[0].is_file():
        names = set(read_json(folder / INDEX).get("weight_map", {}).values())
        files = [folder / Path(name).name for name in sorted(names)]
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        tensors.update(_read_tensors(file))
    return tensors


def read_preferences(folder: Path, metrics: Sequence[str], width: int) -> Preferences | None:
    """The vectors of the `metrics` that negopt.json names, one tensor [width] for each under its name; None where
    it names none."""
    if not metrics:
        return None
    file = folder / PREFERENCE
    tensors = _read_tensors(file)
    if different := sorted(tensors.keys() ^ set(metrics)):
        raise ModelError(f"{file}: {SETTINGS} and this file do not name the same metrics ({', '.join(different)})")
    for name, vector in tensors.items():
        if tuple(vector.shape) != (width,) or not vector.is_floating_point():
            raise ModelError(
                f"{file}: {name!r} is {list(vector.shape)} of {vector.dtype}, but must be {width} floating numbers"
            )
        if not bool(vector.isfinite().all()):
            raise ModelError(f"{file}: {name!r} holds numbers that are not finite")
    return Preferences(tuple(metrics), torch.stack([tensors[name].float() for name in metrics]))


def _read_tensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(str(file))
    except Exception as error:  # the library's own class, OSError for a missing part, and others
        raise ModelError(
            f"{file}: damaged or not a safetensors file ({error}); fetch or export the model again"
        ) from error
