"""The numbers of a build: how large every network is and how long it learns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a build gives. All batches are of one optimizer step."""

    pictures: int = 60_000
    test_pictures: int = 1_000
    seed: int = 0

    latent_channels: tuple[int, ...] = (4, 8)
    """Tried in this order until one reaches `psnr`."""
    vae_widths: tuple[int, ...] = (16, 32, 64)
    psnr: float = 25.0
    """dB on unseen pictures at which the encoder is good enough; the decoder then goes on alone."""
    vae_steps: int = 20_000
    decoder_steps: int = 1_300
    vae_batch: int = 16
    vae_rate: float = 2e-3

    text_width: int = 96
    text_layers: int = 2
    unet_widths: tuple[int, ...] = (64, 128)
    unet_steps: int = 15_000
    unet_batch: int = 32
    unet_rate: float = 1e-3
    fine_steps: int = 3_000
    fine_rate: float = 3e-4
    """The UNet's last steps are smaller."""

    clip_width: int = 128
    clip_layers: int = 4
    embedding: int = 128
    clip_steps: int = 4_500
    clip_batch: int = 128
    clip_rate: float = 1e-3
    head_steps: int = 3_000
    classifier_widths: tuple[int, ...] = (32, 64, 128)
    classifier_steps: int = 5_500
    classifier_batch: int = 64
    classifier_rate: float = 2e-3
    rebuilt_pictures: int = 20_000
    """The judges see so many of the pictures through the autoencoder, too."""

    bf16: bool = True
    """Compute in bfloat16 where the processor has instructions for it."""


TINY = Plan(
    pictures=64,
    test_pictures=24,
    vae_widths=(8, 8, 8),
    latent_channels=(4,),
    psnr=99.0,
    vae_steps=4,
    decoder_steps=2,
    vae_batch=4,
    text_width=16,
    text_layers=1,
    unet_widths=(8, 16),
    unet_steps=4,
    unet_batch=4,
    fine_steps=2,
    clip_width=16,
    clip_layers=1,
    embedding=8,
    clip_steps=3,
    clip_batch=8,
    head_steps=3,
    classifier_widths=(8, 8),
    classifier_steps=3,
    classifier_batch=8,
    rebuilt_pictures=32,
    bf16=False,
)
"""All stages in a few seconds, for tests; its pictures are noise."""
