"""Which models there are, by the names that a workflow stores; opening one.

The dropdown lists the bundled model and every folder under ComfyUI's `models/negopt` that holds weights.
A model from elsewhere comes by the node NegOpt Load Model, as a `ModelReference`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from ..negopt.errors import ModelError, NegOptError
from ..negopt.locate import BUNDLED, locate
from ..negopt.resident import resident, stamp_of
from . import host
from .conditioning import token_counter

if TYPE_CHECKING:
    from ..negopt.generator import Generator


@dataclass(frozen=True)
class ModelReference:
    """A model as it travels between nodes: its folder, or why there is none."""

    name: str
    folder: Path | None = None
    failure: str = ""


_referenced: dict[str, Path] = {}
"""Folders of the models that NegOpt Load Model has found, by what its user typed."""


def model_names() -> list[str]:
    """The dropdown: the bundled model first, then the folders with weights, with "/" in any system."""
    return [BUNDLED.name, *(name for name in _weights_by_name() if name != BUNDLED.name)]


def refer(name: str, download: bool = True) -> ModelReference:
    """The model at a path, in a models folder, or on the Hugging Face Hub (downloaded if need be). Never raises."""
    typed = name.strip().strip('"')  # Windows copies a path with quotes around it
    try:
        folder = model_folder(typed) if typed in ("", *model_names()) else locate(typed, download=download)
    except NegOptError as error:
        return ModelReference(name, failure=str(error))
    _referenced[name] = folder
    return ModelReference(name, folder)


def model_folder(name: str) -> Path:
    """The folder of a model in the dropdown, or of one referred to before; raises `ModelError`."""
    if name in _referenced:
        return _referenced[name]
    weights = _weights_by_name().get(name)
    path = host.full_path(weights) if weights else None
    if path is not None:
        return path.parent
    if name in ("", BUNDLED.name):
        return BUNDLED
    raise ModelError(
        f"{name}: no such model in models/{host.MODELS}; put its folder there and refresh the page (r), "
        "or, if it comes from NegOpt Load Model, run the graph once"
    )


def open_model(model: str | ModelReference, clip: Any = None) -> Generator:
    """The loaded generator, one copy for all nodes, that knows ComfyUI's embeddings and counts tokens as `clip`
    does; raises `ModelError`."""
    if isinstance(model, str):
        folder = model_folder(model)
    elif model.folder is None:
        raise ModelError(model.failure)
    else:
        folder = model.folder
    return resident(str(folder)).beside(count_tokens=token_counter(clip), embedding_name=host.embedding_name)


def version(model: str) -> str:
    """Changes when the files of a model in the dropdown do; "" while it cannot be found."""
    try:
        return repr(stamp_of(model_folder(model)))
    except (NegOptError, OSError):
        return ""


def _weights_by_name() -> dict[str, str]:
    """For each folder that holds weights, one of its files: both relative to a models folder."""
    found: dict[str, str] = {}
    for file in host.weight_files():
        path = PurePath(file)
        name = path.parent.as_posix()
        if name != "." and path.name.startswith("model"):
            found.setdefault(name, file)
    return dict(sorted(found.items()))
