"""Small servers that speak as ComfyUI and AUTOMATIC1111 do, in threads of their own, for tests without a host.

They paint one colour, which follows from all that decides a picture; that, a protocol and a set of faults is all
they have. What they say of nodes is what ComfyUI says.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import struct
import threading
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from aiohttp import WSCloseCode, web
from PIL import Image

Graph = dict[str, dict[str, Any]]
S = TypeVar("S", bound="PictureServer")


def colour(*parts: Any) -> tuple[int, ...]:
    """The colour of a picture, from what decides it."""
    return tuple(hashlib.sha256(json.dumps(parts).encode()).digest()[:3])


def seen(image: torch.Tensor) -> tuple[int, ...]:
    """The colour of a picture, from its pixels [3, H, W]."""
    flat = (image * 255).round().flatten(1)
    assert (flat == flat[:, :1]).all()
    return tuple(int(value) for value in flat[:, 0])


def png(of: tuple[int, ...], size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, of).save(file, "PNG")
    return file.getvalue()


class PictureServer:
    """A server on loopback that can be stopped in mid-work and started again on its port."""

    def __init__(self, seconds: float = 0.0) -> None:
        """`seconds`: what a picture takes."""
        self.seconds = seconds
        self.fault = ""
        """What it answers instead of painting, where it is not empty."""
        self.painted = 0
        self.asked = threading.Event()
        """Set when a picture is asked for."""
        self.port = 0
        self._stopped = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def routes(self) -> list[web.RouteDef]:
        raise NotImplementedError

    async def work(self) -> None:
        """What it does beside answering."""

    def __enter__(self: S) -> S:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        """Stop at once, whatever it is doing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(10)
            assert not self._thread.is_alive()

    async def _run(self, ready: threading.Event) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self.sockets: dict[str, web.WebSocketResponse] = {}
        app = web.Application(client_max_size=2**28)
        app.add_routes(self.routes())
        runner = web.AppRunner(app, shutdown_timeout=0.01)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = runner.addresses[0][1]
        working = asyncio.ensure_future(self.work())
        ready.set()
        await self._end.wait()
        working.cancel()
        for socket in list(self.sockets.values()):
            await socket.close(code=WSCloseCode.GOING_AWAY)
        await runner.cleanup()


STRING = ["STRING", {"multiline": True, "dynamicPrompts": True}]
SAMPLER_INPUTS: dict[str, Any] = {
    "model": ["MODEL", {}],
    "steps": ["INT", {}],
    "cfg": ["FLOAT", {}],
    "sampler_name": [["euler"], {}],
    "scheduler": [["normal"], {}],
    "positive": ["CONDITIONING"],
    "negative": ["CONDITIONING"],
    "latent_image": ["LATENT"],
}


def _info(inputs: Mapping[str, Any], outputs: list[str], names: list[str] | None = None, ends: bool = False) -> Any:
    return {
        "input": {"required": dict(inputs)},
        "output": outputs,
        "output_name": names or outputs,
        "output_node": ends,
    }


OBJECT_INFO: dict[str, Any] = {
    "CheckpointLoaderSimple": _info({"ckpt_name": [["a.safetensors", "b.safetensors"], {}]}, ["MODEL", "CLIP", "VAE"]),
    "CLIPTextEncode": _info({"text": STRING, "clip": ["CLIP", {}]}, ["CONDITIONING"]),
    "CLIPTextEncodeSDXL": _info(
        {"clip": ["CLIP"], "width": ["INT"], "text_g": STRING, "text_l": STRING}, ["CONDITIONING"]
    ),
    "ConditioningZeroOut": _info({"conditioning": ["CONDITIONING"]}, ["CONDITIONING"]),
    "ConditioningCombine": _info(
        {"conditioning_1": ["CONDITIONING"], "conditioning_2": ["CONDITIONING"]}, ["CONDITIONING"]
    ),
    "ControlNetApplyAdvanced": _info(
        {"positive": ["CONDITIONING"], "negative": ["CONDITIONING"], "strength": ["FLOAT", {}]},
        ["CONDITIONING", "CONDITIONING"],
        ["positive", "negative"],
    ),
    "PrimitiveString": _info({"value": ["STRING", {"multiline": False}]}, ["STRING"]),
    "StringConcatenate": _info(
        {"string_a": STRING, "string_b": STRING, "delimiter": ["STRING", {"multiline": False}]}, ["STRING"]
    ),
    "EmptyLatentImage": _info({"width": ["INT"], "height": ["INT"], "batch_size": ["INT"]}, ["LATENT"]),
    "KSampler": _info({"seed": ["INT", {}], **SAMPLER_INPUTS}, ["LATENT"]),
    "KSamplerAdvanced": _info(
        {"add_noise": [["enable", "disable"]], "noise_seed": ["INT"], **SAMPLER_INPUTS}, ["LATENT"]
    ),
    "RandomNoise": _info({"noise_seed": ["INT"]}, ["NOISE"]),
    "CFGGuider": _info(
        {"model": ["MODEL"], "positive": ["CONDITIONING"], "negative": ["CONDITIONING"], "cfg": ["FLOAT"]}, ["GUIDER"]
    ),
    "PerpNegGuider": _info(
        {name: ["CONDITIONING", {}] for name in ("positive", "negative", "empty_conditioning")}, ["GUIDER"]
    ),
    "PerpNeg": _info({"model": ["MODEL", {}], "empty_conditioning": ["CONDITIONING", {}]}, ["MODEL"]),
    "DualCFGGuider": _info({name: ["CONDITIONING", {}] for name in ("cond1", "cond2", "negative")}, ["GUIDER"]),
    "BasicGuider": _info({"model": ["MODEL"], "conditioning": ["CONDITIONING"]}, ["GUIDER"]),
    "SamplerCustomAdvanced": _info(
        {"noise": ["NOISE"], "guider": ["GUIDER"], "latent_image": ["LATENT"]}, ["LATENT", "LATENT"]
    ),
    "VAEDecode": _info({"samples": ["LATENT"], "vae": ["VAE"]}, ["IMAGE"]),
    "SaveImage": _info({"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "ComfyUI"}]}, [], ends=True),
    "PreviewImage": _info({"images": ["IMAGE"]}, [], ends=True),
    "PreviewAny": _info({"source": ["*", {}]}, [], ends=True),
    "ComfySwitchNode": _info(
        {name: ["COMFY_MATCHTYPE_V3", {"template": {"template_id": "switch"}}] for name in ("on_false", "on_true")},
        ["COMFY_MATCHTYPE_V3"],
        ["output"],
    ),
    "Any Switch (rgthree)": _info({}, ["*"]),
    "SDXLPromptStyler": _info(
        {"text_positive": STRING, "text_negative": STRING, "style": [["base"]]},
        ["STRING", "STRING"],
        ["text_positive", "text_negative"],
    ),
    "Efficient Loader": _info(
        {"ckpt_name": [["a.safetensors"]], "positive": STRING, "negative": STRING, "batch_size": ["INT", {}]},
        ["MODEL", "CONDITIONING", "CONDITIONING", "LATENT", "VAE", "CLIP", "DEPENDENCIES"],
        ["MODEL", "CONDITIONING+", "CONDITIONING-", "LATENT", "VAE", "CLIP", "DEPENDENCIES"],
    ),
    "KSampler (Efficient)": _info(
        {"seed": ["INT", {}], **SAMPLER_INPUTS, "vae_decode": [["true", "false"]]},
        ["MODEL", "CONDITIONING", "CONDITIONING", "LATENT", "VAE", "IMAGE"],
        ["MODEL", "CONDITIONING+", "CONDITIONING-", "LATENT", "VAE", "IMAGE"],
        ends=True,
    ),
    "SaveImageWebsocket": _info({"images": ["IMAGE"]}, [], ends=True),
}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


SAMPLER = {"steps": 9, "cfg": 6.5, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}


def plain(**changes: Any) -> Graph:
    """Text to image as ComfyUI starts with it; `changes` are nodes by id."""
    links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
    graph: Graph = {
        "3": node("KSampler", seed=5, **links, **SAMPLER),
        "4": node("CheckpointLoaderSimple", ckpt_name="a.safetensors"),
        "5": node("EmptyLatentImage", width=16, height=8, batch_size=4),
        "6": node("CLIPTextEncode", text="a dog", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="ugly", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="mine"),
    }
    return {**graph, **{key.strip("_"): made for key, made in changes.items()}}


class ComfyUIServer(PictureServer):
    """Runs graphs of the nodes in `OBJECT_INFO`, one after the other, and says so over its websocket."""

    def __init__(self, seconds: float = 0.0, without: tuple[str, ...] = ()) -> None:
        """`without`: node classes that it lacks."""
        super().__init__(seconds)
        self.info = {name: info for name, info in OBJECT_INFO.items() if name not in without}
        self.graphs: list[Graph] = []
        """Those that it ran."""
        self.deleted: list[str] = []
        self.interrupted: list[str] = []
        self.chatter: tuple[str, ...] = ()
        """What it says over its websocket before each run, as custom nodes do."""
        self.accepting: Any = ...
        """What it answers to a workflow in place of what ComfyUI answers."""

    def routes(self) -> list[web.RouteDef]:
        self._queue: asyncio.Queue[tuple[str, str, Graph]] = asyncio.Queue()
        return [
            web.get("/object_info/{name}", self._say),
            web.post("/prompt", self._accept),
            web.post("/queue", self._delete),
            web.post("/interrupt", self._interrupt),
            web.get("/ws", self._open),
        ]

    async def _say(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.json_response({name: self.info[name]} if name in self.info else {})

    async def _accept(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if self.accepting is not ...:
            return web.json_response(self.accepting)
        for key, node in asked["prompt"].items():
            if node["class_type"] not in self.info:
                return web.json_response({"error": {"message": "no such node"}, "node_errors": {}}, status=400)
            for name, value in node["inputs"].items():
                if isinstance(value, list) and value[0] not in asked["prompt"]:
                    fault = {"message": "Bad linked input", "details": name}
                    errors = {key: {"class_type": node["class_type"], "errors": [fault]}}
                    answer = {"error": {"message": "Prompt outputs failed validation"}, "node_errors": errors}
                    return web.json_response(answer, status=400)
        self.asked.set()
        await self._queue.put((asked["prompt_id"], asked["client_id"], asked["prompt"]))
        return web.json_response({"prompt_id": asked["prompt_id"], "number": 0, "node_errors": {}})

    async def _delete(self, request: web.Request) -> web.Response:
        self.deleted += (await request.json())["delete"]
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        self.interrupted.append((await request.json())["prompt_id"])
        return web.Response()

    async def _open(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets[request.query["clientId"]] = socket
        await socket.send_json({"type": "status", "data": {"status": {}, "sid": request.query["clientId"]}})
        async for _ in socket:
            pass
        return socket

    async def work(self) -> None:
        while True:
            name, client, graph = await self._queue.get()
            socket = self.sockets.get(client)
            if name in self.deleted or socket is None or socket.closed:
                continue
            await self._run_graph(name, graph, socket)

    async def _run_graph(self, name: str, graph: Graph, socket: web.WebSocketResponse) -> None:
        async def tell(kind: str, **data: Any) -> None:
            await socket.send_json({"type": kind, "data": {"prompt_id": name, **data}})

        self.graphs.append(graph)
        for text in self.chatter:
            await socket.send_str(text)
        await tell("execution_start")
        (end,) = [key for key, node in graph.items() if self.info[node["class_type"]]["output_node"]]
        of, size = self._paint(graph, graph[end]["inputs"]["images"][0])
        await tell("executing", node="preview of a sampler")
        await socket.send_bytes(struct.pack(">II", 1, 1) + b"a JPEG")
        await asyncio.sleep(self.seconds)
        if self.fault:
            await tell("execution_error", node_id="3", node_type="KSampler", exception_message=self.fault)
        elif name not in self.interrupted:
            await tell("executing", node=end)
            await socket.send_bytes(struct.pack(">II", 1, 2) + png(of, size))
            self.painted += 1
        await tell("executing", node=None)

    def _paint(self, graph: Graph, key: str) -> tuple[tuple[int, ...], tuple[int, int]]:
        """The colour and the size of the picture that a node gives."""

        def text(value: Any) -> Any:
            """What an input comes to, with every node that has a part in it."""
            if not isinstance(value, list):
                return value
            node = graph[value[0]]
            inputs = {name: text(value) for name, value in sorted(node["inputs"].items())}
            if node["class_type"] == "StringConcatenate":
                return inputs["string_a"] + inputs["delimiter"] + inputs["string_b"]
            if node["class_type"] == "PrimitiveString":
                return inputs["value"]
            return [node["class_type"], value[1], inputs]

        latent = next(node["inputs"] for node in graph.values() if node["class_type"] == "EmptyLatentImage")
        return colour(text([key, 0])), (latent["width"], latent["height"])


class WebUIServer(PictureServer):
    """Answers the requests of AUTOMATIC1111's API that a sampler needs, one at a time."""

    def __init__(self, seconds: float = 0.0, auth: str = "", extension: bool = True) -> None:
        """`auth`: "user:password". `extension`: whether it has NegOpt, ticked: it rewrites what it is not kept from."""
        super().__init__(seconds)
        self.auth, self.extension = auth, extension
        self.checkpoints = ["dream.safetensors [0123456789]", "other.ckpt"]
        self.requests: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {}
        """What it answers instead, by the name of the route."""

    def routes(self) -> list[web.RouteDef]:
        self._one = asyncio.Lock()
        return [
            web.get("/sdapi/v1/{name}", self._answer),
            web.post("/sdapi/v1/{name}", self._answer),
        ]

    async def _answer(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").removeprefix("Basic ")
        if base64.b64decode(given).decode() != self.auth:
            return web.json_response({"detail": "Incorrect username or password"}, status=401)
        name = request.match_info["name"]
        if name in self.answers:
            return web.json_response(self.answers[name])
        if name == "sd-models":
            return web.json_response([self._model(title) for title in self.checkpoints])
        if name == "scripts":
            return web.json_response({"txt2img": ["refiner", *(["negopt"] if self.extension else [])], "img2img": []})
        if name == "options":
            return web.json_response({"sd_model_checkpoint": self.checkpoints[0]})
        if name == "png-info":
            return web.json_response(self._png_info((await request.json())["image"]))
        if name == "txt2img":
            return await self._paint(await request.json())
        return web.json_response({"detail": "Not Found"}, status=404)

    @staticmethod
    def _model(title: str) -> dict[str, Any]:
        file = title.split(" [")[0]
        digits = title[title.index("[") + 1 : -1] if "[" in title else None
        return {"title": title, "model_name": file.split(".")[0], "hash": digits, "filename": f"C:\\models\\{file}"}

    @staticmethod
    def _png_info(image: str) -> dict[str, Any]:
        text = Image.open(io.BytesIO(base64.b64decode(image))).info.get("parameters", "")
        entries = dict(part.split(": ", 1) for part in text.split("\n")[-1].split(", ")) if text else {}
        if "Size" in entries:
            entries["Size-1"], entries["Size-2"] = entries.pop("Size").split("x")
        return {"info": text, "items": {}, "parameters": {"Prompt": text.split("\n")[0], "Clip skip": "1", **entries}}

    async def _paint(self, asked: dict[str, Any]) -> web.Response:
        self.asked.set()
        async with self._one:
            await asyncio.sleep(self.seconds)
        self.requests.append(asked)
        if self.fault:
            return web.json_response({"error": "OutOfMemoryError", "detail": "", "errors": self.fault}, status=500)
        scripts = {name.lower(): value["args"] for name, value in asked.get("alwayson_scripts", {}).items()}
        negative = asked["negative_prompt"]
        if self.extension and scripts.get("negopt", [True])[0]:
            negative += ", written by the extension"
        of = colour(asked["prompt"], negative, asked["seed"], asked["override_settings"]["sd_model_checkpoint"])
        self.painted += 1
        image = base64.b64encode(png(of, (asked["width"], asked["height"]))).decode()
        return web.json_response(
            {"images": [image], "parameters": {}, "info": json.dumps({"negative_prompt": negative})}
        )


def wait_for(condition: Any, seconds: float = 10.0) -> None:
    """Wait until `condition()` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
