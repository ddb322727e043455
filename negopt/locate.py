"""Finding a model: the bundled one, a folder, a name in a models folder, or a Hugging Face Hub id.

Only finds the folder; `generator.py` opens it. A Hub model that is in the cache is found without any
network, and nothing but the files that are needed is ever downloaded: weights in safetensors, config,
tokenizer. No pickle, no code.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from .errors import ModelError
from .paths import expanded, is_file, is_folder

log = logging.getLogger(__name__)

BUNDLED = Path(__file__).parent / "models" / "negopt-mini"
MODELS_VARIABLE = "NEGOPT_MODELS"
"""Environment variable with more folders that hold models, separated as in PATH."""

CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"
SETTINGS = "negopt.json"
PREFERENCE = "preference.safetensors"
INDEX = WEIGHTS + ".index.json"
_HUB_FILES = [CONFIG, TOKENIZER, SETTINGS, PREFERENCE, INDEX, "model*.safetensors"]
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.ckpt")


def locate(model: str | os.PathLike[str] | None = None, folders: Sequence[Path] = (), *, download: bool = True) -> Path:
    """The folder of a model.

    `model`: None or "" for the bundled one; a folder; the name of a folder inside one of `folders`,
    of those in the environment variable NEGOPT_MODELS, or beside the bundled model; or a Hub id
    "owner/name", with "@revision" if wanted; with `download` false only if it is in the cache already.
    Raises `ModelError` with what to do.
    """
    if model is None or model == "":
        return _complete(BUNDLED)
    name = os.fspath(model)
    if is_folder(expanded(name)):
        return _complete(expanded(name))
    for folder in [*folders, *_models_folders()]:
        if _is_plain_name(name) and is_folder(folder / name):
            return _complete(folder / name)
    if _HUB_ID.fullmatch(name) and not Path(name).is_absolute():
        return _complete(_from_hub(name, download))
    raise ModelError(
        f"{name}: no such model; give a folder, a name in a models folder "
        f"(set {MODELS_VARIABLE} to add one), or a Hugging Face id such as owner/name"
    )


def available(folders: Sequence[Path] = ()) -> list[str]:
    """Names of the models in `folders` and the models folders, the bundled one first. What cannot be read is passed
    over, and logged."""
    names = [BUNDLED.name]
    for folder in [*folders, *_models_folders()]:
        try:
            entries = sorted(entry.name for entry in folder.iterdir())
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("NegOpt: no models are looked for in %s (%s)", folder, error)
            continue
        names += [name for name in entries if name not in names and is_file(folder / name / CONFIG)]
    return names


def _models_folders() -> list[Path]:
    named = os.environ.get(MODELS_VARIABLE, "")
    return [*(expanded(part) for part in named.split(os.pathsep) if part), BUNDLED.parent]


def _is_plain_name(name: str) -> bool:
    """A single name: nothing that could leave the models folder."""
    return Path(name).name == name and name not in (".", "..")


def _complete(folder: Path) -> Path:
    """The folder, if all of a model's files are in it."""
    for name in (CONFIG, TOKENIZER):
        if not is_file(folder / name):
            raise ModelError(f"{folder / name}: missing, so this folder is not a model that can be opened")
    if not is_file(folder / WEIGHTS) and not is_file(folder / INDEX):
        pickle = next((name for name in _PICKLES if is_file(folder / name)), None)
        if pickle:
            raise ModelError(
                f"{folder / pickle}: pickled weights are never opened, since they can run code; "
                f"convert them to {WEIGHTS} (transformers: save_pretrained(..., safe_serialization=True))"
            )
        raise ModelError(f"{folder / WEIGHTS}: missing, so this folder holds no weights")
    return folder


def _from_hub(name: str, download: bool) -> Path:
    """The snapshot of a Hub model: from the cache where it is whole, else downloaded."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ModelError(f"{name}: not a local model; the package huggingface_hub could look on the Hub") from error

    repository, _, revision = name.partition("@")
    try:
        cached = Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=_HUB_FILES, local_files_only=True)
        )
        return _complete(cached)
    except Exception as error:  # not in the cache, or not whole there; each version raises its own classes
        if not download:
            raise ModelError(f"{name}: not downloaded yet") from error
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=_HUB_FILES))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{name}: neither a local model nor to be had from the Hugging Face Hub ({reason})") from error
