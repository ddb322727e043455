"""Pictures painted ahead and kept on disk as bytes, so that painting never keeps a training step waiting.

An album is a folder of chunks of 2,000 pictures, each written whole or not at all; a second call paints
only what is missing. Scenes are drawn again from (seed, index): they cost nothing.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from .painter import paint
from .world import Scene, draw_scene

CHUNK = 2000


class Album:
    """The first `count` pictures of the world `seed`: `pictures` (count, SIZE, SIZE, 3) bytes, and `scenes`."""

    def __init__(self, folder: Path, seed: int, count: int, workers: int | None = None):
        self.scenes: list[Scene] = [draw_scene(seed, index) for index in range(count)]
        chunks = [(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
        paths = [folder / f"world-{seed}-{start}-{stop}-{version()}.npy" for start, stop in chunks]
        jobs = [(path, seed, *chunk) for path, chunk in zip(paths, chunks, strict=True) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        if len(jobs) <= 1:
            for job in jobs:
                _paint_chunk(job)
        else:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                list(tqdm(pool.map(_paint_chunk, jobs), total=len(jobs), unit="chunk", desc="paint"))
        self.pictures: NDArray[np.uint8] = np.concatenate([np.load(path) for path in paths])

    def __len__(self) -> int:
        return len(self.scenes)

    def batch(self, indices: NDArray[np.int64]) -> torch.Tensor:
        """The pictures at `indices` as a VAE takes them: (n, 3, SIZE, SIZE), -1..1."""
        return as_tensor(self.pictures[indices])


def as_tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """(n, h, w, 3) bytes to (n, 3, h, w), -1..1."""
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)
    return tensor.float().contiguous() / 127.5 - 1


def as_bytes(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """The way back. Clamped first: a cast alone would wrap around."""
    tensor = ((tensor.detach().float().clamp(-1, 1) + 1) * 127.5).round()
    return tensor.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


@cache
def version() -> str:
    """Of what the painter makes of some scenes: another painter's pictures are not taken for this one's."""
    return hashlib.sha256(b"".join(paint(draw_scene(0, index)).tobytes() for index in range(100))).hexdigest()[:8]


def _paint_chunk(job: tuple[Path, int, int, int]) -> None:
    path, seed, start, stop = job
    pictures = np.stack([paint(draw_scene(seed, index)) for index in range(start, stop)])
    fresh = path.with_suffix(f".{os.getpid()}.tmp")
    with fresh.open("wb") as file:
        np.save(file, pictures)
    fresh.replace(path)
