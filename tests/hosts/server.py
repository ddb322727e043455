"""A real host's server for one test session: a process on a free port of loopback, asked over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
"""This checkout."""
PATIENCE = 900
"""Seconds for a server to come up or to answer; a busy machine with two cores takes minutes for a picture."""


@dataclass
class HostServer(ABC):
    """A host in the folder `host`, run by its interpreter `python`, that writes only under `scratch`."""

    host: Path
    python: str
    scratch: Path
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: str = "/"
    """What it answers once it is up."""

    def __post_init__(self) -> None:
        self.port = _free_port()
        self.log = self.scratch / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it."""

    def start(self) -> None:
        """Start the server and wait until it answers; `RuntimeError` with the end of its log if it does not."""
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", **self.environment}
        if "PYTHONPATH" not in self.environment:
            environment.pop("PYTHONPATH", None)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=self.scratch, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the server did not come up; its log ends:\n{self.text_of_log()[-3000:]}")
            time.sleep(0.5)

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
        answer = self.read(path, body, **headers)
        return json.loads(answer) if answer else None

    def read(self, path: str, body: bytes | None = None, **headers: str) -> bytes:
        """The answer of one request as it comes."""
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json", **headers})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return bytes(answer.read())

    def refusal(self, path: str, body: bytes | None, **headers: str) -> tuple[int, str]:
        """Status and text of a request that is refused."""
        try:
            self.ask(path, body, **headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        raise AssertionError(f"{path} was not refused")

    def _answers(self) -> bool:
        try:
            self.get(self.ready)
        except urllib.error.HTTPError as error:
            return error.code == 401
        except (OSError, ValueError):
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
