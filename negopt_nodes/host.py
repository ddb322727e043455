"""What ComfyUI provides: folders, embeddings, CLIP's vocabulary, progress, interrupts.

The only file of this room that imports ComfyUI's modules, each where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from ..negopt.clip_tokens import ClipTokenCounter, estimate_tokens
from ..negopt.errors import ModelError

MODELS = "negopt"
"""The folder under `models/`, and its name in extra_model_paths.yaml."""


def register_models_folder() -> None:
    """Let ComfyUI list the safetensors files under `models/negopt`, and wherever else the user keeps models."""
    import folder_paths

    folder_paths.add_model_folder_path(MODELS, str(Path(folder_paths.models_dir) / MODELS))
    paths, _ = folder_paths.folder_names_and_paths[MODELS]
    folder_paths.folder_names_and_paths[MODELS] = (paths, {".safetensors"})


def weight_files() -> list[str]:
    """Paths of all weight files relative to their models folder, from ComfyUI's own cached listing."""
    import folder_paths

    return list(folder_paths.get_filename_list(MODELS))


def full_path(weight_file: str) -> Path | None:
    """Where one of `weight_files` lies."""
    import folder_paths

    path = folder_paths.get_full_path(MODELS, weight_file)
    return Path(path) if path else None


def embedding_name(name: str) -> str | None:
    """How ComfyUI writes the embedding `name`, in any case and with or without prefix; None if it has no such file."""
    import folder_paths

    wanted = name.lower().removeprefix("embedding:")
    for file in folder_paths.get_filename_list("embeddings"):
        path = PurePath(file)
        if path.stem.lower() == wanted:
            return f"embedding:{path.with_suffix('').as_posix()}"
    return None


@lru_cache(maxsize=1)
def clip_tokens() -> Callable[[str], int]:
    """Counts tokens with the CLIP vocabulary that comes with ComfyUI; without one, estimates."""
    import comfy

    for package in map(Path, comfy.__path__):
        folder = package / "sd1_tokenizer"
        try:
            return ClipTokenCounter.from_files(folder / "vocab.json", folder / "merges.txt").count
        except ModelError:
            continue
    return estimate_tokens


def progress(total: int) -> Callable[[], None]:
    """A progress bar on the running node. The function that it returns says that one more is done, and raises
    ComfyUI's own exception when the user has pressed Cancel."""
    import comfy.utils

    bar = comfy.utils.ProgressBar(total)

    def tick() -> None:
        stop_if_cancelled()
        bar.update(1)

    return tick


def stop_if_cancelled() -> None:
    """Raises ComfyUI's own exception when the user has pressed Cancel."""
    import comfy.model_management

    comfy.model_management.throw_exception_if_processing_interrupted()


def blocked(reason: str) -> Any:
    """A value that stops whatever takes it, with this reason on the page."""
    from comfy_execution.graph_utils import ExecutionBlocker

    return ExecutionBlocker(reason)
