"""Textual inversions: vectors that a text encoder reads in place of tokens, called by their file's name as in hosts.

Safetensors only, in the layouts that hosts read. Knows nothing of texts: `passages` finds names in them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from negopt.errors import ModelError, OptionError
from training.digest import digest_of_files

SUFFIX, PICKLES = ".safetensors", (".pt", ".bin", ".pth", ".ckpt")
OF_SDXL = ("clip_l", "clip_g")
"""What its files call the vectors for its two text encoders, in their order; a file for one encoder has one tensor,
called anything."""
CONVERT = (
    'python -c "import sys, torch, safetensors.torch as s; e = torch.load(sys.argv[1], weights_only=True); '
    "s.save_file({k: v.detach().clone() for k, v in e.get('string_to_param', e).items()}, sys.argv[2])\" "
)
"""Makes a .safetensors of a pickle, and takes nothing from it but numbers."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """One file's vectors."""

    name: str
    place: PurePath
    """The file within the folder that was given, or its name alone."""
    digest: str
    vectors: tuple[torch.Tensor, ...]
    """For each text encoder of the checkpoint, float32 [n, d]."""

    def __len__(self) -> int:
        """n, how many tokens' places it takes."""
        return len(self.vectors[0])


def open_embeddings(given: Sequence[Path], widths: Sequence[int]) -> list[Embedding]:
    """Those in the files and folders `given`, for text encoders whose tokens have `widths` numbers.

    Of a folder, and the folders in it, only those that fit count, as in the hosts: the others are named in one line
    on stderr. Raises `ModelError` for a file that is none that fits, `OptionError` where two have one name.
    """
    found: dict[str, Embedding] = {}
    files: dict[Path, None] = {}
    for path in map(Path.expanduser, given):
        for file in _files(path):
            if file.resolve() in files:
                continue
            files[file.resolve()] = None
            try:
                embedding = _open(file, file.relative_to(path) if path.is_dir() else PurePath(file.name), widths)
            except ModelError as error:
                if not path.is_dir():
                    raise
                print(f"passed over: {error}", file=sys.stderr)
                continue
            # a tokenizer knows no capitals
            if (key := embedding.name.casefold()) in found:
                raise OptionError(f"{file}: there is another embedding called {found[key].name}")
            found[key] = embedding
    return list(found.values())


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in (SUFFIX, *PICKLES) and file.is_file())


def _open(file: Path, place: PurePath, widths: Sequence[int]) -> Embedding:
    if file.suffix.lower() in PICKLES:
        made = f"{file} {file.with_suffix(SUFFIX)}"
        raise ModelError(f"{file}: not opened, since it can run code; make a .safetensors of it: {CONVERT}{made}")
    if file.suffix.lower() != SUFFIX or not file.is_file():
        raise ModelError(f"{file}: not a .safetensors file nor a folder of them, so no embedding that is opened")
    try:
        tensors, digest = load_file(file), digest_of_files([file])
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{file}: not a .safetensors file ({error})") from error
    return Embedding(file.stem, place, digest, _vectors(file, tensors, widths))


def _vectors(file: Path, tensors: Mapping[str, torch.Tensor], widths: Sequence[int]) -> tuple[torch.Tensor, ...]:
    names = OF_SDXL if set(OF_SDXL) <= set(tensors) else tuple(tensors)
    parts = tuple(torch.atleast_2d(tensors[name]).float() for name in names)
    both = " and ".join(OF_SDXL)
    if (names != OF_SDXL and len(parts) != 1) or any(part.ndim != 2 or not len(part) for part in parts):
        raise ModelError(f"{file}: not an embedding: one tensor of vectors is expected, or SDXL's {both}")
    found = [part.shape[1] for part in parts]
    if found != list(widths):
        raise ModelError(f"{file}: an embedding of width {_plus(found)}, and the checkpoint has {_plus(widths)}")
    if len({len(part) for part in parts}) > 1:
        raise ModelError(f"{file}: {both} have different numbers of vectors")
    return parts


def _plus(widths: Sequence[int]) -> str:
    return " + ".join(map(str, widths))
