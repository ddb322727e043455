"""Pictures by diffusers in this process: the checkpoint is loaded once and stays."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from negopt.errors import ModelError

from .sampler import Picture

TEXTS_KEPT = 20_000
"""Texts whose encoding is kept. Prompts and negatives come again and again; encoding is what they share."""


class DiffusersSampler:
    """A `Sampler` that runs a Stable Diffusion pipeline."""

    def __init__(
        self,
        pipeline: Any,
        *,
        name: str = "",
        steps: int = 20,
        guidance: float = 7.0,
        batch: int = 64,
        bf16: bool = False,
    ) -> None:
        """`pipeline`: a `StableDiffusionPipeline`. `bf16`: compute in bfloat16 by autocast.

        Each picture has noise of its own, from its seed, made on the CPU.
        """
        self.pipeline = pipeline
        self.steps, self.guidance, self.batch, self.bf16 = steps, guidance, batch, bf16
        self._name = name
        self._encoded: OrderedDict[str, torch.Tensor] = OrderedDict()
        pipeline.set_progress_bar_config(disable=True)

    @classmethod
    def open(cls, folder: Path, **settings: Any) -> DiffusersSampler:
        """The pipeline in a diffusers folder, safetensors only; raises `ModelError`."""
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such folder, so no Stable Diffusion checkpoint")
        try:
            pipeline: Any = StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True, safety_checker=None)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{folder}: not a Stable Diffusion checkpoint that diffusers opens ({error})") from error
        pipeline.to(torch.float32)  # in whatever precision the files are
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)
        return cls(pipeline, name=str(folder), **settings)

    @property
    def description(self) -> Mapping[str, Any]:
        unet, vae = self.pipeline.unet.config, self.pipeline.vae.config
        return {
            "checkpoint": self._name,
            "steps": self.steps,
            "guidance": self.guidance,
            "scheduler": type(self.pipeline.scheduler).__name__,
            "size": unet.sample_size * 2 ** (len(vae.block_out_channels) - 1),
        }

    @torch.inference_mode()
    def sample(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """float32 [B, 3, H, W], 0 to 1, on the CPU."""
        parts = [pictures[start : start + self.batch] for start in range(0, len(pictures), self.batch)]
        return torch.cat([self._sample(part) for part in parts])

    def _sample(self, pictures: Sequence[Picture]) -> torch.Tensor:
        device = self.pipeline.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            latents = self.pipeline(
                prompt_embeds=self._encode([picture.prompt for picture in pictures]),
                negative_prompt_embeds=self._encode([picture.negative_prompt for picture in pictures]),
                latents=self._noise([picture.seed for picture in pictures]).to(device),
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                output_type="latent",
            ).images
            decoded = self.pipeline.vae.decode(latents / self.pipeline.vae.config.scaling_factor).sample
        images: torch.Tensor = (decoded.float().cpu() / 2 + 0.5).clamp(0, 1)
        return images

    def _noise(self, seeds: Sequence[int]) -> torch.Tensor:
        config = self.pipeline.unet.config
        shape = (config.in_channels, config.sample_size, config.sample_size)
        return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    def _encode(self, texts: Sequence[str]) -> torch.Tensor:
        """[B, L, d]; each text goes through the encoder once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._encoded]
        if new:
            encoded, _ = self.pipeline.encode_prompt(new, self.pipeline.device, 1, do_classifier_free_guidance=False)
            self._encoded.update(zip(new, encoded, strict=True))
        found = torch.stack([self._encoded[text] for text in texts])
        while len(self._encoded) > TEXTS_KEPT:
            self._encoded.popitem(last=False)
        return found
