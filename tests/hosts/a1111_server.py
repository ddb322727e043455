"""A real AUTOMATIC1111 or Forge for one test session, in folders of its own.

The host's own folder is only read. This checkout is linked into a scratch data folder as an extension, beside
a checkpoint of random weights that is made there, and the server is asked through its HTTP API.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checkpoints import tiny_clip_config, write_random_sd15, write_tiny
from .server import ROOT, HostServer

# An extension as they are found in the wild: packages with everyone's names, and first on the path.
RUDE_SCRIPT = """
import negopt, a1111_extension, utils
assert negopt.__version__ == a1111_extension.__version__ == "other"
"""

# A known extension that writes prompts, by the name under which metadata.ini knows it. Its folder comes after ours
# in the alphabet.
WILDCARDS_SCRIPT = """
from modules import scripts

class Wildcards(scripts.Script):
    def title(self):
        return "Wildcards"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def process(self, p, *args):
        p.all_prompts = [prompt.replace("__style__", "black and white pencil sketch") for prompt in p.all_prompts]
"""

# Takes the time of what the host calls of ours, and says so in the log.
STOPWATCH_SCRIPT = """
import time
from modules import scripts

def timed(name, function):
    def call(*args, **kwargs):
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            print(f"STOPWATCH {name} {1000 * (time.perf_counter() - start):.1f} ms", flush=True)
    return call

def create_script_ui(runner, script):
    ours = script.title() == "NegOpt"
    if ours:
        script.process = timed("process", script.process)
    (timed("panel", original) if ours else original)(runner, script)

original = scripts.ScriptRunner.create_script_ui
scripts.ScriptRunner.create_script_ui = create_script_ui
"""


@dataclass
class WebUI(HostServer):
    """AUTOMATIC1111 or Forge, whichever lies in the folder `host`."""

    ready: str = "/sdapi/v1/sd-models"

    @property
    def data(self) -> Path:
        """The folder of extensions, models and settings."""
        return self.scratch / "data"

    @property
    def is_forge(self) -> bool:
        return (self.host / "modules_forge").is_dir()

    def prepare(self) -> None:
        """Make the data folder: the extension, a checkpoint, styles, and what CLIP needs without a network."""
        checkpoints = self.data / "models" / "Stable-diffusion"
        for folder in (checkpoints, self.data / "extensions", self.data / "embeddings"):
            folder.mkdir(parents=True, exist_ok=True)
        link = self.data / "extensions" / "sd-webui-negopt"
        if not link.exists():
            link.symlink_to(ROOT, target_is_directory=True)
        self._write_extension("aaa-rude", RUDE_SCRIPT, packages=("negopt", "a1111_extension", "utils"))
        self._write_extension("aaa-stopwatch", STOPWATCH_SCRIPT)
        self._write_extension("stable-diffusion-webui-wildcards", WILDCARDS_SCRIPT)
        (self.data / "styles.csv").write_text(
            'name,prompt,negative_prompt\nfoggy,"{prompt}, fog, mist",sunshine\n', encoding="utf-8"
        )
        if self.is_forge:
            made = os.environ.get("NEGOPT_A1111_CHECKPOINT")
            if made:
                (checkpoints / "random.safetensors").symlink_to(made)
            else:
                write_random_sd15(checkpoints / "random.safetensors")
        else:
            write_tiny(checkpoints / "random.safetensors")
            _write_clip(self.scratch / "openai" / "clip-vit-large-patch14", self._clip_vocabulary())

    def _clip_vocabulary(self) -> bytes:
        """OpenAI's merges, from the host's own CLIP package."""
        found = subprocess.run(
            [self.python, "-c", "import importlib.util as u; print(u.find_spec('clip').origin)"],
            capture_output=True,
            text=True,
            check=True,
        )
        return (Path(found.stdout.strip()).parent / "bpe_simple_vocab_16e6.txt.gz").read_bytes()

    def command(self) -> list[str]:
        cpu = ["--always-cpu"] if self.is_forge else ["--use-cpu", "all", "--no-half", "--precision", "full"]
        command = [self.python, str(self.host / "launch.py"), "--skip-prepare-environment", "--skip-torch-cuda-test"]
        command += ["--skip-version-check", "--no-hashing", "--do-not-download-clip", "--disable-nan-check", *cpu]
        # The host serves its own scripts from its own folder, which is not the working folder here.
        command += ["--gradio-allowed-path", str(self.host), "--gradio-allowed-path", str(ROOT)]
        return [*command, "--api", "--port", str(self.port), "--data-dir", str(self.data), *self.flags]

    def starts(self) -> int:
        """How often it has come up: once, and once more with each reload of its page."""
        return self.text_of_log().count("Startup time:")

    def _answers(self) -> bool:
        """It answers some requests, and all others wrongly, before it says that it is up."""
        return self.starts() > 0 and super()._answers()

    def times(self, name: str) -> list[float]:
        """Milliseconds that each call of `name` took, "panel" or "process", in order."""
        return [float(ms) for ms in re.findall(rf"STOPWATCH {name} ([\d.]+) ms", self.text_of_log())]

    def _write_extension(self, name: str, script: str, packages: Sequence[str] = ()) -> None:
        """An extension with one script, and packages that say they are others'."""
        folder = self.data / "extensions" / name
        (folder / "scripts").mkdir(parents=True, exist_ok=True)
        (folder / "scripts" / f"{name.replace('-', '_')}.py").write_text(script, encoding="utf-8")
        for package in packages:
            (folder / package).mkdir(exist_ok=True)
            (folder / package / "__init__.py").write_text('__version__ = "other"\n', encoding="utf-8")


def basic(user: str, password: str) -> dict[str, str]:
    """The header of a Basic authorization."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _write_clip(folder: Path, packed_merges: bytes) -> None:
    """The tiny text encoder's configuration and CLIP's tokenizer, where transformers looks before the Hub."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = gzip.decompress(packed_merges).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    letters = _byte_letters()
    pieces = [*letters, *(letter + "</w>" for letter in letters), *("".join(line.split()) for line in lines)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    files: dict[str, Any] = {
        "vocab.json": {piece: number for number, piece in enumerate(pieces)},
        "config.json": tiny_clip_config(),
        "special_tokens_map.json": {
            "bos_token": "<|startoftext|>",
            "eos_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
        },
        "tokenizer_config.json": {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True},
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]) + "\n", encoding="utf-8")


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in CLIP's vocabulary, in the vocabulary's order."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return [*map(chr, plain), *(chr(256 + number) for number, _ in enumerate(others))]
