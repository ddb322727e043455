"""The autoencoder: diffusers' AutoencoderKL, four times smaller each way, trained on painted pictures.

First both halves, then the decoder alone with the encoder frozen, so that the latents on which the UNet
learns stay what they were while the pictures still get sharper.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from .album import Album
from .stage import Stage, rng_of
from .world import SIZE

KL_WEIGHT = 1e-5
"""Of the mean over the latent's elements, against a squared error in -1..1."""


def new_vae(latent_channels: int, widths: tuple[int, ...]) -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
        sample_size=SIZE,
        mid_block_add_attention=False,
        scaling_factor=1.0,
        force_upcast=False,
    )


def train_vae(
    folder: Path,
    vae: AutoencoderKL,
    album: Album,
    test: Album,
    *,
    goal: float,
    minutes: float | None,
    steps: int,
    decoder_steps: int,
    batch: int,
    learning_rate: float,
    bf16: bool,
) -> dict[str, Any]:
    """Both halves until the validation PSNR reaches `goal` dB, then the decoder alone; see `Stage` for
    the rest. Sets the scaling factor. Returns what was measured; "finished" is False when time ran out before
    the encoder was done."""

    def loss(step: int) -> torch.Tensor:
        pictures = album.batch(rng_of(1, step).integers(len(album), size=batch))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            posterior = vae.encode(pictures).latent_dist
            decoded = vae.decode(posterior.sample()).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return _distance(decoded.float(), pictures) + KL_WEIGHT * kl

    def decoder_loss(step: int) -> torch.Tensor:
        pictures = album.batch(rng_of(2, step).integers(len(album), size=batch))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            with torch.no_grad():
                latents = vae.encode(pictures).latent_dist.mode()
            decoded = vae.decode(latents).sample
        return _distance(decoded.float(), pictures)

    def evaluate() -> dict[str, float]:
        return {"psnr": psnr(vae, test, bf16=bf16)}

    channels = vae.config["latent_channels"]
    both = Stage(
        folder / f"vae-{channels}",
        vae,
        steps=steps,
        learning_rate=learning_rate,
        evaluate=evaluate,
        goal=lambda measured: measured["psnr"] >= goal,
        facts={"widths": list(vae.config["block_out_channels"])},
    )
    first = both.run(loss, minutes)
    if not first["done"]:
        return {
            "encoder_steps": first["step"],
            "seconds": first["seconds"],
            "psnr": evaluate()["psnr"],
            "finished": False,
        }
    decoder = Stage(
        folder / f"vae-{channels}-decoder",
        torch.nn.ModuleList(filter(None, [vae.post_quant_conv, vae.decoder])),
        steps=decoder_steps,
        learning_rate=learning_rate / 2,
        evaluate=evaluate,
        facts={"encoder_steps": first["step"]},
    )
    second = decoder.run(decoder_loss, minutes)
    vae.register_to_config(scaling_factor=_scaling_factor(vae, album))
    return {
        "encoder_steps": first["step"],
        "decoder_steps": second["step"],
        "seconds": first["seconds"] + second["seconds"],
        "psnr": evaluate()["psnr"],
        "finished": True,
    }


def _distance(decoded: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """Squared error for the PSNR, some absolute error for edges."""
    error = decoded - pictures
    return error.square().mean() + 0.05 * error.abs().mean()


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, pictures: torch.Tensor, bf16: bool = False, size: int = 64) -> torch.Tensor:
    """Through the bottleneck and back: (n, 3, h, w), -1..1."""
    parts = []
    for part in pictures.split(size):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            parts.append(vae.decode(vae.encode(part).latent_dist.mode()).sample.float())
    return torch.cat(parts)


def psnr(vae: AutoencoderKL, album: Album, *, bf16: bool = False, count: int = 512) -> float:
    """dB of the squared error over all of the album's first `count` pictures together. (The mean of each picture's
    own dB is higher, since it makes little of the hard ones.)"""
    pictures = album.batch(np.arange(min(count, len(album))))
    error = (reconstruct(vae, pictures, bf16).clamp(-1, 1) - pictures).square().mean().item() / 4
    return float(-10 * np.log10(error))


@torch.no_grad()
def encode_all(vae: AutoencoderKL, album: Album, bf16: bool) -> torch.Tensor:
    """Latents of all pictures, scaled as the UNet sees them: (count, channels, h, w), half precision."""
    parts = []
    for start in range(0, len(album), 256):
        pictures = album.batch(np.arange(start, min(start + 256, len(album))))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            latents = vae.encode(pictures).latent_dist.mode().float()
        parts.append((latents * vae.config["scaling_factor"]).half())
    return torch.cat(parts)


@torch.no_grad()
def _scaling_factor(vae: AutoencoderKL, album: Album) -> float:
    """What brings the latents to a standard deviation of 1."""
    latents = vae.encode(album.batch(np.arange(min(1024, len(album))))).latent_dist.mode()
    return 1.0 / latents.float().std().item()
