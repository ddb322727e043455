"""The checkpoint as diffusers' own `StableDiffusionPipeline`: writing it, opening it, making pictures with it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from numpy.typing import NDArray
from transformers import CLIPTextModel, CLIPTokenizer

from training.atomic import replace_folder
from training.samplers import Picture
from training.samplers.in_process import DiffusersSampler

from .album import as_bytes
from .diffusion import new_scheduler

STEPS, GUIDANCE = 8, 4.0


def save_pipeline(
    folder: Path, vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: UNet2DConditionModel
) -> None:
    """Write the folder anew, in half precision; the modules in memory keep theirs."""
    parts: dict[str, Any] = {"vae": vae, "text_encoder": text_encoder, "unet": unet}
    for name, module in parts.items():
        parts[name] = deepcopy(module).half()
    parts |= {"tokenizer": tokenizer, "scheduler": new_scheduler()}
    parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipeline: Any = StableDiffusionPipeline(**parts)
    with replace_folder(folder) as fresh:
        pipeline.save_pretrained(fresh, safe_serialization=True)


def open_sampler(
    folder: Path, *, steps: int = STEPS, guidance: float = GUIDANCE, bf16: bool | None = None
) -> DiffusersSampler:
    """Who makes the miniature's pictures, from a pipeline folder, as fast as it gets on a CPU."""
    bf16 = torch.cpu._is_avx512_bf16_supported() if bf16 is None else bf16
    sampler = DiffusersSampler.open(
        folder, device="cpu", dtype=torch.float32, steps=steps, guidance=guidance, bf16=bf16
    )
    sampler.pipeline.unet.set_attn_processor(AttnProcessor())
    sampler.pipeline.unet.to(memory_format=torch.contiguous_format)
    sampler.pipeline.vae.to(memory_format=torch.contiguous_format)
    return sampler


def make_pictures(
    sampler: DiffusersSampler, prompts: Sequence[str], negatives: Sequence[str], seeds: Sequence[int]
) -> NDArray[np.uint8]:
    """One picture for each (prompt, negative prompt, seed): (n, h, w, 3) bytes."""
    asked = [Picture(*one) for one in zip(prompts, negatives, seeds, strict=True)]
    return as_bytes(sampler.sample(asked) * 2 - 1)
