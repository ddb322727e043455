"""Pictures a second of the training's sampler, against diffusers' own pipeline called as its guide shows.

    python -m benchmarks.sampler [--checkpoint FILE|DIR] [--steps 20] [--guidance 7] [--size 512x512] [--json FILE]

Without a checkpoint: on a GPU Stable Diffusion 1.5 at full size with random weights (speed does not depend on the
weights), on a CPU the bundled miniature, in its 8 steps. Both make the same pictures of an RL step: some prompts, for
each several negative prompts, each prompt on noise of its own. The plain pipeline is called with a batch of 1, and
with the best of several batches. The floor is what the UNet's matrix operations would take at the rate that one large
matrix product reaches in the same precision.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Sample, busy, in_turns, machine, table
from benchmarks.prompts import PROMPTS
from training.memory import ran_out
from training.miniature import BUNDLED
from training.samplers import Picture
from training.samplers.checkpoints import open_pipeline, quiet
from training.samplers.in_process import DiffusersSampler

NEGATIVES = 8
"""Negative prompts that each prompt is tried with, as a group of draws in RL."""
TERMS = "blurry, lowres, text, watermark, bad anatomy, extra fingers, deformed, cropped, jpeg artifacts, noise".split(
    ", "
)


@dataclass
class Makers:
    """The two that are compared, on weights of their own."""

    sampler: DiffusersSampler
    plain: Any
    dtype: torch.dtype

    @property
    def device(self) -> torch.device:
        return torch.device(self.plain.device)


def pictures_of(turn: int, count: int) -> list[Picture]:
    """Those of one RL step; each turn has negatives that were not there before."""
    chosen = []
    for number in range(count):
        group, draw = divmod(number, NEGATIVES)
        terms = TERMS[draw % len(TERMS) :] + TERMS[: draw % len(TERMS)]
        chosen.append(Picture(PROMPTS[group % len(PROMPTS)], ", ".join([*terms, f"turn {turn}"]), 1000 * turn + group))
    return chosen


def call_plain(makers: Makers, pictures: Sequence[Picture], batch: int) -> None:
    """The pipeline with texts in and pictures out."""
    for start in range(0, len(pictures), batch):
        part = pictures[start : start + batch]
        with quiet():
            makers.plain(
                [picture.prompt for picture in part],
                negative_prompt=[picture.negative_prompt for picture in part],
                generator=[torch.Generator().manual_seed(picture.seed) for picture in part],
                num_inference_steps=makers.sampler.steps,
                guidance_scale=makers.sampler.guidance,
                width=makers.sampler.size[0],
                height=makers.sampler.size[1],
                output_type="pt",
            ).images.cpu()


def best_batch(makers: Makers, batches: Sequence[int], turns: Iterator[int]) -> int:
    """The plain pipeline's best batch of those that fit in memory: the second call of each is timed."""
    rates = {}
    for batch in batches:
        try:
            call_plain(makers, pictures_of(next(turns), batch), batch)
            begun = time.perf_counter()
            call_plain(makers, pictures_of(next(turns), batch), batch)
            rates[batch] = batch / (time.perf_counter() - begun)
        except RuntimeError as error:
            if not ran_out(error):
                raise
            break
    return max(rates, key=lambda batch: rates[batch])


def measure(makers: Makers, count: int, alone: int, batches: Sequence[int], repeats: int) -> dict[str, Any]:
    """All figures; `alone`: pictures that are made one by one, whose time is scaled up."""
    turns = itertools.count()
    best = best_batch(makers, batches, turns)

    def tasks() -> dict[str, Any]:
        pictures = pictures_of(next(turns), count)
        return {
            "alone": lambda: call_plain(makers, pictures[:alone], 1),
            "best": lambda: call_plain(makers, pictures, best),
            "ours": lambda: makers.sampler.sample(pictures),
        }

    in_turns([tasks()])  # the first calls of each allocate and choose kernels
    before = _allocated(makers.device)
    taken = in_turns([tasks() for _ in range(repeats)])
    grown = _allocated(makers.device) - before
    counts = {"alone": alone, "best": count, "ours": count}
    rates = {name: Sample(tuple(1e3 * counts[name] / ms for ms in sample.values)) for name, sample in taken.items()}
    operations = unet_operations(makers)
    matrix = matrix_rate(makers.device, makers.dtype)
    return {
        "rates": rates,
        "best batch": best,
        "own batch": makers.sampler.batch,
        "inside the UNet": share_inside(makers, pictures_of(next(turns), count)),
        "operations a picture": operations,
        "operations a second": matrix,
        "floor, pictures/s": matrix / operations,
        "GPU memory, GB": _peak(makers.device),
        "memory grown, MB": grown / 1e6,
    }


def unet_operations(makers: Makers) -> float:
    """Floating-point operations of one picture in the UNet, guidance included."""
    calls: list[tuple[Any, Any]] = []
    unet = makers.plain.unet
    hook = unet.register_forward_pre_hook(lambda _, args, given: calls.append((args, given)), with_kwargs=True)
    call_plain(makers, pictures_of(0, 1), 1)
    hook.remove()
    args, given = calls[0]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet(*args, **given)
    return float(counter.get_total_flops() * len(calls))


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    taken = []
    for _ in range(10):
        _synchronize(device)
        begun = time.perf_counter()
        a @ b
        _synchronize(device)
        taken.append(time.perf_counter() - begun)
    return float(2 * side**3 / statistics.median(taken))


def share_inside(makers: Makers, pictures: Sequence[Picture]) -> float:
    """The part of the sampler's time that is spent in the UNet, with the device waited for at its door."""
    spent, entered = [0.0], [0.0]

    def enter(*_: object) -> None:
        _synchronize(makers.device)
        entered[0] = time.perf_counter()

    def leave(*_: object) -> None:
        _synchronize(makers.device)
        spent[0] += time.perf_counter() - entered[0]

    unet = makers.sampler.pipeline.unet
    hooks = [unet.register_forward_pre_hook(enter), unet.register_forward_hook(leave)]
    begun = time.perf_counter()
    makers.sampler.sample(pictures)
    whole = time.perf_counter() - begun
    for hook in hooks:
        hook.remove()
    return spent[0] / whole


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def _peak(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Makers]:
    """Both makers of pictures."""
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    settings = {"steps": options.steps, "guidance": options.guidance, "size": options.size, "batch": options.batch}
    given = {name: value for name, value in settings.items() if value is not None}
    if device.type == "cpu":
        yield _miniature(Path(options.checkpoint or BUNDLED / "checkpoint"), given)
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, tokenizer = options.checkpoint, None
        if checkpoint is None:
            from tests.hosts.checkpoints import write_random_sd15

            checkpoint, tokenizer = str(Path(folder) / "random.safetensors"), BUNDLED / "checkpoint" / "tokenizer"
            write_random_sd15(Path(checkpoint))
        dtype = torch.float16
        sampler = DiffusersSampler.open(
            checkpoint, tokenizer=tokenizer, dtype=dtype, device=device, compiled=options.compile, **given
        )
        plain = open_pipeline(checkpoint, tokenizer=tokenizer, dtype=dtype, device=device)
        plain.set_progress_bar_config(disable=True)
        yield Makers(sampler, plain, dtype)


def _miniature(folder: Path, given: Mapping[str, Any]) -> Makers:
    from training.miniature.pipeline import open_sampler

    batch, size = given.get("batch"), given.get("size")
    sampler = open_sampler(folder, **{name: given[name] for name in ("steps", "guidance") if name in given})
    sampler.batch, sampler.size = batch or sampler.batch, size or sampler.size
    plain = open_pipeline(folder, dtype=torch.float32, device=torch.device("cpu"))
    plain.set_progress_bar_config(disable=True)
    return Makers(sampler, plain, torch.bfloat16 if sampler.bf16 else torch.float32)


def shown(figures: Mapping[str, Any], makers: Makers) -> str:
    """The table, and the floor."""
    rates, floor = figures["rates"], figures["floor, pictures/s"]
    labels = {
        "alone": "plain pipeline, one picture at a time",
        "best": f"plain pipeline, batches of {figures['best batch']} (its best)",
        "ours": f"training.samplers, batches of {figures['own batch']}",
    }
    rows = []
    for name, label in labels.items():
        first, third = rates[name].quartiles
        faster = rates["ours"].over(rates[name]).median
        rate = f"{rates[name].median:.2f} pictures/s ({first:.2f} to {third:.2f})"
        rows.append([label, rate, f"{faster:.2f} x", f"{rates[name].median / floor:.0%}"])
    sampler, dtype = makers.sampler, str(makers.dtype).removeprefix("torch.")
    width, height = sampler.size
    lines = [
        table(["what", "median (quartiles)", "ours is faster by", "of the floor"], rows),
        "",
        f"Floor: {floor:.2f} pictures/s: {figures['operations a picture'] / 1e9:.1f} billion operations of the UNet "
        f"for a picture ({width} x {height}, {sampler.steps} steps, guidance {sampler.guidance:g}), at "
        f"{figures['operations a second'] / 1e12:.3f} trillion a second of a large matrix product in {dtype}.",
        f"The sampler spends {figures['inside the UNet']:.0%} of its time in the UNet.",
    ]
    if makers.device.type == "cuda":
        peak, grown = figures["GPU memory, GB"], figures["memory grown, MB"]
        lines += [f"GPU memory: {peak:.1f} GB at most, with both checkpoints; grown by {grown:.1f} MB over the run."]
    return "\n".join(lines)


def _sides(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height or width)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampler", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", help="a .safetensors file, or a folder in diffusers' layout (the miniature's)")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--size", type=_sides, metavar="WxH")
    parser.add_argument("--batch", type=int, help="the sampler's (what suits the size)")
    parser.add_argument("--batches", type=int, nargs="+", default=[2, 4, 8, 16, 32], help="the plain pipeline's to try")
    parser.add_argument("--pictures", type=int, default=64, help="made in each measurement (64)")
    parser.add_argument("--alone", type=int, default=8, help="of these, how many one at a time (8)")
    parser.add_argument("--repeats", type=int, default=5, help="measurements (5)")
    parser.add_argument("--threads", type=int, default=2, help="threads that torch may use on a CPU (2)")
    parser.add_argument("--device")
    parser.add_argument("--compile", action="store_true", help="torch.compile our UNet")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    warning = busy()
    with opened(options) as makers:
        figures = measure(makers, options.pictures, options.alone, options.batches, options.repeats)
        device = makers.device
        where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{options.threads} threads"
        measured_on = f"{machine()}; Python {sys.version.split()[0]}, torch {torch.__version__}; {where}"
        print(f"Measured on {measured_on}.\n\n{shown(figures, makers)}")
    if warning:
        print(f"\nNote: {warning}.")
    if options.json:
        plain = {name: value for name, value in figures.items() if name != "rates"}
        rates = {name: sample.as_json() for name, sample in figures["rates"].items()}
        report = {"machine": measured_on, "busy": warning, "rates": rates, **plain}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
