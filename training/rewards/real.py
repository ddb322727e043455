"""The judges that real pictures are shown to, by the names that --reward takes.

Their networks come from the Hugging Face Hub at pinned revisions, are opened when a judge that needs them is named,
and live on one device in one precision; judges that look through the same CLIP share it. In half precision aesthetics
and alignment take 0.9 GB, fidelity 0.05, PickScore and HPSv2 2.0 each, ImageReward 0.9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from training.hub import Pinned

from .aesthetics import Aesthetics, read_head
from .alignment import Alignment
from .clip import FILES, Clip
from .fidelity import Fidelity
from .inception import Inception
from .judge import Judge, judge_named, register
from .preference import ImageReward, Preference

WEIGHTS = "model.safetensors"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
"""CLIP's: all judges read with the same one."""


CLIP = Pinned("openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41")
LAION = Pinned("ttj/sac-logos-ava1-l14-linearMSE", "1e77fa05081323d99725fc40a9bf9f88180490e7")
"""improved-aesthetic-predictor in safetensors."""
INCEPTION = Pinned("timm/inception_v3.tv_in1k", "9506574")
"""torchvision's weights in safetensors."""
PICKSCORE = Pinned("yuvalkirstain/PickScore_v1", "a4e4367c6dfa7288a00c550414478f865b875800")
HPSV2 = Pinned("RE-N-Y/hpsv21", "496c065")
"""HPSv2.1 in safetensors."""
IMAGEREWARD = Pinned("RE-N-Y/ImageReward", "77c5542")


@dataclass(frozen=True)
class Source:
    """What judges are made from: where their networks are to live, and in which precision."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def on(cls, device: torch.device | str | None = None) -> Source:
        """On `device` (a GPU where there is one), in bfloat16 there and in float32 on a CPU."""
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(place, torch.float32 if place.type == "cpu" else torch.bfloat16)

    def read(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 [B, E]: the embeddings of texts."""
        return self.clip.embed_texts(texts)

    @cached_property
    def clip(self) -> Clip:
        """ViT-L/14, once for all judges that look through it."""
        return self.open_clip(CLIP)

    @cached_property
    def tokenizer(self) -> Path:
        return CLIP.folder(*TOKENIZER)

    def open_clip(self, repository: Pinned) -> Clip:
        return Clip.open(repository.folder(*FILES), self.tokenizer, self.device, self.dtype)


def judges_named(names: Sequence[str], source: Source) -> dict[str, Judge]:
    """The judges of these names; raises `OptionError` for a name that there is not and `ModelError` for a network that
    cannot be had."""
    return {name: judge_named(name, source) for name in names}


def _aesthetics(source: Source) -> Judge:
    head = read_head(LAION.file(WEIGHTS))
    return Aesthetics(source.clip.embed_images, head)


def _fidelity(source: Source) -> Judge:
    file = INCEPTION.file(WEIGHTS)
    return Fidelity(Inception.open(file, source.device, source.dtype).classify)


def _pickscore(source: Source) -> Judge:
    clip = source.open_clip(PICKSCORE)
    return Preference(clip, clip.scale)


def _hpsv2(source: Source) -> Judge:
    file = HPSV2.file(WEIGHTS)
    return Preference(Clip.open_open_clip(file, source.tokenizer, source.device, source.dtype))


register("aesthetics", _aesthetics)
register("alignment", lambda source: Alignment(source.clip.embed_images, source.clip.embed_texts))
register("fidelity", _fidelity)
register("pickscore", _pickscore)
register("hpsv2", _hpsv2)
register("imagereward", lambda source: ImageReward(IMAGEREWARD.file(WEIGHTS), source.device, source.dtype))
