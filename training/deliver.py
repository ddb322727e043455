"""`python -m training export MODEL --to comfyui DIR | a1111 DIR | hub REPO`: a trained model to where it is used.

Into ComfyUI and the web UIs it goes as `DIR/models/negopt/NAME`, where the dropdown of the node and of the script finds
it; on the Hugging Face Hub anybody's `negopt.load("owner/name")` does. Only the files of a model travel, weights in
safetensors, and a card.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import negopt
from negopt.errors import ModelError, NegOptError, OptionError
from negopt.locate import BUNDLED, CONFIG, PREFERENCE, SETTINGS, TOKENIZER, WEIGHTS, locate
from training.atomic import replace_folder
from training.card import plain_card
from training.export import TOKENIZER_CONFIG

CARD = "README.md"
FILES = (WEIGHTS, CONFIG, TOKENIZER, TOKENIZER_CONFIG, SETTINGS, PREFERENCE, "generation_config.json", CARD)
HOSTS = {"comfyui": ("models", "custom_nodes"), "a1111": ("models", "extensions")}
"""Folders by which a host's own folder is known."""
HUB = "hub"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model folder, as in runs/mine/model")
    parser.add_argument(
        "--to", nargs=2, required=True, metavar=("WHERE", "PLACE"), help="comfyui DIR, a1111 DIR, or hub OWNER/NAME"
    )
    parser.add_argument("--name", help="its name in the dropdown (that of the model's folder, or of the run's)")
    parser.add_argument("--force", action="store_true", help="take the place of another model of that name")
    parser.add_argument("--private", action="store_true", help="hub: a new repository is not for everybody")


def run(args: argparse.Namespace) -> int:
    where, place = args.to
    if where not in (*HOSTS, HUB):
        raise OptionError(f"--to takes {', '.join(HOSTS)} or {HUB}, not {where!r}")
    model = locate(args.model)
    if not (model / WEIGHTS).is_file():
        raise ModelError(f"{model / WEIGHTS}: missing; weights in several files are not exported")
    negopt.load(model)
    if where == HUB:
        print(publish(model, place, force=args.force, private=args.private))
    else:
        folder = host_folder(where, Path(place).expanduser())
        print(install(model, folder, args.name or name_of(model), force=args.force))
    return 0


def name_of(model: Path) -> str:
    """Of the model's folder; of the one around it where that is merely called "model"."""
    return next((part for part in reversed(model.absolute().parts) if part != "model"), "model")


def host_folder(host: str, folder: Path) -> Path:
    """Where a host in `folder` looks for models; raises `OptionError` if it is no such host."""
    for known in HOSTS[host]:
        if not (folder / known).is_dir():
            raise OptionError(f"{folder}: has no folder {known}, so it is not where {host} lives")
    return folder / "models" / "negopt"


def install(model: Path, models: Path, name: str, force: bool = False) -> str:
    """Copy the model to the folder `name` in `models`, whole or not at all; says what was done. Raises `OptionError` if
    another is there."""
    if Path(name).name != name or name in ("", ".", "..", BUNDLED.name):
        raise OptionError(f"{name!r} is no name for a model of your own")
    folder = models / name
    if folder.exists():
        if _same(model, folder):
            return f"{folder}: is there already"
        if not force:
            raise OptionError(f"{folder}: there is another model of that name; --name another, or --force")
    with replace_folder(folder) as fresh:
        _copy(model, fresh)
        negopt.load(fresh)
    return str(folder)


def publish(model: Path, repository: str, force: bool = False, private: bool = False) -> str:
    """Upload the model as the account that is logged in; returns the address. Raises `OptionError` if the repository
    holds another model, `ModelError` if the Hub does not take it."""
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        if not force and api.file_exists(repository, WEIGHTS):
            raise OptionError(f"{repository}: holds a model; --to {HUB} another repository, or --force")
        with TemporaryDirectory() as folder:
            _copy(model, Path(folder))
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="A NegOpt model")
    except NegOptError:
        raise
    except Exception as error:  # each version raises its own classes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"{repository}: not uploaded ({reason}); `hf auth login` says who you are") from error
    return f"{api.endpoint}/{repository}"


def _copy(model: Path, folder: Path) -> None:
    """The model's files into an empty folder; it gets a card if it has none."""
    for name in _present(model, FILES):
        shutil.copyfile(model / name, folder / name)
    if not (folder / CARD).exists():
        config = json.loads((model / CONFIG).read_text(encoding="utf-8"))
        (folder / CARD).write_text(plain_card(config), encoding="utf-8")


def _same(model: Path, other: Path) -> bool:
    """Would both write the same?"""
    names = [name for name in FILES if name != CARD]
    present = _present(model, names)
    return present == _present(other, names) and all(
        filecmp.cmp(model / name, other / name, shallow=False) for name in present
    )


def _present(folder: Path, names: Sequence[str]) -> list[str]:
    return [name for name in names if (folder / name).is_file()]
