"""Pictures by running AUTOMATIC1111 or Forge servers, through /sdapi/v1/txt2img.

The user's settings are a request for txt2img in a JSON file, or a picture made with them, whose infotext the
server itself reads. A text in the settings may say with `{prompt}` or `{negative}` where the picture's own goes;
tags such as <lora:name:0.8> in the settings' prompt go with every prompt. NegOpt's own extension is switched off
for these requests: what is judged is the text that was given.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PureWindowsPath
from typing import Any

import aiohttp

from negopt.errors import OptionError

from .sampler import Picture
from .servers import HTTPRefusal, Make, Patience, Refused, Server, ServerSampler, ask, ask_each, digest

DEFAULTS: Mapping[str, Any] = {"steps": 20, "cfg_scale": 7.0, "width": 512, "height": 512, "sampler_name": "Euler"}
"""What is asked for where the settings say nothing, for what a server assumes differs between versions."""
CHECKPOINT = "sd_model_checkpoint"
"""The server's setting that names its checkpoint."""
OURS = "NegOpt"
"""The title of the extension's script."""
MOST_NAMED = 20
"""Checkpoints that an error lists, of those that a server has."""
_ANOTHER = "it does not answer as the web UI does; is this its address?"
PROMPT, NEGATIVE = "{prompt}", "{negative}"
_TAG = re.compile(r"<[^<>:\s]+:[^<>]+>")

Settings = dict[str, Any]
Read = Callable[[str], Any]

FIELDS: Mapping[str, tuple[str, Read]] = {
    "Steps": ("steps", int),
    "Sampler": ("sampler_name", str),
    "Schedule type": ("scheduler", str),
    "CFG scale": ("cfg_scale", float),
    "Size-1": ("width", int),
    "Size-2": ("height", int),
    "Denoising strength": ("denoising_strength", float),
    "Hires upscale": ("hr_scale", float),
    "Hires upscaler": ("hr_upscaler", str),
    "Hires steps": ("hr_second_pass_steps", int),
    "Hires resize-1": ("hr_resize_x", int),
    "Hires resize-2": ("hr_resize_y", int),
    "Hires CFG Scale": ("hr_cfg", float),
    "Refiner": ("refiner_checkpoint", str),
    "Refiner switch at": ("refiner_switch_at", float),
    "Styles array": ("styles", list),
}
"""An infotext's entries that are fields of a request."""
OVERRIDES: Mapping[str, tuple[str, Read]] = {
    "Model hash": (CHECKPOINT, str),
    "Model": (CHECKPOINT, str),
    "Clip skip": ("CLIP_stop_at_last_layers", int),
    "VAE": ("sd_vae", str),
    "ENSD": ("eta_noise_seed_delta", int),
    "RNG": ("randn_source", str),
    "Emphasis": ("emphasis", str),
}
"""An infotext's entries that are settings of the server, for a request to override; the later of two counts."""


class WebUISampler(ServerSampler):
    """A `Sampler` that asks AUTOMATIC1111 or Forge servers."""

    def __init__(
        self, servers: Sequence[str], settings: Settings, auth: str | None = None, patience: Patience | None = None
    ) -> None:
        """`settings`: fields of a txt2img request. `auth`: "user:password"; raises `OptionError`."""
        super().__init__(servers, patience)
        if auth is not None and ":" not in auth:
            raise OptionError("--api-auth takes USER:PASSWORD, as the server was given it")
        self._headers = {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"} if auth else {}
        self.settings = settings

    @classmethod
    def open(
        cls,
        servers: Sequence[str],
        settings: Path | None = None,
        auth: str | None = None,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        patience: Patience | None = None,
    ) -> WebUISampler:
        """`settings`: a JSON file, or a picture with infotext. `steps`, `guidance`: in place of the settings' own.

        Where the settings name no checkpoint it is the one that the first server has loaded. Raises `OptionError`
        for settings that cannot be used, `ModelError` where no server answers or one lacks the checkpoint.
        """
        sampler = cls(servers, {}, auth, patience)
        given = sampler._read(settings) if settings is not None else {}
        asked = {"steps": steps, "cfg_scale": guidance}
        sampler.settings = _complete({**given, **{name: value for name, value in asked.items() if value is not None}})
        if not sampler.checkpoint:
            (now,) = ask_each(sampler.servers, sampler._loaded, sampler.session)[:1]
            sampler.settings["override_settings"][CHECKPOINT] = now
        sampler.check()
        return sampler

    @property
    def checkpoint(self) -> str:
        """As the settings name it; "" for whichever a server has loaded."""
        return str(self.settings.get("override_settings", {}).get(CHECKPOINT) or "")

    @property
    def description(self) -> Mapping[str, Any]:
        width, height = self.settings["width"], self.settings["height"]
        return {
            "sampler": "a1111",
            "checkpoint": _plain(self.checkpoint),
            "steps": self.settings["steps"],
            "guidance": self.settings["cfg_scale"],
            "scheduler": " ".join(filter(None, (self.settings["sampler_name"], self.settings.get("scheduler")))),
            "size": width if width == height else f"{width}x{height}",
            "settings": digest(self.settings),
        }

    @asynccontextmanager
    async def connect(self, session: aiohttp.ClientSession, server: Server) -> AsyncIterator[Make]:
        seconds = self.patience.connect
        models, scripts = await asyncio.gather(
            self._ask(session, server, "GET", "sd-models", seconds),
            self._ask(session, server, "GET", "scripts", seconds),
        )
        try:
            title = _title_of(self.checkpoint, models)
            has_ours = OURS.lower() in (name.lower() for name in scripts["txt2img"])
        except (KeyError, TypeError, AttributeError) as error:
            raise Refused(_ANOTHER) from error
        override = {**self.settings["override_settings"], CHECKPOINT: title}
        always = {k: v for k, v in self.settings.get("alwayson_scripts", {}).items() if k.lower() != OURS.lower()}
        if has_ours:
            always[OURS] = {"args": [False]}
        same = {**self.settings, "override_settings": override, "alwayson_scripts": always}

        async def make(picture: Picture) -> bytes:
            # Its own bound in time is that of whoever waits for the picture.
            answer = await self._ask(session, server, "POST", "txt2img", None, json=fill(same, picture))
            try:
                images = [base64.b64decode(image.rpartition(",")[2]) for image in answer["images"]]
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise Refused(_ANOTHER) from error
            if len(images) != 1:
                raise Refused(f"it makes {len(images)} pictures of one request; it must make one")
            return images[0]

        yield make

    async def _ask(
        self, session: aiohttp.ClientSession, server: Server, method: str, name: str, seconds: float | None, **more: Any
    ) -> Any:
        """The answer of a route of the API; raises `Unreachable`, or `Refused` with the server's words."""
        try:
            return await ask(session, method, server.url / "sdapi/v1" / name, seconds, headers=self._headers, **more)
        except HTTPRefusal as refusal:
            raise Refused(_complaint(refusal, name, bool(self._headers))) from refusal

    async def _loaded(self, session: aiohttp.ClientSession, server: Server) -> str:
        """The checkpoint that a server has loaded, "" where it does not say."""
        options = await self._ask(session, server, "GET", "options", self.patience.connect)
        if not isinstance(options, dict):
            raise Refused(_ANOTHER)
        return _plain(str(options.get(CHECKPOINT) or ""))

    def _read(self, file: Path) -> Settings:
        """The settings in a file; raises `OptionError`."""
        try:
            data = file.read_bytes()
        except OSError as error:
            raise OptionError(f"{file}: cannot be read ({error.strerror or error})") from error
        if not data.lstrip().startswith(b"{"):
            return self._read_picture(file, data)
        try:
            settings = json.loads(data)
        except ValueError as error:
            raise OptionError(f"{file}: not JSON ({error})") from error
        for name in ("override_settings", "alwayson_scripts"):
            if not isinstance(settings.get(name, {}), dict):
                raise OptionError(f"{file}: {name} must be a JSON object")
        return dict(settings)

    def _read_picture(self, file: Path, data: bytes) -> Settings:
        """The settings that a picture was made with, as a server reads them."""

        async def question(session: aiohttp.ClientSession, server: Server) -> Any:
            request = {"image": base64.b64encode(data).decode()}
            said = await self._ask(session, server, "POST", "png-info", self.patience.connect, json=request)
            if not isinstance(said, dict):
                raise Refused(_ANOTHER)
            return said

        answer = ask_each(self.servers, question, self.session)[0]
        if "Steps" not in (answer.get("parameters") or {}):
            raise OptionError(f"{file}: neither settings in JSON nor a picture with generation parameters")
        return settings_of(answer["parameters"])


def settings_of(parameters: Mapping[str, Any]) -> Settings:
    """A request for pictures as one that was made with `parameters`, a server's reading of an infotext."""
    settings: Settings = {field: read(parameters[key]) for key, (field, read) in FIELDS.items() if key in parameters}
    override = {name: read(parameters[key]) for key, (name, read) in OVERRIDES.items() if key in parameters}
    if not {"Hires upscale", "Hires upscaler"} & parameters.keys():
        settings = {name: value for name, value in settings.items() if not name.startswith(("hr_", "denoising"))}
    else:
        settings["enable_hr"] = True
    tags = " ".join(_TAG.findall(str(parameters.get("Prompt", ""))))
    return {**settings, "prompt": tags, "override_settings": override}


def fill(settings: Settings, picture: Picture) -> Settings:
    """The request for one picture."""
    return {
        **settings,
        "prompt": _put(settings["prompt"], PROMPT, picture.prompt),
        "negative_prompt": _put(settings["negative_prompt"], NEGATIVE, picture.negative_prompt),
        "seed": picture.seed,
    }


def _put(text: str, mark: str, own: str) -> str:
    """`own` at the mark in `text`."""
    return own.join(text.split(mark))


def _complete(settings: Settings) -> Settings:
    """Settings that say all that decides a picture, and ask for one; raises `OptionError`."""
    prompt, negative = str(settings.get("prompt") or ""), str(settings.get("negative_prompt") or "")
    if PROMPT not in prompt:
        prompt = " ".join([PROMPT, *_TAG.findall(prompt)])
    override = dict(settings.get("override_settings") or {})
    whole: Settings = {
        **DEFAULTS,
        **settings,
        "prompt": prompt,
        "negative_prompt": negative if NEGATIVE in negative else NEGATIVE,
        "override_settings": override,
        # Put back after each picture, a VAE would be loaded twice for each.
        "override_settings_restore_afterwards": "sd_vae" not in override,
        "batch_size": 1,
        "n_iter": 1,
        "send_images": True,
        "save_images": False,
    }
    for name in ("infotext", "force_task_id"):
        whole.pop(name, None)
    if whole.get("enable_hr"):
        # The second pass takes the texts of the first; Forge must be told, and told that guidance counts there, too.
        whole.setdefault("hr_cfg", whole["cfg_scale"])
        whole.setdefault("hr_additional_modules", ["Use same choices"])
        whole |= {"hr_prompt": "", "hr_negative_prompt": ""}
    if whole["cfg_scale"] == 1:
        raise OptionError("settings without a negative: with a guidance (cfg_scale) of 1 it has no effect")
    return whole


def _title_of(name: str, models: Sequence[Mapping[str, Any]]) -> str:
    """The title under which a server has a checkpoint; raises `Refused` with those that there are."""
    if not name:
        raise Refused(f"it has loaded no checkpoint; name one in the settings, as override_settings.{CHECKPOINT}")
    wanted = {name, _plain(name)}
    for model in models:
        file = PureWindowsPath(str(model.get("filename") or ""))  # which knows both kinds of slashes
        title = str(model["title"])
        known = {title, _plain(title), model.get("model_name"), model.get("hash"), model.get("sha256")}
        if wanted & (known | {file.name, file.stem}):
            return title
    there = ", ".join(_plain(str(model["title"])) for model in models[:MOST_NAMED]) or "none"
    raise Refused(f"it has no checkpoint {name!r}; it has {there}")


def _plain(title: str) -> str:
    """A checkpoint's title without its hash, which a server may not know yet."""
    return re.sub(r" \[[0-9a-f]+\]$", "", title)


def _complaint(refusal: HTTPRefusal, name: str, authorized: bool) -> str:
    """What a refusal means, in one line."""
    if refusal.status == 401:
        return (
            "it refuses this --api-auth" if authorized else "it wants --api-auth USER:PASSWORD, as it was started with"
        )
    if refusal.status == 404 and name != "txt2img":
        return "it has no API; start it with --api"
    said = refusal.said if isinstance(refusal.said, dict) else {}
    parts = [said.get("error"), said.get("errors"), said.get("detail")]
    text = "; ".join(" ".join(str(part).split()) for part in parts if part)
    return text[:600] or str(refusal)
