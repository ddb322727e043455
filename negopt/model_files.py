"""The files in a model's folder: JSON, weights, and what negopt.json says besides the network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from .errors import ModelError
from .locate import INDEX, WEIGHTS


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
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError(
                f"{path}: emphasis and embeddings must be tables, terms a list, length and anchor numbers ({error})"
            ) from error
        return cls(emphasis, length, order, anchor, embeddings, terms)


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
    from safetensors.torch import load_file

    files = [folder / WEIGHTS]
    if not files[0].is_file():
        names = set(read_json(folder / INDEX).get("weight_map", {}).values())
        files = [folder / Path(name).name for name in sorted(names)]
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            tensors.update(load_file(str(file)))
        except Exception as error:  # the library's own class, OSError for a missing part, and others
            raise ModelError(
                f"{file}: damaged or not a safetensors file ({error}); fetch or export the model again"
            ) from error
    return tensors
