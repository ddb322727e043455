"""A real ComfyUI for one test session: this checkout as its custom nodes, everything else in a scratch folder."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .server import PATIENCE, ROOT, HostServer

PACK = "ComfyUI-NegOpt-main"
"""The folder's name in `custom_nodes`: what a downloaded archive unpacks to, and no Python identifier."""
CHECKPOINTS = ("v1-5-pruned-emaonly-fp16.safetensors", "sd_xl_base_1.0.safetensors")
"""Names that the templates ask for; the one checkpoint of the tests has both."""

Graph = dict[str, dict[str, Any]]


@dataclass
class ComfyUI(HostServer):
    """`checkpoint` is a single file that ComfyUI opens; without one only texts can be made."""

    checkpoint: Path | None = None
    ready: str = "/system_stats"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.base = self.scratch / "base"
        self.models = self.base / "models"

    def prepare(self) -> None:
        """Make the scratch folder: the pack as a link, the checkpoint under the names that the templates use."""
        for name in ("checkpoints", "embeddings", "negopt"):
            (self.models / name).mkdir(parents=True)
        (self.base / "custom_nodes").mkdir()
        (self.base / "custom_nodes" / PACK).symlink_to(ROOT, target_is_directory=True)
        if self.checkpoint:
            for name in CHECKPOINTS:
                (self.models / "checkpoints" / name).symlink_to(self.checkpoint)

    def command(self) -> list[str]:
        return [
            self.python,
            str(self.host / "main.py"),
            *("--cpu", "--listen", "127.0.0.1", "--port", str(self.port), "--disable-auto-launch"),
            *("--base-directory", str(self.base), "--database-url", "sqlite:///:memory:"),
            *self.flags,
        ]

    def run(self, graph: Graph, **more: Any) -> dict[str, Any]:
        """The record of a graph in API form once it has ended: "outputs" by node, "status"."""
        return self.wait(self.queue(graph, **more))

    def queue(self, graph: Graph, **more: Any) -> str:
        """The id under which a graph was accepted; raises `urllib.error.HTTPError` where it was not."""
        return str(self.post("/prompt", {"prompt": graph, **more})["prompt_id"])

    def wait(self, prompt_id: str) -> dict[str, Any]:
        """The record of a queued graph once it has ended."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            record = self.get(f"/history/{prompt_id}").get(prompt_id)
            if record:
                return dict(record)
            time.sleep(0.02)
        raise TimeoutError(f"the graph did not end; the server's log ends:\n{self.text_of_log()[-3000:]}")


@contextmanager
def server_of_environment() -> Iterator[ComfyUI]:
    """A running server as NEGOPT_COMFYUI_DIR, _PYTHON and perhaps _CHECKPOINT say, in a folder that goes with it."""
    checkpoint = os.environ.get("NEGOPT_COMFYUI_CHECKPOINT")
    with tempfile.TemporaryDirectory() as scratch:
        server = ComfyUI(
            Path(os.environ["NEGOPT_COMFYUI_DIR"]),
            os.environ["NEGOPT_COMFYUI_PYTHON"],
            Path(scratch),
            checkpoint=Path(checkpoint) if checkpoint else None,
        )
        server.prepare()
        server.start()
        try:
            yield server
        finally:
            server.stop()


def messages(record: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """What the server said of a run, by kind: "execution_cached", "execution_error"..."""
    return [details for name, details in record["status"]["messages"] if name == kind]
