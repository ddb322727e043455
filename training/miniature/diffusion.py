"""The diffusion model: text encoder and UNet, trained together on latents and captions.

v-prediction on the scaled linear schedule, rescaled to zero terminal SNR, so that a picture can begin in
pure noise and be as dark or as bright as its caption says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .captions import caption
from .stage import Stage, rng_of
from .tokenizer import LENGTH
from .world import Scene

UNCONDITIONED = 0.12
"""Share of captions that are left out, for classifier-free guidance."""


def new_scheduler() -> UniPCMultistepScheduler:
    """UniPC (Zhao et al. 2023, arXiv:2302.04867), made for few steps."""
    return UniPCMultistepScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def text_config(tokenizer: CLIPTokenizer, width: int, layers: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        hidden_act="gelu",
        # the text is pooled at this very token: the default belongs to OpenAI's vocabulary
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def new_text_encoder(tokenizer: CLIPTokenizer, width: int, layers: int) -> CLIPTextModel:
    encoder = CLIPTextModel(text_config(tokenizer, width, layers))
    encoder.set_attn_implementation("eager")  # as in the UNet
    return encoder


def new_unet(latent_size: int, latent_channels: int, widths: tuple[int, ...], text_width: int) -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=["CrossAttnDownBlock2D"] * len(widths),
        up_block_types=["CrossAttnUpBlock2D"] * len(widths),
        block_out_channels=widths,
        layers_per_block=1,
        cross_attention_dim=text_width,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    # so few positions and so small heads: plain products are twice as fast as the fused attention on a CPU
    unet.set_attn_processor(AttnProcessor())
    return unet


def token_ids(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> torch.Tensor:
    """(n, LENGTH) ids, padded and cut as diffusers does."""
    encoded = tokenizer(list(texts), padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    ids: torch.Tensor = encoded.input_ids
    return ids


def train_diffusion(
    folder: Path,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    latents: torch.Tensor,
    scenes: Sequence[Scene],
    *,
    name: str,
    steps: int,
    batch: int,
    learning_rate: float,
    bf16: bool,
    minutes: float | None,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Text encoder and UNet on `latents` (count, channels, h, w), scaled, of `scenes`; see `Stage`, whose folder is
    called `name`."""
    alphas = new_scheduler().alphas_cumprod
    model = torch.nn.ModuleDict({"unet": unet, "text_encoder": text_encoder})

    def loss_of(picked: np.ndarray, texts: Sequence[str], times: torch.Tensor) -> torch.Tensor:
        clean = latents[picked].float()
        noise = torch.randn_like(clean)
        signal = alphas[times].sqrt().view(-1, 1, 1, 1)
        sigma = (1 - alphas[times]).sqrt().view(-1, 1, 1, 1)
        noisy, velocity = signal * clean + sigma * noise, signal * noise - sigma * clean
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            meaning = text_encoder(token_ids(tokenizer, texts)).last_hidden_state
            predicted = unet(noisy, times, meaning).sample
        return torch.nn.functional.mse_loss(predicted.float(), velocity)

    def loss(step: int) -> torch.Tensor:
        rng = rng_of(3, step)
        picked = rng.integers(len(scenes), size=batch)
        texts = ["" if rng.random() < UNCONDITIONED else caption(scenes[i], rng) for i in picked]
        return loss_of(picked, texts, torch.from_numpy(rng.integers(len(alphas), size=batch)))

    stage = Stage(folder / name, model, steps=steps, learning_rate=learning_rate, every=200, facts=facts)
    return stage.run(loss, minutes)
