"""Pictures by running ComfyUI servers with the user's own workflow.

Each picture is one run of the workflow with its texts and its seed; the checkpoint, whose node never changes, is
loaded by the first and stays. Pictures come over the websocket and are written to no file.
"""

from __future__ import annotations

import asyncio
import json
import struct
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from negopt.errors import ModelError, OptionError

from .sampler import Picture
from .servers import (
    HTTPRefusal,
    Make,
    Patience,
    Refused,
    Server,
    ServerSampler,
    Unreachable,
    ask,
    ask_each,
    digest,
    reason,
)
from .workflow import SENDS_PICTURE, TAKER, Form, Graph, NodeClass, classes_of, make_form, read_workflow

PREVIEW_IMAGE = 1
"""The kind of binary message that holds an image, after its kind and its format of 4 bytes each."""
LARGEST_MESSAGE = 2**28
SECONDS_TO_CANCEL = 2.0
MOST_NAMED = 20
"""Files that an error lists, of those that a server has."""
_ANOTHER = "it does not answer as ComfyUI does; is this its address?"


class ComfyUISampler(ServerSampler):
    """A `Sampler` that runs a workflow on ComfyUI servers."""

    at_once = 3  # one that runs, one that waits, one whose picture is on its way

    def __init__(self, servers: Sequence[str], form: Form, patience: Patience | None = None) -> None:
        super().__init__(servers, patience)
        self.form = form

    @classmethod
    def open(
        cls, servers: Sequence[str], workflow: Path, node: str | None = None, patience: Patience | None = None
    ) -> ComfyUISampler:
        """`servers`: addresses. `workflow`: in API format. `node`: the id of the sampler that is meant, if not all.

        Raises `OptionError` for a workflow that cannot be used, `ModelError` where no server answers or one lacks
        a node or a file of the workflow.
        """
        graph = read_workflow(workflow)
        sampler = cls(servers, Form(graph, (), ()), patience)

        async def question(session: aiohttp.ClientSession, server: Server) -> dict[str, NodeClass]:
            return await sampler.classes(session, server, classes_of(graph))

        known = ask_each(sampler.servers, question, sampler.session)[0]
        try:
            sampler.form = make_form(graph, known, node)
        except OptionError as error:
            lacking = sorted(classes_of(graph) - known.keys() - {SENDS_PICTURE})
            if lacking:
                raise ModelError(f"{workflow}: {_lacks(', '.join(lacking))}") from error
            raise OptionError(f"{workflow}: {error}") from error
        sampler.check()
        return sampler

    @property
    def description(self) -> Mapping[str, Any]:
        return {"sampler": "comfyui", **self.form.description, "workflow": digest(self.form.graph)}

    @asynccontextmanager
    async def connect(self, session: aiohttp.ClientSession, server: Server) -> AsyncIterator[Make]:
        wanted = {node["class_type"] for node in self.form.graph.values()}
        _check(self.form.graph, await self.classes(session, server, wanted))
        line = _Line(session, server, self.form, self.patience.connect)
        async with line.open():
            yield line.make

    async def classes(self, session: aiohttp.ClientSession, server: Server, names: set[str]) -> dict[str, NodeClass]:
        """What `server` says of node classes; those that it lacks are left out."""
        said = await asyncio.gather(*(self._object_info(session, server, name) for name in sorted(names)))
        try:
            return {name: NodeClass.read(info[name]) for name, info in zip(sorted(names), said, strict=True) if info}
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise Refused(_ANOTHER) from error

    async def _object_info(self, session: aiohttp.ClientSession, server: Server, name: str) -> Any:
        url = URL(f"{server.url}/object_info/{quote(name, safe='')}", encoded=True)
        try:
            return await ask(session, "GET", url, self.patience.connect)
        except HTTPRefusal as refusal:
            raise Refused(f"it does not answer as ComfyUI does (HTTP status {refusal.status})") from refusal


def _check(graph: Graph, classes: Mapping[str, NodeClass]) -> None:
    """Raise `Refused` where a server lacks a node's class or a file."""
    for key, node in graph.items():
        kind = node["class_type"]
        if kind == SENDS_PICTURE and kind not in classes:
            raise Refused(
                f"it lacks the node {kind}, which comes with ComfyUI as custom_nodes/websocket_image_save.py; "
                "copy that file to its custom_nodes folder"
            )
        if kind not in classes:
            raise Refused(_lacks(kind))
        for name, value in node["inputs"].items():
            declared, options = classes[kind].inputs.get(name, ("", {}))
            there = options.get("options") if declared == "COMBO" else None
            if name.endswith("_name") and isinstance(value, str) and isinstance(there, list) and value not in there:
                names = ", ".join(map(str, there[:MOST_NAMED])) or "none"
                raise Refused(f"it has no {value!r} for {name} of node {key} ({kind}); it has {names}")


def _lacks(kinds: str) -> str:
    return f"the server lacks the node {kinds}; install the custom nodes that the workflow was made with"


class _Run:
    """One run of the workflow on a server: the pictures that came, and how it ended."""

    def __init__(self) -> None:
        self.images: list[bytes] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self, error: Exception | None = None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
            self.ended.exception()  # whether somebody waits for it or not


class _Line:
    """The websocket to one server, and the runs that were asked for through it."""

    def __init__(self, session: aiohttp.ClientSession, server: Server, form: Form, seconds: float) -> None:
        self._session, self._server, self._form, self._seconds = session, server, form, seconds
        self._client = uuid.uuid4().hex
        self._runs: dict[str, _Run] = {}
        self._now: tuple[str, str] = ("", "")
        """The run and the node that the server is at."""
        self._lost = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        url = self._url("ws").with_query(clientId=self._client)
        try:
            connecting = self._session.ws_connect(url, max_msg_size=LARGEST_MESSAGE)
            socket = await asyncio.wait_for(connecting, self._seconds)
        except asyncio.TimeoutError:
            raise Unreachable("no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(reason(error)) from error
        listening = asyncio.ensure_future(self._listen(socket))
        try:
            yield
        finally:
            await self._cancel()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await socket.close()

    async def make(self, picture: Picture) -> bytes:
        """The picture as a PNG file."""
        name = str(uuid.uuid4())
        request = {"prompt": self._form.fill(picture), "client_id": self._client, "prompt_id": name}
        run = self._run(name)
        try:
            answer = await ask(self._session, "POST", self._url("prompt"), self._seconds, json=request)
        except HTTPRefusal as refusal:
            raise Refused(_complaint(refusal.said) or str(refusal)) from refusal
        if not isinstance(answer, dict) or "prompt_id" not in answer:
            raise Refused(_ANOTHER)
        if answer["prompt_id"] != name:  # older servers choose it themselves
            name = str(answer["prompt_id"])
            run = self._run(name)
        await asyncio.shield(run.ended)
        del self._runs[name]
        if len(run.images) != 1:
            raise Refused(f"the workflow makes {len(run.images)} pictures of one prompt; it must make one")
        return run.images[0]

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        """Hand what the server says to the runs, until it says no more."""
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    self._hear_image(message.data)
                elif message.type is aiohttp.WSMsgType.TEXT:
                    self._hear_text(message.data)
        finally:
            self._lost = True
            for run in self._runs.values():
                run.end(Unreachable("the connection was lost"))

    def _hear_text(self, text: str) -> None:
        """Custom nodes send what they like over the same line: what ComfyUI does not say so is passed over."""
        try:
            said = json.loads(text)
        except ValueError:
            return
        data = said.get("data") if isinstance(said, dict) else None
        if isinstance(data, dict):
            self._hear(said.get("type"), data)

    def _hear(self, kind: Any, data: Mapping[str, Any]) -> None:
        name = str(data.get("prompt_id", ""))
        if kind == "executing" and name:
            self._now = (name, str(data.get("node")))
            if data.get("node") is None:
                self._run(name).end()
        elif kind == "execution_error":
            node = f"node {data.get('node_id')} ({data.get('node_type')})"
            self._run(name).end(Refused(f"{node}: {' '.join(str(data.get('exception_message')).split())}"))
        elif kind == "execution_interrupted" and name in self._runs:
            self._run(name).end(Refused("somebody interrupted it"))

    def _hear_image(self, data: bytes) -> None:
        """Samplers send previews in the same way, but as other nodes."""
        name, node = self._now
        if node == TAKER and len(data) > 8 and struct.unpack(">I", data[:4])[0] == PREVIEW_IMAGE:
            self._run(name).images.append(data[8:])

    def _run(self, name: str) -> _Run:
        """The run of that name; its news may come before the answer that tells the name."""
        run = self._runs.setdefault(name, _Run())
        if self._lost:
            run.end(Unreachable("the connection was lost"))
        return run

    async def _cancel(self) -> None:
        """Take what nobody waits for any more from the server's queue."""
        left = [name for name, run in self._runs.items() if not run.ended.done() or run.ended.exception()]
        running = self._now[0]
        with suppress(Unreachable, Refused):
            if left:
                await ask(self._session, "POST", self._url("queue"), SECONDS_TO_CANCEL, json={"delete": left})
            if running in left:
                request = {"prompt_id": running}
                await ask(self._session, "POST", self._url("interrupt"), SECONDS_TO_CANCEL, json=request)

    def _url(self, path: str) -> URL:
        return self._server.url / path


def _complaint(said: Any) -> str:
    """Why ComfyUI did not accept a workflow, in one line."""
    if not isinstance(said, dict):
        return ""
    error = said.get("error")
    lines = [error.get("message", "") if isinstance(error, dict) else str(error or "")]
    for key, node in (said.get("node_errors") or {}).items():
        for fault in node.get("errors", []):
            lines.append(f"node {key} ({node.get('class_type')}): {fault.get('message')}, {fault.get('details')}")
    return "; ".join(filter(None, lines))[:600]
