"""Pictures by diffusers in this process: the checkpoint is loaded once and stays.

A picture depends on its own prompt, negative prompt and seed alone: its noise is drawn from its seed, on the CPU, so
that it is the same on every machine and in every batch. Where memory runs out the batch is halved.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from negopt.errors import ModelError, OptionError
from training.digest import digest_of_files
from training.memory import ran_out

from .checkpoints import add_loras, open_pipeline, set_scheduler
from .sampler import Picture
from .texts import TextEncoder

PIXELS_TOGETHER, MOST_TOGETHER = 2**21, 64
"""What a batch has by default: 8 pictures of 512 x 512, 2 of 1024 x 1024, and no more than 64."""
PIXELS_DECODED = 2**20
"""Pixels that the autoencoder decodes at a time: it takes more memory for a picture than the UNet does."""
TRAINED_ON = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
"""What a scheduler's settings say of the checkpoint's training."""


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
        reads_like: str = "a1111",
        clip_skip: int = 1,
        embeddings: Sequence[Path] = (),
        record: Mapping[str, Any] | None = None,
    ) -> None:
        """`pipeline`: a `StableDiffusionPipeline` or `StableDiffusionXLPipeline`.

        `size`: width and height in pixels, by default what the checkpoint was made for. `batch`: the most pictures
        made together, by default what suits their size; a kernel rounds differently in another batch, so only with 1
        is a picture the same to the bit whatever is made beside it. `bf16`: compute in bfloat16 by autocast.
        `full_batches`: fill each batch up, so that the UNet sees one shape only (of texts of one length). `reads_like`,
        `clip_skip` and `embeddings`: see `TextEncoder`. `record`: what else belongs in the description. Raises
        `OptionError` and `ModelError`.
        """
        self.pipeline = pipeline
        self.steps, self.guidance, self.bf16 = steps, guidance, bf16
        self._name, self._full = name, full_batches
        self._record = {**(record or {}), "texts": f"as {reads_like} reads them"}
        if clip_skip > 1:
            self._record["clip skip"] = clip_skip
        self._scale = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
        own = pipeline.unet.config.sample_size * self._scale
        self.size = size or (own, own)
        fitting = max(1, PIXELS_TOGETHER // max(1, self.size[0] * self.size[1]))
        self.batch = min(MOST_TOGETHER, fitting) if batch is None else batch
        self._texts = TextEncoder(pipeline, reads_like, clip_skip, embeddings)
        if self._texts.embeddings:
            self._record["embeddings"] = self._texts.embeddings
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
            record["loras"] = {f"{file.name}:{weight:g}": digest_of_files([file]) for file, weight in loras}
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
        images = torch.empty(len(pictures), 3, self.size[1], self.size[0])
        for places in self._by_length(pictures):
            while places:
                part = places[: self.batch]
                made = self._try([pictures[place] for place in part])
                if made is None:
                    self._halve(self.batch if self._full else len(part))
                else:
                    images[part] = made
                    places = places[len(part) :]
        return images

    def _by_length(self, pictures: Sequence[Picture]) -> Iterable[list[int]]:
        """Where the pictures stand whose texts are of one length to the UNet: those of a batch must be."""
        places: defaultdict[int, list[int]] = defaultdict(list)
        for place, picture in enumerate(pictures):
            places[math.lcm(*map(self._texts.passages, picture[:2]))].append(place)
        return places.values()

    def _try(self, pictures: Sequence[Picture]) -> torch.Tensor | None:
        """The pictures, or None if memory ran out: the error, gone on return, would hold on to what took it."""
        try:
            return self._sample(pictures)
        except RuntimeError as error:
            if not ran_out(error):
                raise
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
                **self._read(pictures),
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

    def _read(self, pictures: Sequence[Picture]) -> dict[str, torch.Tensor]:
        """The pipeline's arguments for prompts and negative prompts.

        Where one has more passages than the other each is said as often as makes them equally long: attention to a
        text does not change when all of it is repeated.
        """
        sides = {
            "prompt": self._texts.encode([picture.prompt for picture in pictures], self.batch),
            "negative_prompt": self._texts.encode([picture.negative_prompt for picture in pictures], self.batch),
        }
        length = math.lcm(*(len(text.states) for texts in sides.values() for text in texts))
        given = {}
        for side, texts in sides.items():
            repeated = [text.states.repeat(length // len(text.states), 1) for text in texts]
            given[f"{side}_embeds"] = torch.stack(repeated)
            pooled = [text.pooled for text in texts if text.pooled is not None]
            if pooled:
                given[side.replace("prompt", "pooled_prompt_embeds")] = torch.stack(pooled)
        return given


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
