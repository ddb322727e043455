"""Opening a Stable Diffusion checkpoint for diffusers, wherever it is: one file, a folder, the Hub.

Safetensors only; no code that comes with a checkpoint is run. Knows nothing of how pictures are asked for.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from negopt.errors import ModelError, OptionError
from training.hub import Pinned, pinned

from .single_file import open_single_file

CLIP_TOKENIZER = Pinned("openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41")
"""For single files, which hold none."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
FAMILIES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")

SCHEDULERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    "dpm++2m": ("DPMSolverMultistepScheduler", {}),
    "dpm++2m-karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}
"""By the names of --scheduler: diffusers' class, and what it is told beside the checkpoint's own noise schedule."""


def open_pipeline(
    checkpoint: str | Path, *, dtype: torch.dtype, device: torch.device, tokenizer: Path | None = None
) -> Any:
    """The pipeline of a single .safetensors file, of a folder in diffusers' layout, or of a Hub id "owner/name", with
    "@revision" to pin it; its weights as `dtype` on `device`.

    `tokenizer`: folder with CLIP's, for single files; by default it is had from the Hub. Raises `ModelError`.
    """
    with quiet():
        pipeline = _open(checkpoint, dtype, tokenizer)
        if dtype == torch.float16 and is_xl(pipeline) and pipeline.vae.config.force_upcast:
            pipeline.vae.to(torch.float32)  # its activations leave the range of float16
        return pipeline.to(device)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' warnings (of weights cast, of texts cut at CLIP's length) and diffusers' progress bars.

    Those of transformers stay: switching them off takes the Hub's with them, and a download must show.
    """
    libraries = (diffusers_logging, transformers_logging)
    before = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch_dtype, for which older versions have no other name
            yield
    finally:
        for library, verbosity in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
        diffusers_logging.enable_progress_bar()


def is_xl(pipeline: Any) -> bool:
    """Whether the pipeline has SDXL's two text encoders."""
    return hasattr(pipeline, "text_encoder_2")


def set_scheduler(pipeline: Any, name: str) -> None:
    """Let the scheduler of that name make the steps; raises `OptionError` naming those there are."""
    if name not in SCHEDULERS:
        raise OptionError(f"there is no scheduler {name!r}; there are: {', '.join(SCHEDULERS)}")
    kind, settings = SCHEDULERS[name]
    pipeline.scheduler = getattr(diffusers, kind).from_config(pipeline.scheduler.config, **settings)


def add_loras(pipeline: Any, loras: Sequence[tuple[Path, float]]) -> None:
    """Melt LoRAs into the weights, each times its own weight; raises `ModelError`."""
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise ModelError("a LoRA needs the library peft: pip install peft") from error
    for file, weight in loras:
        if file.suffix != ".safetensors" or not file.is_file():
            raise ModelError(f"{file}: not a .safetensors file, so no LoRA that is opened")
        try:
            pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name="lora")
            pipeline.fuse_lora(lora_scale=weight)
            pipeline.unload_lora_weights()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"{file}: not a LoRA for this checkpoint ({reason})") from error


def _open(checkpoint: str | Path, dtype: torch.dtype, tokenizer: Path | None) -> Any:
    path = Path(checkpoint).expanduser()
    if path.is_file():
        return open_single_file(path, tokenizer or CLIP_TOKENIZER.folder(*TOKENIZER_FILES), dtype)
    if path.is_dir():
        return _open_folder(path, dtype)
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", str(checkpoint)):
        return _open_folder(_download(pinned(str(checkpoint))), dtype)
    raise ModelError(
        f"{checkpoint}: no such Stable Diffusion checkpoint; give a .safetensors file, "
        "a folder in diffusers' layout, or a Hugging Face id such as owner/name"
    )


def _open_folder(folder: Path, dtype: torch.dtype) -> Any:
    try:
        kind = json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("_class_name")
        if kind not in FAMILIES:
            raise ValueError(f"it is a {kind}")
        optional = {} if kind == FAMILIES[1] else {"safety_checker": None, "requires_safety_checker": False}
        return DiffusionPipeline.from_pretrained(
            str(folder), torch_dtype=dtype, use_safetensors=True, local_files_only=True, **optional
        )
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{folder}: not a Stable Diffusion checkpoint that diffusers opens ({reason})") from error


def _download(repository: Pinned) -> Path:
    """The folder of a Hub repository, from the cache where it is whole there."""
    from huggingface_hub import snapshot_download

    try:
        wanted: dict[str, Any] = {
            "revision": repository.commit(),
            "allow_patterns": ["*.json", "*.txt", "*/model*.safetensors", "*/diffusion_*.safetensors"],
            "ignore_patterns": ["*.fp16.safetensors", "*.non_ema.safetensors", "safety_checker/*"],
        }
        try:
            folder = Path(snapshot_download(repository.repository, local_files_only=True, **wanted))
            if all(any((folder / part).glob("*.safetensors")) for part in ("unet", "vae", "text_encoder")):
                return folder
        except Exception:  # not in the cache; each version raises its own classes
            pass
        return Path(snapshot_download(repository.repository, **wanted))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{repository.repository}: no Stable Diffusion checkpoint here, nor to be had from the Hub ({reason})"
        ) from error
