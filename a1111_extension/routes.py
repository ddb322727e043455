"""HTTP routes beside the host's own API: /negopt/v1/generate and /negopt/v1/models.

They answer where the host was started with --api, and ask for the user and password of --api-auth.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from ..negopt.errors import ModelError, NegOptError, OptionError
from ..negopt.wire import LONGEST_BODY, describe, read_request
from . import host
from .access import Refused, check_credentials
from .arguments import BY_NAME


def add_routes(app: FastAPI) -> None:
    """Add the routes to the host's application."""
    if not host.serves_api():
        return
    app.add_api_route("/negopt/v1/generate", generate, methods=["POST"])
    app.add_api_route("/negopt/v1/models", models, methods=["GET"])


async def generate(request: Request) -> JSONResponse:
    """A negative prompt for the prompt in a JSON object, as `negopt --json` prints it."""
    try:
        check_credentials(request.headers.get("authorization", ""), host.api_credentials())
        body = await _body(request)
        return JSONResponse(await run_in_threadpool(_answer, body))
    except Refused as refusal:
        return _refusal(refusal)


async def models(request: Request) -> JSONResponse:
    """The names of the models, and which one writes unless another is named."""
    try:
        check_credentials(request.headers.get("authorization", ""), host.api_credentials())
    except Refused as refusal:
        return _refusal(refusal)
    names = await run_in_threadpool(host.writer().models)
    return JSONResponse({"models": names, "default": host.default_of(BY_NAME["model"])})


async def _body(request: Request) -> bytes:
    """The request's body, read no further than it may be long."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise Refused(413, f"the request is longer than {LONGEST_BODY} bytes")
    return bytes(body)


def _answer(body: bytes) -> dict[str, Any]:
    try:
        request = read_request(body)
        model = request.model or str(host.default_of(BY_NAME["model"]))
        answer = host.writer().answer(request.prompt, model, asdict(request.options))
    except OptionError as error:
        raise Refused(422, str(error)) from error
    except ModelError as error:
        raise Refused(404 if "there is no model" in str(error) else 500, str(error)) from error
    except NegOptError as error:
        raise Refused(500, str(error)) from error
    return {**describe(request.prompt, answer), "model": model}


def _refusal(refusal: Refused) -> JSONResponse:
    return JSONResponse({"detail": str(refusal)}, refusal.status, headers=dict(refusal.headers or {}))
