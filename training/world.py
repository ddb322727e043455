"""Opening a world: who makes the pictures (`--sampler`) and who judges them (`--judges`), for every command that
needs pictures. The only place that knows all of them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from negopt.errors import OptionError
from negopt.prompt import in_words
from training.digest import digest_of_folder
from training.miniature import BUNDLED

if TYPE_CHECKING:
    import torch

    from training.rewards import Judge
    from training.rl.aspects import Read
    from training.rl.gallery import Gallery
    from training.samplers import Sampler

METRICS = ("aesthetics", "alignment", "fidelity")
"""The paper's."""
MORE = ("pickscore", "hpsv2", "imagereward")
"""What real pictures can be judged by besides."""
MINIATURE, COMFYUI, A1111, REAL = "miniature", "comfyui", "a1111", "real"
CHECKPOINT = "a checkpoint"

APPLIES: Mapping[str, Sequence[str]] = {
    "sampler_steps": (MINIATURE, CHECKPOINT, A1111),
    "guidance": (MINIATURE, CHECKPOINT, A1111),
    "scheduler": (CHECKPOINT,),
    "size": (CHECKPOINT,),
    "dtype": (CHECKPOINT,),
    "device": (CHECKPOINT, COMFYUI, A1111),
    "vram": (CHECKPOINT,),
    "sampler_batch": (CHECKPOINT,),
    "lora": (CHECKPOINT,),
    "embedding": (CHECKPOINT,),
    "reads_like": (CHECKPOINT,),
    "clip_skip": (CHECKPOINT,),
    "tokenizer": (CHECKPOINT,),
    "compiled": (CHECKPOINT,),
    "server": (COMFYUI, A1111),
    "workflow": (COMFYUI,),
    "node": (COMFYUI,),
    "settings": (A1111,),
    "api_auth": (A1111,),
}
"""Which samplers have a setting: one that would be passed over is an error."""


@dataclass(frozen=True)
class World:
    """Pictures and those who look at them."""

    sampler: Sampler
    judges: Mapping[str, Judge]
    """Who can be paid for."""
    read: Read
    """Who reads prompts: CLIP, whether it judges or not."""
    reporters: Mapping[str, Judge] = field(default_factory=dict)
    """Who only reports: never a reward."""
    origin: str = ""
    """What tells these judges from others of the same names."""
    embeddings: tuple[str, ...] = ()
    """Names that the sampler does not read as words, nor should those who read prompts."""

    def gallery(self, weights: Mapping[str, float], report: bool = False) -> Gallery:
        """Where pictures are made and judged, with `weights` for the judges; `report`: the reporters look, too."""
        from training.rewards import WeightedReward
        from training.rl.gallery import Gallery

        judges = {**self.judges, **self.reporters} if report else self.judges
        return Gallery(self.sampler, WeightedReward(judges, weights, self.origin, self.embeddings))


def add_world_arguments(parser: argparse.ArgumentParser) -> None:
    """`--sampler`, `--judges` and the settings of every sampler; None where nothing was said."""
    group = parser.add_argument_group("pictures", "who makes them, and who judges them")
    group.add_argument(
        "--sampler",
        required=True,
        help="miniature (miniature:DIR: one that you built), comfyui, a1111, or a checkpoint: a .safetensors file, a "
        "diffusers folder, a Hub id",
    )
    group.add_argument(
        "--judges",
        help="real (CLIP, LAION's head, Inception-v3; from the Hub), or miniature[:DIR]; those of the sampler",
    )
    group.add_argument("--sampler-steps", type=int, metavar="N", help="denoising steps (miniature: 8, else 20)")
    group.add_argument("--guidance", type=float, metavar="SCALE", help="guidance scale (miniature: 4, else 7)")
    group.add_argument("--scheduler", metavar="NAME", help="ddim, dpm++2m, dpm++2m-karras, unipc, euler or lcm")
    group.add_argument("--size", type=_size, metavar="WxH", help="pixels (the checkpoint's own)")
    group.add_argument("--dtype", choices=["bf16", "fp16", "fp32"], help="precision of the checkpoint")
    group.add_argument("--device", help="of checkpoint and judges: cuda, cuda:1, cpu (a GPU where there is one)")
    group.add_argument("--vram", type=float, metavar="GB", help="the most that pictures may take")
    group.add_argument("--sampler-batch", type=int, metavar="N", help="pictures at a time (what suits the size)")
    group.add_argument("--lora", type=_lora, nargs="+", action="extend", metavar="FILE[:WEIGHT]", help="one or several")
    group.add_argument(
        "--embedding",
        type=Path,
        nargs="+",
        action="extend",
        metavar="FILE_OR_FOLDER",
        help="textual inversions (.safetensors) that a text may name",
    )
    group.add_argument(
        "--reads-like",
        metavar="HOST",
        help="how (red:1.3), long texts and names of embeddings count: a1111 or comfyui (a1111)",
    )
    group.add_argument("--clip-skip", type=int, metavar="N", help="as in A1111: 2 leaves out CLIP's last layer (1)")
    group.add_argument(
        "--tokenizer", type=Path, metavar="DIR", help="of CLIP, for a single file on a machine that never sees the Hub"
    )
    group.add_argument("--compile", action="store_true", default=None, dest="compiled", help="torch.compile the UNet")
    group.add_argument("--server", nargs="+", metavar="URL", help="comfyui, a1111: one or several running servers")
    group.add_argument("--workflow", type=Path, metavar="FILE", help="comfyui: your workflow in API format")
    group.add_argument("--node", metavar="ID", help="comfyui: the sampler node, where the workflow has several")
    group.add_argument("--settings", type=Path, metavar="FILE", help="a1111: JSON of txt2img, or a picture made there")
    group.add_argument("--api-auth", metavar="USER:PASSWORD", help="a1111: as the server was started with")


def open_world(args: argparse.Namespace, metrics: Sequence[str] = METRICS) -> World:
    """The world of the arguments, with judges for `metrics`; raises `OptionError` or `ModelError`."""
    kind = args.sampler.partition(":")[0]
    if kind not in (MINIATURE, COMFYUI, A1111):
        kind = CHECKPOINT
    _refuse_what_does_not_apply(args, kind)
    from negopt.generator import check_device
    from training.memory import enough_for

    if args.device is not None:
        check_device(args.device)
    with enough_for("checkpoint and judges"):
        return _opened(args, kind, metrics)


def _opened(args: argparse.Namespace, kind: str, metrics: Sequence[str]) -> World:
    openers = {MINIATURE: _miniature_sampler, COMFYUI: _comfyui, A1111: _web_ui, CHECKPOINT: _checkpoint}
    sampler = openers[kind](args)
    judges, _, judges_folder = (args.judges or (args.sampler if kind == MINIATURE else REAL)).partition(":")
    if judges == MINIATURE:
        return _judged_by_the_miniature(sampler, _miniature(judges_folder) / "judges")
    if judges != REAL:
        raise OptionError(f"there are no judges called {args.judges!r}; there are {REAL} and {MINIATURE}")
    from training.rewards.real import Source, judges_named

    source = Source.on(args.device)
    named = judges_named(metrics, source)
    embeddings = names_anywhere(sampler.description.get("embeddings", ()), args.reads_like)

    def read(texts: Sequence[str]) -> torch.Tensor:
        return source.read([in_words(text, embeddings) for text in texts])

    return World(sampler, named, read, origin=REAL, embeddings=embeddings)


def names_anywhere(embeddings: Iterable[str], reads_like: str | None) -> tuple[str, ...]:
    """Those names that are no words wherever they stand. In ComfyUI a name is one only behind `embedding:`, which
    nobody takes for words: standing bare it is a word like any other."""
    return () if reads_like == "comfyui" else tuple(embeddings)


def check_for_several(args: argparse.Namespace) -> None:
    """Raises `OptionError` for what only makes sense in one process."""
    if args.sampler in (COMFYUI, A1111):
        raise OptionError(f"--sampler {args.sampler} runs in one process: name all servers with --server")
    if ":" in (args.device or ""):
        raise OptionError("each process has a GPU of its own: in place of --device, set CUDA_VISIBLE_DEVICES")


def _refuse_what_does_not_apply(args: argparse.Namespace, kind: str) -> None:
    for name, kinds in APPLIES.items():
        if getattr(args, name) is not None and kind not in kinds:
            flag = "--compile" if name == "compiled" else f"--{name.replace('_', '-')}"
            raise OptionError(f"{flag} is for {' or '.join(kinds)}, not for --sampler {args.sampler}")


def _given(args: argparse.Namespace, **names: str) -> dict[str, Any]:
    """Those of the settings that were given, under the names that a sampler knows them by."""
    found = {theirs: getattr(args, ours) for theirs, ours in names.items()}
    return {name: value for name, value in found.items() if value is not None}


def _miniature(folder: str) -> Path:
    world = Path(folder) if folder else BUNDLED
    for name in ("checkpoint", "judges"):
        if not (world / name).is_dir():
            raise OptionError(f"{world / name}: no such folder; a miniature has checkpoint/ and judges/")
    return world


def _miniature_sampler(args: argparse.Namespace) -> Sampler:
    from training.miniature.pipeline import open_sampler

    settings = _given(args, steps="sampler_steps", guidance="guidance")
    return open_sampler(_miniature(args.sampler.partition(":")[2]) / "checkpoint", **settings)


def _judged_by_the_miniature(sampler: Sampler, folder: Path) -> World:
    from training.miniature.judges import open_judges
    from training.miniature.rewards import judges_of, reader_of, reporters_of

    judges = open_judges(folder)
    return World(sampler, judges_of(judges), reader_of(judges), reporters_of(folder), digest_of_folder(folder))


def _comfyui(args: argparse.Namespace) -> Sampler:
    from training.samplers.comfyui import ComfyUISampler

    if args.workflow is None:
        raise OptionError("--sampler comfyui needs --workflow FILE: your workflow, exported in API format")
    return ComfyUISampler.open(args.server or ["http://127.0.0.1:8188"], args.workflow, args.node)


def _web_ui(args: argparse.Namespace) -> Sampler:
    from training.samplers.a1111 import WebUISampler

    given = _given(args, settings="settings", auth="api_auth", steps="sampler_steps", guidance="guidance")
    return WebUISampler.open(args.server or ["http://127.0.0.1:7860"], **given)


def _checkpoint(args: argparse.Namespace) -> Sampler:
    import torch

    from training.samplers.in_process import DiffusersSampler

    same = ("guidance", "scheduler", "size", "device", "vram", "reads_like", "clip_skip", "tokenizer", "compiled")
    names = {name: name for name in same}
    names |= {"steps": "sampler_steps", "batch": "sampler_batch", "loras": "lora", "embeddings": "embedding"}
    given = _given(args, **names)
    if args.dtype:
        given["dtype"] = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[args.dtype]
    return DiffusersSampler.open(args.sampler, **given)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height or width)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT") from None


def _lora(text: str) -> tuple[Path, float]:
    """FILE or FILE:WEIGHT; a drive's colon is no weight."""
    file, _, weight = text.rpartition(":")
    try:
        return (Path(file), float(weight)) if file else (Path(text), 1.0)
    except ValueError:
        return Path(text), 1.0
