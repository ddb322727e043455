"""Several servers that share the work, some of which fail, hang, dawdle or come back."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import torch

from negopt.errors import ModelError, OptionError
from tests.picture_servers import colour, png, seen
from training.samplers import Picture
from training.samplers.servers import (
    REFUSALS,
    Make,
    Patience,
    Refused,
    Server,
    ServerSampler,
    Unreachable,
    read_image,
)

QUICK = Patience(first=2.0, least=0.3, times=20.0, connect=1.0, pause=0.02, longest_pause=0.1, outage=0.5)
PICTURES = [Picture(f"prompt {number % 5}", "blurry", number) for number in range(20)]

Behave = Callable[[Picture], Awaitable[None]]


class Painters(ServerSampler):
    """Servers without a network, each with a behaviour; `made` says who made which picture."""

    def __init__(self, patience: Patience = QUICK, **behaviours: Behave) -> None:
        super().__init__([f"http://{name}" for name in behaviours], patience)
        self.behaviours = behaviours
        self.made: list[tuple[str, Picture]] = []

    @property
    def description(self) -> Mapping[str, Any]:
        return {}

    @asynccontextmanager
    async def connect(self, session: aiohttp.ClientSession, server: Server) -> AsyncIterator[Make]:
        name = str(server.url.host)

        async def make(picture: Picture) -> bytes:
            await self.behaviours[name](picture)
            self.made.append((name, picture))
            return png(colour(picture))

        yield make

    def share(self, name: str) -> int:
        return sum(by == name for by, _ in self.made)


def takes(seconds: float) -> Behave:
    async def behave(_: Picture) -> None:
        await asyncio.sleep(seconds)

    return behave


def fails(error: Exception) -> Behave:
    async def behave(_: Picture) -> None:
        raise error

    return behave


def right(images: torch.Tensor) -> bool:
    return [seen(image) for image in images] == [colour(picture) for picture in PICTURES]


def test_pictures_come_in_order_as_floats() -> None:
    images = Painters(one=takes(0.001)).sample(PICTURES)
    assert images.shape == (20, 3, 8, 8)
    assert images.dtype == torch.float32
    assert right(images)


def test_two_servers_share_the_work_by_their_speed() -> None:
    painters = Painters(fast=takes(0.01), slow=takes(0.03))
    assert right(painters.sample(PICTURES))
    assert painters.share("fast") > painters.share("slow") > 0
    assert len(painters.made) <= len(PICTURES) + 2  # what the slow one had at the end may be made twice


def test_a_server_has_its_next_request_before_it_is_done_with_one() -> None:
    waiting, most = 0, 0

    async def count(_: Picture) -> None:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.005)
        waiting -= 1

    Painters(one=count).sample(PICTURES)
    assert most == Painters.at_once


def test_what_a_dead_server_had_is_made_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    painters = Painters(dead=fails(Unreachable("connection refused")), well=takes(0.002))
    assert right(painters.sample(PICTURES))
    assert painters.share("well") == 20
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["http://dead makes no pictures now (connection refused); it will be asked again"]


def test_a_server_that_hangs_is_left_after_its_time() -> None:
    """The other has no pictures of its own to compare with before it is asked: time alone decides."""
    painters = Painters(replace(QUICK, first=0.2), hung=takes(60.0), well=takes(0.01))
    began = time.monotonic()
    assert right(painters.sample(PICTURES))
    assert time.monotonic() - began < 2.0


def test_what_a_slow_server_has_last_is_made_by_an_idle_one() -> None:
    painters = Painters(replace(QUICK, first=30.0), slow=takes(20.0), fast=takes(0.01))
    began = time.monotonic()
    assert right(painters.sample(PICTURES))
    assert time.monotonic() - began < 2.0
    assert painters.share("fast") == 20


def test_the_allowance_follows_the_median_with_a_floor() -> None:
    server = Server("http://a", Patience(first=600, least=30, times=6))
    assert server.allowance == 600
    for seconds in (1.0, 1.0, 100.0):
        server.made(seconds)
    assert server.allowance == 30
    for _ in range(4):
        server.made(20.0)
    assert server.allowance == 120
    server.failed(Unreachable("restarted"))
    assert server.allowance == 600  # it may have to load its checkpoint again


def test_the_pause_doubles_up_to_the_longest_and_ends_with_a_picture() -> None:
    server = Server("http://a", Patience(pause=1, longest_pause=5))
    pauses = []
    for _ in range(4):
        server.failed(Unreachable("gone"))
        pauses.append(round(server.pause))
    assert pauses == [1, 2, 4, 5]
    server.made(1.0)
    assert server.failures == 0


def test_a_server_that_comes_back_is_used_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    back = time.monotonic() + 0.15

    async def away(_: Picture) -> None:
        if time.monotonic() < back:
            raise Unreachable("away")

    painters = Painters(moody=away, steady=takes(0.03))
    assert right(painters.sample(PICTURES))
    assert painters.share("moody") > 0
    assert "http://moody makes pictures again" in caplog.messages


def test_a_server_that_answers_before_it_is_ready_is_given_time(caplog: pytest.LogCaptureFixture) -> None:
    """As Forge does after a restart: HTTP status 500 until its checkpoint is there. What it says is told, once."""
    began = time.monotonic()
    refused = 0

    async def starting(_: Picture) -> None:
        nonlocal refused
        if time.monotonic() < began + 0.05:
            raise Unreachable("connection refused")
        if time.monotonic() < began + 0.4:
            refused += 1
            raise Refused("HTTP status 500")

    assert right(Painters(one=starting).sample(PICTURES))
    assert refused > REFUSALS
    reasons = [message for message in caplog.messages if "makes no pictures now" in message]
    assert [("connection refused" in reason, "HTTP status 500" in reason) for reason in reasons] == [
        (True, False),
        (False, True),
    ]


def test_without_any_server_the_run_waits_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    back = time.monotonic() + 0.3

    async def away(_: Picture) -> None:
        if time.monotonic() < back:
            raise Unreachable("away")

    assert right(Painters(one=away, two=away).sample(PICTURES))
    assert sum(message.startswith("no server is left") for message in caplog.messages) == 1


def test_a_long_outage_ends_in_one_clear_error() -> None:
    away = fails(Unreachable("connection refused"))
    with pytest.raises(ModelError, match=r"(?s)no server.*http://one: connection refused; http://two: .*checkpoint"):
        Painters(one=away, two=away).sample(PICTURES)


def test_a_picture_that_is_refused_again_and_again_ends_the_run_with_the_servers_words() -> None:
    async def never_three(picture: Picture) -> None:
        if picture.seed == 3:
            raise Refused("CUDA out of memory")

    with pytest.raises(ModelError, match=r"'prompt 3': CUDA out of memory"):
        Painters(one=never_three, two=never_three).sample(PICTURES)


def test_a_refusal_at_one_server_is_made_good_by_the_other() -> None:
    painters = Painters(small=fails(Refused("CUDA out of memory")), large=takes(0.001))
    painters.behaviours["small"] = _refuses_once()
    assert right(painters.sample(PICTURES))


def test_a_server_that_refuses_all_does_not_end_the_run_of_a_slow_one() -> None:
    refused: list[int] = []

    async def broken(picture: Picture) -> None:
        refused.append(picture.seed)
        raise Refused("CUDA out of memory")

    painters = Painters(replace(QUICK, longest_pause=0.02), slow=takes(0.1), broken=broken)
    assert right(painters.sample(PICTURES))
    assert painters.share("slow") == 20
    assert len(refused) == len(set(refused)) > REFUSALS  # what it refused is left to the other


def test_a_picture_that_all_refuse_ends_the_run_after_each_has_been_asked_often_enough() -> None:
    asked: Counter[tuple[str, int]] = Counter()

    def broken(name: str) -> Behave:
        async def behave(picture: Picture) -> None:
            await asyncio.sleep(0.02)  # so that both are asked for pictures of their own
            asked[name, picture.seed] += 1
            raise Refused("CUDA out of memory")

        return behave

    with pytest.raises(ModelError, match="CUDA out of memory"):
        Painters(one=broken("one"), two=broken("two")).sample(PICTURES)
    assert any(asked["one", seed] >= REFUSALS <= asked["two", seed] for seed in range(20))
    assert asked.total() <= 10 * REFUSALS


def test_a_server_that_would_not_do_the_work_is_not_waited_for() -> None:
    class Picky(Painters):
        @asynccontextmanager
        async def connect(self, session: aiohttp.ClientSession, server: Server) -> AsyncIterator[Make]:
            if server.url.host == "other":
                assert time.monotonic() < began + 5.0, "the picture waits for it"
                raise Refused("it has no checkpoint 'dream'")
            async with super().connect(session, server) as make:
                yield make

    began = time.monotonic()
    painters = Picky(one=_refuses_once(), other=takes(0.001))
    assert right(painters.sample(PICTURES))
    assert painters.share("one") == 20


def _refuses_once() -> Behave:
    told = threading.Event()

    async def behave(_: Picture) -> None:
        if not told.is_set():
            told.set()
            raise Refused("CUDA out of memory")

    return behave


def test_a_fault_of_our_own_is_not_taken_for_a_servers() -> None:
    with pytest.raises(ZeroDivisionError):
        Painters(one=fails(ZeroDivisionError())).sample(PICTURES)


def test_pictures_of_another_size_are_refused() -> None:
    class Sizes(Painters):
        @asynccontextmanager
        async def connect(self, session: aiohttp.ClientSession, server: Server) -> AsyncIterator[Make]:
            async def make(picture: Picture) -> bytes:
                return png(colour(picture), (8, 16) if picture.seed == 7 else (8, 8))

            yield make

    with pytest.raises(ModelError, match="8x8 and 8x16"):
        Sizes(one=takes(0)).sample(PICTURES)


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(Refused, match="no image"):
        read_image(b"<html>")


@pytest.mark.parametrize("address", ["", "ftp://host", "http://", "http://host:port"])
def test_a_bad_address_is_said(address: str) -> None:
    with pytest.raises(OptionError, match="no server's address"):
        Server(address, QUICK)


def test_an_address_without_its_scheme_is_understood_and_its_password_is_not_told() -> None:
    assert str(Server("127.0.0.1:8188/", QUICK)) == "http://127.0.0.1:8188"
    assert str(Server("https://ann:secret@host/comfy", QUICK)) == "https://host/comfy"


def test_no_server_at_all_is_said() -> None:
    with pytest.raises(OptionError, match="no server given"):
        Painters()
