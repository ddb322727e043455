"""The whole miniature from nothing: pictures, autoencoder, diffusion model, judges.

`Build(out, plan).run()` leaves in OUT

    checkpoint/             a StableDiffusionPipeline: vae, text_encoder, tokenizer, unet, scheduler
    judges/clip/            CLIPModel, its tokenizer, and the aesthetics head (aesthetics.safetensors)
    judges/classifier/      subject and style
    judges/defect-classifier/
    build.json              what was measured on the way
    work/                   painted pictures and the state of each stage

all weights in half precision. Killed at any moment, the same call goes on where it was. What has been
learned on top of an encoder belongs to that encoder: a stage refuses to resume on another one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from negopt.errors import ModelError, OptionError
from training.atomic import replace_folder, write_text

from .album import Album, as_bytes
from .captions import caption
from .diffusion import new_text_encoder, new_unet, train_diffusion
from .judges import (
    CLASSES,
    AestheticsHead,
    Views,
    new_classifier,
    new_clip,
    save_classifier,
    save_clip,
    save_head,
    train_aesthetics,
    train_classifier,
    train_clip,
)
from .pipeline import save_pipeline
from .plan import Plan
from .stage import rng_of
from .tokenizer import learn_tokenizer, open_tokenizer
from .vae import encode_all, new_vae, reconstruct, train_vae
from .world import DEFECTS, SIZE

STAGES = ("vae", "unet", "clip", "aesthetics", "classifiers")
BEGUN = "begun.json"


class Build:
    """One build in a folder."""

    def __init__(self, out: Path, plan: Plan, minutes: float | None = None):
        """`minutes`: at most so long per stage; what it has learned by then is used as it is."""
        self.out, self.plan, self.minutes = out, plan, minutes
        self.work = out / "work"
        self.bf16 = plan.bf16 and torch.cpu._is_avx512_bf16_supported()

    def run(self, stages: Sequence[str] = STAGES) -> dict[str, Any]:
        """The stages in their order; returns what they measured (also in OUT/build.json)."""
        for stage in stages:
            if stage not in STAGES:
                raise OptionError(f"no stage {stage!r}; there are {', '.join(STAGES)}")
        doers: dict[str, Callable[[], dict[str, Any]]] = {
            "vae": self._vae,
            "unet": self._unet,
            "clip": self._clip,
            "aesthetics": self._aesthetics,
            "classifiers": self._classifiers,
        }
        for stage in STAGES:
            if stage in stages:
                torch.manual_seed(self.plan.seed)
                self._note(stage, doers[stage]())
        return self.notes()

    def begin(self, world: Path) -> None:
        """Go on from the networks of the finished miniature in `world`: its autoencoder and its judges are this one's
        until their stages train others, and its UNet learns on. Does nothing where that was done before."""
        if (self.work / BEGUN).exists():
            return
        try:
            shutil.copytree(world / "checkpoint", self.out / "checkpoint", dirs_exist_ok=True)
            shutil.copytree(world / "judges", self.out / "judges", dirs_exist_ok=True)
            notes = json.loads((world / "build.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{world} is no finished miniature ({error})") from error
        with replace_folder(self.work / "vae") as fresh:
            shutil.copy(world / "checkpoint" / "vae" / "config.json", fresh / "config.json")
            weights = load_file(world / "checkpoint" / "vae" / "diffusion_pytorch_model.safetensors")
            save_file({name: weight.float() for name, weight in weights.items()}, fresh / "weights.safetensors")
        with replace_folder(self.work / "tokenizer") as fresh:
            shutil.copytree(world / "checkpoint" / "tokenizer", fresh, dirs_exist_ok=True)
        weights = load_file(world / "judges" / "clip" / "model.safetensors")
        save_file({name: weight.float() for name, weight in weights.items()}, self.work / "clip.safetensors")
        write_text(self.out / "build.json", json.dumps(notes, indent=1) + "\n")
        write_text(self.work / BEGUN, json.dumps(notes, indent=1) + "\n")

    def _begun(self) -> dict[str, Any]:
        """The notes of the miniature that this one began as, if any."""
        path = self.work / BEGUN
        return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}

    def notes(self) -> dict[str, Any]:
        path = self.out / "build.json"
        return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}

    def _note(self, stage: str, measured: dict[str, Any]) -> None:
        write_text(self.out / "build.json", json.dumps({**self.notes(), stage: measured}, indent=1) + "\n")

    @cached_property
    def album(self) -> Album:
        return Album(self.work / "pictures", self.plan.seed, self.plan.pictures)

    @cached_property
    def test(self) -> Album:
        return Album(self.work / "pictures", self.plan.seed + 1, self.plan.test_pictures)

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        """Learned from captions once, then read from OUT/work."""
        folder = self.work / "tokenizer"
        if not folder.exists():
            texts = [caption(scene, rng_of(8, i)) for i, scene in enumerate(self.album.scenes[:20_000])]
            with replace_folder(folder) as fresh:
                learn_tokenizer(texts).save_pretrained(fresh)
        return open_tokenizer(folder)

    def _vae(self) -> dict[str, Any]:
        """With as few latent channels as reach the plan's PSNR."""
        plan, measured = self.plan, {}
        for channels in plan.latent_channels:
            torch.manual_seed(plan.seed)
            vae = new_vae(channels, plan.vae_widths)
            measured = train_vae(
                self.work,
                vae,
                self.album,
                self.test,
                goal=plan.psnr,
                minutes=self.minutes,
                steps=plan.vae_steps,
                decoder_steps=plan.decoder_steps,
                batch=plan.vae_batch,
                learning_rate=plan.vae_rate,
                bf16=self.bf16,
            )
            if measured["finished"]:
                with replace_folder(self.work / "vae") as fresh:
                    weights = {name: weight.contiguous() for name, weight in vae.state_dict().items()}
                    save_file(weights, fresh / "weights.safetensors")
                    (fresh / "config.json").write_text(vae.to_json_string(), "utf-8")
            if not measured["finished"] or measured["psnr"] >= plan.psnr:
                break
        return {"latent_channels": channels, **measured}

    @cached_property
    def vae(self) -> AutoencoderKL:
        """As its stage left it, in full precision."""
        folder = self.work / "vae"
        if not folder.exists():
            raise ModelError(f"{self.out} has no finished autoencoder yet; run the stage vae first")
        config = json.loads((folder / "config.json").read_text("utf-8"))
        vae = new_vae(config["latent_channels"], tuple(config["block_out_channels"]))
        vae.register_to_config(scaling_factor=config["scaling_factor"])
        vae.load_state_dict(load_file(folder / "weights.safetensors"))
        return vae.eval()

    def _cached(
        self, name: str, modules: Sequence[torch.nn.Module | None], make: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """An array that follows from the weights of `modules`, made once and kept in OUT/work."""
        path = self.work / f"{name}-{_fingerprint(*modules)}.npy"
        if not path.exists():
            fresh = path.with_suffix(".tmp")
            with fresh.open("wb") as file:
                np.save(file, make())
            fresh.replace(path)
        array: np.ndarray = np.load(path)
        return array

    def _unet(self) -> dict[str, Any]:
        plan, vae = self.plan, self.vae
        encoder = (vae.encoder, vae.quant_conv)
        latents = self._cached("latents", encoder, lambda: encode_all(vae, self.album, self.bf16).numpy())
        text_encoder = new_text_encoder(self.tokenizer, plan.text_width, plan.text_layers)
        factor = 2 ** (len(plan.vae_widths) - 1)
        unet = new_unet(SIZE // factor, vae.config["latent_channels"], plan.unet_widths, plan.text_width)
        begun = self._begun().get("unet")
        phases = [("unet", plan.unet_steps, plan.unet_rate), ("unet-fine", plan.fine_steps, plan.fine_rate)]
        if begun:
            phases = phases[1:]
            for name, module in (("unet", unet), ("text_encoder", text_encoder)):
                (file,) = (self.out / "checkpoint" / name).glob("*.safetensors")
                module.load_state_dict(load_file(file))
        measured = begun or {"step": 0, "seconds": 0.0}
        for name, steps, rate in phases:
            state = train_diffusion(
                self.work,
                unet,
                text_encoder,
                self.tokenizer,
                torch.from_numpy(latents),
                self.album.scenes,
                name=name,
                steps=steps,
                batch=plan.unet_batch,
                learning_rate=rate,
                bf16=self.bf16,
                minutes=self.minutes,
                facts={"encoder": _fingerprint(*encoder), "widths": list(plan.unet_widths)},
            )
            phase = _summary(state)
            measured = {**phase, **{key: measured[key] + phase[key] for key in ("step", "seconds")}}
        save_pipeline(self.out / "checkpoint", vae, text_encoder, self.tokenizer, unet)
        return measured

    @cached_property
    def views(self) -> tuple[Views, Views]:
        """What the judges learn from, and what they are tested on."""
        vae, count = self.vae, self.plan.rebuilt_pictures
        rebuilt = []
        for name, album in (("rebuilt", self.album), ("rebuilt-test", self.test)):
            made = self._cached(name, (vae,), lambda album=album: self._rebuild(album, count))  # type: ignore[misc]
            rebuilt.append(Views(album.scenes, album.pictures, made))
        return rebuilt[0], rebuilt[1]

    def _rebuild(self, album: Album, count: int) -> np.ndarray:
        indices = np.arange(min(count, len(album)))
        parts = np.array_split(indices, max(1, len(indices) // 64))
        return np.concatenate([as_bytes(reconstruct(self.vae, album.batch(part), self.bf16)) for part in parts])

    def _facts(self) -> dict[str, Any]:
        return {"vae": _fingerprint(self.vae)}

    def _clip(self) -> dict[str, Any]:
        plan = self.plan
        clip = new_clip(self.tokenizer, plan.clip_width, plan.clip_layers, plan.embedding)
        state = train_clip(
            self.work,
            clip,
            self.tokenizer,
            *self.views,
            steps=plan.clip_steps,
            batch=plan.clip_batch,
            learning_rate=plan.clip_rate,
            bf16=self.bf16,
            minutes=self.minutes,
            facts=self._facts(),
        )
        save_file({n: w.detach().contiguous() for n, w in clip.state_dict().items()}, self.work / "clip.safetensors")
        save_clip(self.out / "judges" / "clip", clip, self.tokenizer)
        return _summary(state)

    def _aesthetics(self) -> dict[str, Any]:
        """The head on the CLIP of the stage before."""
        plan = self.plan
        clip = new_clip(self.tokenizer, plan.clip_width, plan.clip_layers, plan.embedding)
        weights = self.work / "clip.safetensors"
        if not weights.exists():
            raise ModelError(f"{self.out} has no CLIP yet; run the stage clip first")
        clip.load_state_dict(load_file(weights))
        head = AestheticsHead(plan.embedding)
        state = train_aesthetics(
            self.work,
            head,
            clip.eval(),
            *self.views,
            steps=plan.head_steps,
            minutes=self.minutes,
            facts={"clip": _fingerprint(clip)},
        )
        save_head(self.out / "judges" / "clip", head)
        return _summary(state)

    def _classifiers(self) -> dict[str, Any]:
        """Of subject and style, and of defects."""
        plan, measured = self.plan, {}
        for name, labels in (("classifier", CLASSES), ("defect-classifier", tuple(DEFECTS))):
            model = new_classifier(labels, plan.classifier_widths, several=labels is not CLASSES)
            state = train_classifier(
                self.work,
                model,
                *self.views,
                steps=plan.classifier_steps,
                batch=plan.classifier_batch,
                learning_rate=plan.classifier_rate,
                bf16=self.bf16,
                minutes=self.minutes,
                facts=self._facts(),
            )
            save_classifier(self.out / "judges" / name, model)
            measured[name] = _summary(state)
        return measured


def _summary(state: dict[str, Any]) -> dict[str, Any]:
    """How far a stage came and what it measured last."""
    last = state["history"][-1] if state["history"] else {}
    return {**last, "step": state["step"], "seconds": round(state["seconds"], 1)}


def _fingerprint(*modules: torch.nn.Module | None) -> str:
    """Of the weights: what was learned on other weights is of no use."""
    digest = hashlib.sha256()
    for module in filter(None, modules):
        for name, weight in sorted(module.state_dict().items()):
            digest.update(name.encode() + weight.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
