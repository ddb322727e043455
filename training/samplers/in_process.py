"""Pictures by diffusers in this process: the checkpoint is loaded once and stays.

Texts are read in plain words: the syntax of hosts, emphasis and <lora:...> included, says nothing to a text encoder.
A picture depends on its own prompt, negative prompt and seed alone: its noise is drawn from its seed, on the CPU, so
that it is the same on every machine and in every batch. Texts are encoded once, and where memory runs out the batch is
halved.
"""

from __future__ import annotations

import inspect
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from negopt.errors import ModelError, OptionError
from negopt.prompt import in_words
from negopt.terms import terms_alone

from .checkpoints import add_loras, is_xl, open_pipeline, quiet, set_scheduler
from .sampler import Picture

TEXTS_KEPT = 1000
"""Texts whose encoding is kept, on the device: 118 MB of Stable Diffusion 1.5's in fp16, 315 MB of SDXL's. Prompts and
negatives come again soon, in one step or for one approach; encoding one costs a thousandth of a picture."""
PIXELS_TOGETHER, MOST_TOGETHER = 2**21, 64
"""What a batch has by default: 8 pictures of 512 x 512, 2 of 1024 x 1024, and no more than 64."""
PIXELS_DECODED = 2**20
"""Pixels that the autoencoder decodes at a time: it takes more memory for a picture than the UNet does."""
TRAINED_ON = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
"""What a scheduler's settings say of the checkpoint's training."""


class Text(NamedTuple):
    """A text as the UNet takes it."""

    states: torch.Tensor
    """[L, d]"""
    pooled: torch.Tensor | None
    """[p] of SDXL's second encoder."""


class DiffusersSampler:
    """A `Sampler` that runs a Stable Diffusion pipeline."""

    def __init__(
        self,
        pipeline: Any,
        *,
        name: str = "",
        steps: int = 20,
        guidance: float = 7.0,
        size: tuple[int, int] | None = None,
        batch: int | None = None,
        bf16: bool = False,
        full_batches: bool = False,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        """`pipeline`: a `StableDiffusionPipeline` or `StableDiffusionXLPipeline`.

        `size`: width and height in pixels, by default what the checkpoint was made for. `batch`: the most pictures
        made together, by default what suits their size; a kernel rounds differently in another batch, so only with 1
        is a picture the same to the bit whatever is made beside it. `bf16`: compute in bfloat16 by autocast.
        `full_batches`: fill each batch up, so that the UNet sees one shape only. `record`: what else belongs in the
        description. Raises `OptionError`.
        """
        self.pipeline = pipeline
        self.steps, self.guidance, self.bf16 = steps, guidance, bf16
        self._name, self._full, self._record = name, full_batches, dict(record or {})
        self._scale = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
        own = pipeline.unet.config.sample_size * self._scale
        self.size = size or (own, own)
        fitting = max(1, PIXELS_TOGETHER // max(1, self.size[0] * self.size[1]))
        self.batch = min(MOST_TOGETHER, fitting) if batch is None else batch
        self._encoded: OrderedDict[str, Text] = OrderedDict()
        if min(steps, self.batch) < 1 or not guidance >= 0:
            raise OptionError("steps and batch must be at least 1, and guidance 0 or more")
        unit = max(8, self._scale)
        if min(self.size) < unit or any(side % unit for side in self.size):
            raise OptionError(f"a picture's sides must be multiples of {unit} pixels, not {self.size}")
        pipeline.set_progress_bar_config(disable=True)

    @classmethod
    def open(
        cls,
        checkpoint: str | Path,
        *,
        scheduler: str | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        vram: float | None = None,
        loras: Sequence[tuple[Path, float]] = (),
        tokenizer: Path | None = None,
        compiled: bool = False,
        **settings: Any,
    ) -> DiffusersSampler:
        """The checkpoint in a .safetensors file, a folder in diffusers' layout, or a Hub repository.

        `scheduler`: a name in `checkpoints.SCHEDULERS`, by default the checkpoint's own (DPM++ 2M for a single file).
        `dtype`: by default float32 on a CPU and, as in most hosts, float16 on a GPU. `device`: by default a GPU where
        there is one. `vram`: gigabytes of it that this process may take, by default all. `loras`: files,
        each with its weight. `tokenizer`: folder with CLIP's, for single files. `compiled`: let torch.compile work on
        the UNet, which takes minutes at first. `settings`: the constructor's. Raises `ModelError` and `OptionError`.
        """
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        kind = dtype or (torch.float32 if place.type == "cpu" else torch.float16)
        if vram is not None:
            limit_memory(place, vram)
        pipeline = open_pipeline(checkpoint, dtype=kind, device=place, tokenizer=tokenizer)
        if scheduler:
            set_scheduler(pipeline, scheduler)
        if loras:
            add_loras(pipeline, loras)
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)
        if compiled:
            pipeline.unet = torch.compile(pipeline.unet, dynamic=False)
        record: dict[str, Any] = {} if kind == torch.float32 else {"dtype": str(kind).removeprefix("torch.")}
        if loras:
            record["loras"] = [f"{file.name}:{weight:g}" for file, weight in loras]
        return cls(pipeline, name=str(checkpoint), full_batches=compiled, record=record, **settings)

    @property
    def description(self) -> Mapping[str, Any]:
        width, height = self.size
        return {
            "checkpoint": self._name,
            "steps": self.steps,
            "guidance": self.guidance,
            "scheduler": _described(self.pipeline.scheduler),
            "size": width if width == height else f"{width}x{height}",
            **self._record,
        }

    @torch.inference_mode()
    def sample(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """float32 [B, 3, H, W], 0 to 1, on the CPU. Raises `ModelError` where not even one picture fits in memory."""
        made: list[torch.Tensor] = []
        while pictures:
            part = pictures[: self.batch]
            images = self._try(part)
            if images is not None:
                made.append(images)
                pictures = pictures[len(part) :]
            else:
                self._halve(len(part))
        return torch.cat(made) if made else torch.empty(0, 3, self.size[1], self.size[0])

    def _try(self, pictures: Sequence[Picture]) -> torch.Tensor | None:
        """The pictures, or None if memory ran out: the error, gone on return, would hold on to what took it."""
        try:
            return self._sample(pictures)
        except torch.cuda.OutOfMemoryError:  # as torch before 2.5 calls it, too
            return None

    def _halve(self, tried: int) -> None:
        if tried == 1:
            raise ModelError("out of memory with a single picture: make it smaller, or free memory on the device")
        self.batch = tried // 2
        if self.pipeline.device.type == "cuda":
            torch.cuda.empty_cache()
        print(f"out of memory with {tried} pictures together: going on with {self.batch}", file=sys.stderr)

    def _sample(self, pictures: Sequence[Picture]) -> torch.Tensor:
        wanted = len(pictures)
        if self._full:
            pictures = [*pictures, *[pictures[-1]] * (self.batch - wanted)]
        device = self.pipeline.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            generators = [torch.Generator().manual_seed(picture.seed) for picture in pictures]
            latents = self.pipeline(
                **self._texts([in_words(picture.prompt) for picture in pictures]),
                **self._texts([terms_alone(picture.negative_prompt) for picture in pictures], "negative_"),
                latents=self._noise(generators).to(device, self.pipeline.unet.dtype),
                generator=generators,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                width=self.size[0],
                height=self.size[1],
                output_type="latent",
            ).images[:wanted]
            return self._decode(latents)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [B, c, h, w] to images [B, 3, H, W] on the CPU, some at a time. Raises `ModelError` where they are no
        numbers: judges would give every picture the same score, or none."""
        vae = self.pipeline.vae
        scaled = (latents / vae.config.scaling_factor).to(vae.dtype)
        parts = [
            (vae.decode(part).sample.float() / 2 + 0.5).clamp(0, 1).cpu()
            for part in scaled.split(max(1, PIXELS_DECODED // (self.size[0] * self.size[1])))
        ]
        if not all(part.isfinite().all() for part in parts):
            raise ModelError("the pictures are no numbers, as when half precision overflows: --dtype bf16, or fp32")
        return torch.cat(parts)

    def _noise(self, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """[B, c, h, w], each from its own generator, which goes on to the noise of later steps (LCM)."""
        width, height = self.size
        shape = (self.pipeline.unet.config.in_channels, height // self._scale, width // self._scale)
        return torch.stack([torch.randn(shape, generator=generator) for generator in generators])

    def _texts(self, texts: Sequence[str], prefix: str = "") -> dict[str, torch.Tensor]:
        """The pipeline's arguments for prompts or negative prompts."""
        found = self._encode(texts)
        given = {f"{prefix}prompt_embeds": torch.stack([text.states for text in found])}
        pooled = [text.pooled for text in found if text.pooled is not None]
        return given | ({f"{prefix}pooled_prompt_embeds": torch.stack(pooled)} if pooled else {})

    def _encode(self, texts: Sequence[str]) -> list[Text]:
        """Each text goes through the encoders once. They read its first 77 tokens."""
        new = [text for text in dict.fromkeys(texts) if text not in self._encoded]
        for start in range(0, len(new), self.batch):
            part = new[start : start + self.batch]
            with quiet():
                encoded = self.pipeline.encode_prompt(
                    prompt=part, device=self.pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=False
                )
            pooled = encoded[2] if is_xl(self.pipeline) else [None] * len(part)
            # copies: a view would keep the whole batch alive
            kept = (Text(s.clone(), None if p is None else p.clone()) for s, p in zip(encoded[0], pooled, strict=True))
            self._encoded.update(zip(part, kept, strict=True))
        found = [self._encoded[text] for text in texts]
        while len(self._encoded) > TEXTS_KEPT:
            self._encoded.popitem(last=False)
        return found


def _described(scheduler: Any) -> str:
    """A scheduler's class, and in brackets what it was told that is not the class's default: two of one class make
    other pictures. The noise that the checkpoint was trained on is the checkpoint's own, and left out."""
    known = inspect.signature(type(scheduler)).parameters
    told = [
        f"{name}={value}"
        for name, value in sorted(scheduler.config.items())
        if name in known and name not in TRAINED_ON and value != known[name].default
    ]
    return type(scheduler).__name__ + (f" ({', '.join(told)})" if told else "")


def limit_memory(device: torch.device, gigabytes: float) -> None:
    """Let this process take no more of the GPU's memory; raises `OptionError`."""
    if device.type != "cuda":
        raise OptionError("a limit of GPU memory needs a CUDA device")
    if not gigabytes > 0:
        raise OptionError(f"{gigabytes} GB of GPU memory are too few")
    index = torch.cuda.current_device() if device.index is None else device.index
    total = torch.cuda.get_device_properties(index).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, gigabytes * 1e9 / total), index)
