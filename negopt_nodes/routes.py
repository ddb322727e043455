"""POST /negopt/write: the negative for a prompt, without running the graph.

For the page's own "Write" button. It reads nothing but loaded or listed models and changes nothing;
answers only the page it was served with; takes small JSON and gives JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..negopt.errors import NegOptError
from ..negopt.wire import LONGEST_BODY, parse_body, read_request
from .jobs import Job, merge_or_join, write
from .models import open_model
from .report import merge_report, report

if TYPE_CHECKING:
    from aiohttp import web

PATH = "/negopt/write"


def register() -> None:
    """Add the route to ComfyUI's server, unless another copy of this pack has."""
    from server import PromptServer

    routes = PromptServer.instance.routes
    if not any(getattr(route, "path", None) == PATH for route in routes):
        routes.post(PATH)(answer)


async def answer(request: web.Request) -> web.Response:
    """200 with "entries" (see `report`), or 4xx with "error", one line for the person at the page."""
    from aiohttp import web

    def refused(status: int, reason: str) -> web.Response:
        return web.json_response({"error": reason}, status=status)

    if request.content_type != "application/json" or not is_same_origin(request.headers):
        return refused(403, "this address answers only ComfyUI's own page")
    body = await _limited_body(request)
    if body is None:
        return refused(413, f"the request is longer than {LONGEST_BODY} bytes")
    try:
        # In a thread: the page's other requests are not to wait for a model that is being loaded.
        found = await asyncio.get_running_loop().run_in_executor(None, entries, body)
    except NegOptError as error:
        return refused(400, str(error))
    return web.json_response({"entries": found})


def entries(body: bytes) -> list[dict[str, Any]]:
    """What the page shows: one entry for each alternative. With "negatives", a list of texts, these are merged and
    kept, as the merging node does. Raises `OptionError`."""
    values = dict(parse_body(body))
    negatives = values.pop("negatives", None)
    request = read_request(values)
    options = asdict(request.options)
    if not isinstance(negatives, list):
        return report(write([Job(request.prompt, options, request.model or "")], open_model))
    texts = [text for text in negatives if isinstance(text, str)]
    merged = merge_or_join(request.prompt, *texts, avoid=request.options.avoid)
    job = Job(request.prompt, {**options, "keep": merged.text}, request.model or "")
    return [merge_report(entry, merged, texts) for entry in report(write([job], open_model))]


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a browser sent this from the page itself, or no browser did."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("Origin")
    hosts = (headers.get("Host"), headers.get("X-Forwarded-Host"))
    return origin is None or urlsplit(origin).netloc in hosts


async def _limited_body(request: web.Request) -> bytes | None:
    body = b""
    while len(body) <= LONGEST_BODY and (chunk := await request.content.read(LONGEST_BODY)):
        body += chunk
    return body if len(body) <= LONGEST_BODY else None
