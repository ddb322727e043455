"""Pictures by servers that run elsewhere: all share the work, and the run goes on without one that fails.

A server that does not answer, or not in time, is left alone for a while, longer each time, and what it had been
asked for is asked for elsewhere; so is, once nothing else is left to do, what takes a slow one long. Only when no
server has made a picture for a quarter of an hour, or all that are there refuse one, does the run end, with the
reasons. Knows no host: how to ask one is the business of `comfyui` and `a1111`.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
import os
import statistics
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import numpy as np
import torch
from PIL import Image
from yarl import URL

from negopt.errors import ModelError, NegOptError, OptionError

from .sampler import Picture

log = logging.getLogger(__name__)

REFUSALS = 3
"""How often each server may refuse one picture before the run ends with what the last one said. A server that is away,
or has just come back, does not count."""
REMEMBERED = 50
"""Pictures whose times make a server's median."""
GLANCE = 0.05
"""Seconds after which a server without work looks again whether there is some."""
GATEWAYS = (502, 503, 504)
"""Statuses by which a proxy says that the server behind it does not answer."""

Make = Callable[[Picture], Awaitable[bytes]]
"""Asks a server for a picture and gives the image file; raises `Unreachable` or `Refused`."""
T = TypeVar("T")


class Unreachable(NegOptError):
    """A server does not answer, or not in time."""


class Refused(NegOptError):
    """A server answers that it cannot do what it was asked for."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, all in seconds but `times`."""

    first: float = 600.0
    """For the first picture after it was connected: it may have to load its checkpoint."""
    least: float = 30.0
    """For any other picture, at the least."""
    times: float = 6.0
    """For any other picture, in medians of what this server's pictures took."""
    connect: float = 30.0
    """For the answer to anything that needs no picture; a server that loads a checkpoint can be slow to say."""
    pause: float = 1.0
    """After a failure, before it is asked again; doubles with each failure in a row."""
    longest_pause: float = 60.0
    outage: float = 900.0
    """Without a picture from any server, before the run ends."""


class Server:
    """One server: where it is, how fast, and how often in a row it has failed."""

    def __init__(self, address: str, patience: Patience) -> None:
        """`address`: "http://HOST:PORT", or without "http://"; raises `OptionError`."""
        text = address if "://" in address else f"http://{address}"
        try:
            self.url = URL(text.rstrip("/"))
        except ValueError as error:
            raise OptionError(f"{address!r} is no server's address ({error})") from error
        if self.url.scheme not in ("http", "https") or not self.url.host:
            raise OptionError(f"{address!r} is no server's address; it should be like http://127.0.0.1:8188")
        self.failures = 0
        self.reason = ""
        self.returning = False
        """It was away or would not do the work, and has made no picture since: it may answer before it is ready."""
        self._patience = patience
        self._warm = False
        self._back = 0.0
        self._took: deque[float] = deque(maxlen=REMEMBERED)

    def __str__(self) -> str:
        return str(self.url.with_user(None))

    @property
    def usual(self) -> float | None:
        """The median of its last pictures' seconds, from asking to having."""
        return statistics.median(self._took) if self._took else None

    @property
    def allowance(self) -> float:
        """Seconds that its next picture may take."""
        if not self._warm or self.usual is None:
            return self._patience.first
        return max(self._patience.least, self._patience.times * self.usual)

    @property
    def pause(self) -> float:
        """Seconds for which it is still to be left alone."""
        return max(0.0, self._back - time.monotonic())

    def made(self, seconds: float) -> None:
        """It made a picture in `seconds`."""
        if self.failures:
            log.warning("%s makes pictures again", self)
        self.failures, self.returning, self._warm = 0, False, True
        self._took.append(seconds)

    def failed(self, fault: Unreachable | Refused, connected: bool = True) -> None:
        """It made none, because of this `fault`; `connected`: it had agreed to do the work."""
        if not self.failures or (isinstance(fault, Refused) and str(fault) != self.reason):
            log.warning("%s makes no pictures now (%s); it will be asked again", self, fault)
        pause = self._patience.pause * 2 ** min(self.failures, 30)
        self._back = time.monotonic() + min(pause, self._patience.longest_pause)
        self.failures += 1
        self.reason, self._warm = str(fault), False
        self.returning = self.returning or not connected or isinstance(fault, Unreachable)


class Job:
    """The pictures of one call: which wait, which are out where, which are there."""

    def __init__(self, pictures: Sequence[Picture], servers: Sequence[Server]) -> None:
        self.pictures = pictures
        self.images: dict[int, torch.Tensor] = {}
        self.done = asyncio.Event()
        self._waiting = deque(range(len(pictures)))
        self._out: dict[int, dict[Server, float]] = {row: {} for row in self._waiting}
        self._servers = servers
        self._refusals: list[Counter[Server]] = [Counter() for _ in pictures]

    async def next(self, server: Server) -> int | None:
        """The number of a picture for `server` to make, as soon as there is one for it; None when all are there."""
        while not self.done.is_set():
            row = self._first(server)
            row = self._late(server) if row is None else row
            if row is not None:
                self._out[row][server] = time.monotonic()
                return row
            await asyncio.sleep(GLANCE)
        return None

    def _first(self, server: Server) -> int | None:
        """Of what waits what was refused most, taken out: so one that all refuse soon ends the run."""
        rows = (row for row in self._waiting if self._may_have(row, server))
        row = max(rows, key=lambda row: self._refusals[row].total(), default=None)
        if row is not None:
            self._waiting.remove(row)
        return row

    def _may_have(self, row: int, server: Server) -> bool:
        """Whether no other server that is there has refused `row` less often."""
        there = [other for other in self._servers if not other.returning]
        return all(self._refusals[row][server] <= self._refusals[row][other] for other in there)

    def _late(self, server: Server) -> int | None:
        """What another server has had for longer than `server` would take twice: the longest of these."""
        if server.usual is None:
            return None
        latest = time.monotonic() - 2 * server.usual
        out = {
            row: min(at.values())
            for row, at in self._out.items()
            if len(at) == 1 and server not in at and self._may_have(row, server)
        }
        row = min(out, key=lambda row: out[row], default=None)
        return row if row is not None and out[row] < latest else None

    def finish(self, row: int, image: torch.Tensor) -> None:
        """Keep the picture that came first; raises `Refused` where it has another size than those before."""
        first = next(iter(self.images.values()), image)
        if first.shape != image.shape:
            sizes = " and ".join(f"{width}x{height}" for _, height, width in (first.shape, image.shape))
            raise Refused(f"pictures of {sizes} in one call; all must have one size")
        self.images.setdefault(row, image)
        self._out.pop(row, None)
        if not self._out:
            self.done.set()

    def give_back(self, row: int, server: Server) -> None:
        """`server` is done with it: unless it is there or out elsewhere, it waits for another."""
        if row in self._out:
            self._out[row].pop(server, None)
            if not self._out[row]:
                self._waiting.appendleft(row)

    def refuse(self, row: int, server: Server) -> bool:
        """Note that `server` refused `row`; whether all that are there have now refused it too often."""
        self._refusals[row][server] += 1
        return all(self._refusals[row][other] >= REFUSALS for other in self._servers if not other.returning)


class ServerSampler(ABC):
    """A `Sampler` whose pictures are made by one or several servers."""

    at_once = 2
    """Requests that wait at a server at a time, so that it always has the next."""

    def __init__(self, servers: Sequence[str], patience: Patience | None = None) -> None:
        """`servers`: their addresses; raises `OptionError`."""
        if not servers:
            raise OptionError("no server given; say where one runs, as in --server http://127.0.0.1:8188")
        self.patience = patience or Patience()
        self.servers = [Server(address, self.patience) for address in dict.fromkeys(servers)]
        self._last_picture = time.monotonic()
        self._said = False

    @property
    @abstractmethod
    def description(self) -> Mapping[str, Any]:
        """As in `Sampler`; without addresses, for a run may go on with other servers."""

    @abstractmethod
    def connect(self, session: aiohttp.ClientSession, server: Server) -> AbstractAsyncContextManager[Make]:
        """Check that `server` can do the work, and open what asking it needs; raises `Unreachable` or `Refused`."""

    def sample(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """float32 [B, 3, H, W], 0 to 1, on the CPU.

        Raises `ModelError` where all servers refuse a picture again and again, or none has made one for long.
        """
        return asyncio.run(self._sample(pictures))

    def check(self) -> None:
        """Ask each server whether it can do the work; raises `ModelError` where one cannot, or none answers."""

        async def ready(session: aiohttp.ClientSession, server: Server) -> bool:
            async with self.connect(session, server):
                return True

        ask_each(self.servers, ready, self.session)

    def session(self) -> aiohttp.ClientSession:
        """What requests go through; the bounds in time are those of `Patience`."""
        connect = aiohttp.ClientTimeout(total=None, sock_connect=self.patience.connect)
        return aiohttp.ClientSession(timeout=connect, connector=aiohttp.TCPConnector(limit=0))

    async def _sample(self, pictures: Sequence[Picture]) -> torch.Tensor:
        job = Job(pictures, self.servers)
        self._last_picture = time.monotonic()
        async with self.session() as session:
            serving = asyncio.ensure_future(_together(self._serve(session, server, job) for server in self.servers))
            done = asyncio.ensure_future(job.done.wait())
            try:
                await asyncio.wait((serving, done), return_when=asyncio.FIRST_COMPLETED)
                if not job.done.is_set():
                    serving.result()  # which raises
            finally:
                await _end(serving, done)
        return torch.stack([job.images[row] for row in range(len(pictures))])

    async def _serve(self, session: aiohttp.ClientSession, server: Server, job: Job) -> None:
        """Have `server` make pictures of `job`, again and again after it failed."""
        while not job.done.is_set():
            await asyncio.sleep(server.pause)
            connected = False
            try:
                async with self.connect(session, server) as make:
                    connected = True
                    await _together(self._take(server, make, job) for _ in range(self.at_once))
            except (Unreachable, Refused) as fault:
                server.failed(fault, connected)
                self._bear_outage()

    async def _take(self, server: Server, make: Make, job: Job) -> None:
        """Make one picture of `job` after another."""
        while (row := await job.next(server)) is not None:
            try:
                await self._make(server, make, job, row)
            except Refused as refusal:
                if not server.returning and job.refuse(row, server):
                    picture = job.pictures[row]
                    raise ModelError(f"{server} makes no picture of {picture.prompt[:60]!r}: {refusal}") from refusal
                raise
            finally:
                job.give_back(row, server)

    async def _make(self, server: Server, make: Make, job: Job, row: int) -> None:
        began, allowance = time.monotonic(), server.allowance
        try:
            file = await asyncio.wait_for(make(job.pictures[row]), allowance)
        except asyncio.TimeoutError:
            raise Unreachable(f"no picture within {allowance:.0f} s") from None
        job.finish(row, read_image(file))
        self._last_picture, self._said = time.monotonic(), False
        server.made(self._last_picture - began)

    def _bear_outage(self) -> None:
        """Say once that no server is left; raise `ModelError` when it has lasted too long."""
        if not all(server.failures for server in self.servers):
            return
        reasons = "; ".join(f"{server}: {server.reason}" for server in self.servers)
        if time.monotonic() - self._last_picture > self.patience.outage:
            raise ModelError(
                f"no server has made a picture for {self.patience.outage / 60:.0f} minutes ({reasons}); start one and "
                "give the same command again: a run goes on from its last checkpoint"
            )
        if not self._said:
            log.warning("no server is left (%s); waiting up to %.0f minutes", reasons, self.patience.outage / 60)
            self._said = True


def ask_each(
    servers: Sequence[Server],
    question: Callable[[aiohttp.ClientSession, Server], Awaitable[T]],
    session: Callable[[], aiohttp.ClientSession],
) -> list[T]:
    """The answers of those that answer, in order; says who does not.

    Raises `ModelError` with a server's words where it refuses, and where none answers.
    """

    async def ask() -> list[T | BaseException]:
        async with session() as opened:
            return await asyncio.gather(*(question(opened, server) for server in servers), return_exceptions=True)

    answers: list[T] = []
    silent: list[str] = []
    for server, answer in zip(servers, asyncio.run(ask()), strict=True):
        if isinstance(answer, Unreachable):
            silent.append(f"{server}: {answer}")
        elif isinstance(answer, Refused):
            raise ModelError(f"{server}: {answer}") from answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            answers.append(answer)
    if not answers:
        raise ModelError(f"no server answers ({'; '.join(silent)}); is it running, and is this its address?")
    for line in silent:
        log.warning("%s; going on without it until it answers", line)
    return answers


async def ask(session: aiohttp.ClientSession, method: str, url: URL, seconds: float | None, **request: Any) -> Any:
    """The JSON value that a server answers within `seconds`, None for an empty answer.

    Raises `Unreachable`, or `HTTPRefusal` for a status of 400 and more.
    """
    try:
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with session.request(method, url, timeout=timeout, **request) as response:
            text = (await response.read()).decode(errors="replace")
            if response.status in GATEWAYS:
                raise Unreachable(f"its proxy says {response.status} {response.reason}")
            if response.status >= 400:
                raise HTTPRefusal(response.status, text)
    except asyncio.TimeoutError:
        raise Unreachable("no answer in time") from None
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(reason(error)) from error
    try:
        return json.loads(text) if text else None
    except ValueError as error:
        raise Refused(f"its answer to {url.path} is no JSON; is it another program?") from error


class HTTPRefusal(Refused):
    """A refusal as HTTP has it; `said` is the JSON value or the text that came with it."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        try:
            self.said: Any = json.loads(text)
        except ValueError:
            self.said = text
        super().__init__(f"HTTP status {status}: {' '.join(text.split())[:300]}")


def reason(error: BaseException) -> str:
    """Why a connection failed, in a few words."""
    cause = getattr(error, "os_error", error)
    number = getattr(cause, "errno", None) or 0
    text = os.strerror(number) if number > 0 else getattr(cause, "strerror", None) or str(cause)
    return " ".join(text.split()) or type(cause).__name__


def digest(value: Any) -> str:
    """A short text that tells any two JSON values apart, the same on every machine."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def read_image(file: bytes) -> torch.Tensor:
    """float32 [3, H, W], 0 to 1, from an image file; raises `Refused` where it is none."""
    try:
        with Image.open(io.BytesIO(file)) as image:
            pixels = np.array(image.convert("RGB"), dtype=np.float32)
    except (OSError, SyntaxError) as error:
        raise Refused(f"what came is no image ({error})") from error
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


async def _together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Until all is done or one fails: then nothing of it goes on."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        await _end(*tasks)


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
