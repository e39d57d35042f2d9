"""Bodies of requests, read with limits, and what every route does with them."""

import uuid
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from jaxembed.server import bodies
from jaxembed.server.decoding import charset_of
from jaxembed.server.encoding import json_response, large_json_response
from jaxembed.server.errors import HttpError
from jaxembed.server.faces import Face
from jaxembed.server.schemas.common import CohereError, ErrorResponse, TeiError
from jaxembed.server.schemas.ollama import OllamaError
from jaxembed.server.service import Gone
from jaxembed.server.settings import Settings
from jaxembed.server.threads import Threads

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_MEANINGS = {
    400: "the request cannot be served as it is",
    401: "no valid key",
    404: "no such model",
    408: "the body stopped coming",
    413: "the body is too large",
    415: "the body is not JSON",
    422: "the request cannot be served as it is",
    429: "too much waits; Retry-After says for how long",
    501: "this model has no such task",
    503: "the engine is not available; Retry-After says for how long",
}
_SHAPES: dict[Face, type[BaseModel]] = {
    "openai": ErrorResponse,
    "cohere": CohereError,
    "tei": TeiError,
    "ollama": OllamaError,
}
_RAW = {"schema": {"type": "string", "format": "binary"}}


def errors_of(face: Face) -> dict[int | str, dict[str, Any]]:
    """Returns the documentation of what a route of an API may answer besides 200."""
    left_out = 400 if face == "tei" else 422
    return {
        status: {"model": _SHAPES[face], "description": meaning} for status, meaning in _MEANINGS.items() if status != left_out
    }


def route[F: Callable[..., Any]](
    app: FastAPI, path: str, *, face: Face, methods: Sequence[str] = ("GET",), **options: Any
) -> Callable[[F], F]:
    """Adds a route that reads no body; a decorator, as FastAPI's `api_route`. What can be had with GET has a HEAD too.

    Args:
        app: the application.
        path: where.
        face: whose clients call it, in whose shape its errors are answered.
        methods: HTTP's.
        options: those of `api_route`.
    """
    app.state.faces.add(path, face)

    def add(function: F) -> F:
        if "GET" in methods and "HEAD" not in methods:
            app.add_api_route(path, function, methods=["HEAD"], include_in_schema=False, response_model=None)
        return app.api_route(path, methods=list(methods), **options)(function)

    return add


def add_route(
    app: FastAPI,
    paths: str | tuple[str, ...],
    handler: Handler,
    *,
    face: Face,
    body: type[BaseModel],
    answer: Any,
    summary: str,
    tags: list[str | Enum],
    raw: bool = False,
) -> None:
    """Adds a POST route under each path; the first is documented.

    Args:
        app: the application.
        paths: where.
        handler: answers a request.
        face: whose clients call it, in whose shape its errors are answered.
        body: the schema of its body, for the documentation alone: the handler reads the body itself.
        answer: the schema of its answer, which runs no code.
        summary: a line for the documentation.
        tags: where the documentation lists it.
        raw: whether it may answer in bytes as well.
    """
    content = {"content": {"application/octet-stream": _RAW}} if raw else {}
    for number, path in enumerate((paths,) if isinstance(paths, str) else paths):
        app.state.faces.add(path, face)
        app.state.bodies[path] = body
        app.add_api_route(
            path,
            handler,
            methods=["POST"],
            response_model=None,
            response_class=Response,
            responses={200: {"model": answer, **content}, **errors_of(face)},
            summary=summary,
            tags=tags,
            include_in_schema=number == 0,
        )


async def read[M: BaseModel](request: Request, model: type[M]) -> M:
    """Returns the body as a `model`. Raises `HttpError`, and pydantic's error, for a body that is none."""
    return await checked(request, model, await read_object(request))


async def read_object(request: Request) -> dict[str, Any]:
    """Returns the body, a JSON object. Raises `HttpError` 415, 413, 408, 400 or 499."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (media_type.startswith("application/") and media_type.endswith("+json")):
        raise HttpError(
            415,
            "Unsupported Media Type: Only 'application/json' is allowed; the request says "
            f"{media_type[:80] or 'nothing'!r}. Send the header Content-Type: application/json.",
        )
    settings: Settings = request.app.state.settings
    body = await bodies.receive(request, settings)
    request.state.body_bytes = len(body)
    threads: Threads = request.app.state.threads
    charset = charset_of(request.headers.get("content-type", ""))
    return await threads.run(is_large(request), bodies.parse, body, settings, charset)


async def checked[M: BaseModel](request: Request, model: type[M], value: dict[str, Any]) -> M:
    """Returns a parsed body as a `model`. Raises pydantic's error."""
    threads: Threads = request.app.state.threads
    return await threads.run(is_large(request), model.model_validate, value)


def is_large(request: Request) -> bool:
    """Whether what is made of a body that has been read is made in a thread, so that others go on."""
    size: int = request.state.body_bytes
    return size > bodies.INLINE_BYTES


def gone(request: Request) -> Gone:
    """Returns what waits until the client has hung up."""

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait


async def written(request: Request, body: Any, *, large: bool) -> Response:
    """Returns a JSON answer.

    Args:
        request: what it answers.
        body: what it holds.
        large: whether it is written in a thread, a vector at a time, so that others go on.
    """
    threads: Threads = request.app.state.threads
    return await threads.run(large, large_json_response if large else json_response, body)


def new_id(request: Request, prefix: str, body_id: str | None = None) -> str:
    """Returns the id of an answer: from the body, the header `X-Request-Id`, or new."""
    given = body_id or request.headers.get("x-request-id")
    return f"{prefix}-{given[:200] if given else uuid.uuid4().hex}"
