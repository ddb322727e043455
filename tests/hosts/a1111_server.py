"""A real AUTOMATIC1111 or Forge for one test session: started on a free port, in folders of its own.

The host's own folder is only read. This checkout is linked into a scratch data folder as an extension, beside
a checkpoint of random weights that is made there, and the server is asked through its HTTP API.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .checkpoints import tiny_clip_config, write_random_sd15, write_tiny

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 900
"""Seconds for the server to come up; a busy machine with two cores takes a few minutes."""


@dataclass
class Server:
    """One running server. `host` is the folder of AUTOMATIC1111 or Forge, `python` its interpreter."""

    host: Path
    python: str
    scratch: Path
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port = _free_port()
        self.data = self.scratch / "data"
        self.log = self.scratch / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_forge(self) -> bool:
        return (self.host / "modules_forge").is_dir()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Make the data folder: the extension, a checkpoint, styles, and what CLIP needs without a network."""
        checkpoints = self.data / "models" / "Stable-diffusion"
        for folder in (checkpoints, self.data / "extensions", self.data / "embeddings"):
            folder.mkdir(parents=True, exist_ok=True)
        link = self.data / "extensions" / "sd-webui-negopt"
        if not link.exists():
            link.symlink_to(ROOT, target_is_directory=True)
        (self.data / "styles.csv").write_text(
            'name,prompt,negative_prompt\nfoggy,"{prompt}, fog, mist",sunshine\n', encoding="utf-8"
        )
        if self.is_forge:
            made = os.environ.get("NEGOPT_SD15")
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

    def start(self) -> None:
        """Start the server and wait until it answers."""
        cpu = ["--always-cpu"] if self.is_forge else ["--use-cpu", "all", "--no-half", "--precision", "full"]
        command = [self.python, str(self.host / "launch.py"), "--skip-prepare-environment", "--skip-torch-cuda-test"]
        command += ["--skip-version-check", "--no-hashing", "--do-not-download-clip", "--disable-nan-check", *cpu]
        # The host serves its own scripts from its own folder, which is not the working folder here.
        command += ["--gradio-allowed-path", str(self.host), "--gradio-allowed-path", str(ROOT)]
        command += ["--api", "--port", str(self.port), "--data-dir", str(self.data), *self.flags]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False", **self.environment}
        environment.pop("PYTHONPATH", None)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.scratch, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the server did not come up; its log ends:\n{self.text_of_log()[-3000:]}")
            time.sleep(1)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def text_of_log(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str, **headers: str) -> Any:
        return self.ask(path, None, **headers)

    def post(self, path: str, value: Any, **headers: str) -> Any:
        return self.ask(path, json.dumps(value).encode(), **headers)

    def ask(self, path: str, body: bytes | None, **headers: str) -> Any:
        """The JSON answer of one request; raises `urllib.error.HTTPError` for a refusal."""
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json", **headers})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read())

    def refusal(self, path: str, body: bytes | None, **headers: str) -> tuple[int, str]:
        """Status and text of a request that is refused."""
        try:
            self.ask(path, body, **headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        raise AssertionError(f"{path} was not refused")

    def _answers(self) -> bool:
        try:
            self.get("/sdapi/v1/sd-models")
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False
        return True


def basic(user: str, password: str) -> dict[str, str]:
    """The header of a Basic authorization."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
