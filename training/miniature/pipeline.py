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

from .album import as_bytes
from .diffusion import new_scheduler

STEPS, GUIDANCE = 8, 3.0


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


def open_pipeline(folder: Path) -> StableDiffusionPipeline:
    """The pipeline in single precision, as fast as it gets on a CPU."""
    pipeline: StableDiffusionPipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.set_attn_processor(AttnProcessor())
    return pipeline


def initial_noise(pipeline: StableDiffusionPipeline, seeds: Sequence[int]) -> torch.Tensor:
    """Of each seed its own noise, (n, channels, h, w), whatever else is in the batch."""
    size = pipeline.unet.config.sample_size
    shape = (pipeline.unet.config.in_channels, size, size)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


@torch.no_grad()
def make_pictures(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    negatives: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    batch: int = 64,
    bf16: bool = True,
) -> NDArray[np.uint8]:
    """One picture for each (prompt, negative prompt, seed): (n, h, w, 3) bytes."""
    made = []
    for start in range(0, len(prompts), batch):
        part = slice(start, start + batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            latents = pipeline(
                list(prompts[part]),
                negative_prompt=list(negatives[part]),
                latents=initial_noise(pipeline, seeds[part]),
                num_inference_steps=steps,
                guidance_scale=guidance,
                output_type="latent",
            ).images
            decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
        made.append(as_bytes(decoded))
    return np.concatenate(made)
