"""What every request passes on its way in and out: keys, sizes, ids, the access log, the last line against a traceback."""

import asyncio
import hashlib
import hmac
import logging
import time
import uuid
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxembed.errors import OverloadedError, StoppedError
from jaxembed.server.errors import HttpError, Problem
from jaxembed.server.faces import Faces, from_proxy, path_of
from jaxembed.server.metrics import Metrics
from jaxembed.server.routes import infinity, pages
from jaxembed.server.settings import Settings
from jaxembed.server.tracing import Tracing

# Open without a key, so that load balancers and orchestrators can look, and the page that asks for the key can be shown.
PUBLIC = ("/health", "/ready", "/ping", infinity.HEALTH, *pages.PATHS)

_TOO_MUCH = "The server is overloaded: too many large requests are open."

access = logging.getLogger("jaxembed.access")
logger = logging.getLogger("jaxembed.server")


class Gate:
    """ASGI middleware, written without Starlette's helpers because those cost more than the work."""

    def __init__(
        self, app: ASGIApp, *, settings: Settings, faces: Faces, metrics: Metrics, tracing: Tracing | None = None
    ) -> None:
        self._app, self._settings, self._faces, self._metrics, self._tracing = app, settings, faces, metrics, tracing
        # A key that is empty opens nothing, and does not leave the door open either.
        self._guarded = bool(settings.api_keys)
        self._keys = [_digest(key.encode()) for key in settings.api_keys if key.strip()]
        self._open_bytes = 0
        self._public = PUBLIC if settings.guard_metrics else (*PUBLIC, "/metrics")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        scope = from_proxy(scope, self._faces)
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"")[:200] or uuid.uuid4().hex.encode()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._settings.request_id_headers:
                    message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            try:
                await send(message)
            except RuntimeError as error:
                # uvloop's word for a connection that broke while the answer was being written.
                if "handler is closed" not in str(error):
                    raise

        size = 0

        def count(arrived: int) -> None:
            # What has arrived is counted, not what was announced: promises take no room, and chunks announce nothing.
            nonlocal size
            size += arrived
            self._open_bytes += arrived
            if self._open_bytes > self._settings.max_open_bytes:
                raise OverloadedError(_TOO_MUCH)

        async def take() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                count(len(message.get("body", b"")))
            return message

        # What is decompressed takes room as well.
        scope["jaxembed.count"] = count

        try:
            problem = self._refusal(scope, headers)
            if problem is None and self._tracing is None:
                await self._app(scope, take, answer)
            elif problem is None and self._tracing is not None:
                with self._tracing.request(scope["method"], scope["path"], headers) as span:
                    await self._app(scope, take, answer)
                    route = getattr(scope.get("route"), "path", "other")
                    span.set_attributes({"http.route": route, "http.response.status_code": status})
            elif problem is not None:
                await problem.response(self._faces.of(scope))(scope, receive, answer)
        except (KeyboardInterrupt, SystemExit):
            raise
        except asyncio.CancelledError:
            # The server's end: whatever the request waited for, it hears the same as one that waits in the queue.
            if status:
                raise
            problem = Problem.of(StoppedError("The server was stopped before the request was done.", retry_after_seconds=5))
            await problem.response(self._faces.of(scope))(scope, receive, answer)
        except BaseException as error:  # a panic in Rust is no Exception
            logger.exception("request %s to %s failed", _printable(request_id.decode("latin-1")), _printable(scope["path"]))
            if status:  # the answer has begun: closing the connection is all that is left
                raise
            await Problem.of(error).response(self._faces.of(scope))(scope, receive, answer)
        finally:
            self._open_bytes -= size
            self._record(scope, request_id, status or 499, time.perf_counter() - begin)

    def _refusal(self, scope: Scope, headers: MutableMapping[bytes, bytes]) -> Problem | None:
        """Why a request goes no further, None if it may."""
        if sum(name == b"authorization" for name, _ in scope["headers"]) > 1:
            # A proxy in front may have looked at another one than we would.
            return Problem.of(HttpError(400, "The request has more than one Authorization header; send one."))
        path = path_of(scope) or "/"
        looking = path in self._public and (scope["method"] in ("GET", "HEAD") or path == "/ping")
        if self._guarded and not looking and scope["method"] != "OPTIONS" and not self._has_key(headers):
            return Problem(401, "Unauthorized", "AuthenticationError", None, {"WWW-Authenticate": "Bearer"})
        if _length(headers) > self._settings.max_body_bytes:
            message = f"The body has {_length(headers)} bytes and may have {self._settings.max_body_bytes}."
            return Problem.of(HttpError(413, message))
        if _length(headers) and self._open_bytes + _length(headers) > self._settings.max_open_bytes:
            return Problem.of(OverloadedError(_TOO_MUCH))
        return None

    def _has_key(self, headers: MutableMapping[bytes, bytes]) -> bool:
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        digest = _digest(key.strip())
        # Every key is compared, so that time says nothing about which one was near.
        matches = [hmac.compare_digest(digest, known) for known in self._keys]
        return scheme.lower() == b"bearer" and bool(key.strip()) and any(matches)

    def _record(self, scope: Scope, request_id: bytes, status: int, seconds: float) -> None:
        route: Any = scope.get("route")
        self._metrics.observe(getattr(route, "path", "other"), status, seconds)
        if self._settings.access_log:
            client = scope.get("client")
            access.info(
                '%s "%s %s" %d %.1f ms %s',
                _printable(str(client[0])) if client else "-",
                scope["method"],
                _printable(scope["path"]),
                status,
                seconds * 1000,
                _printable(request_id.decode("latin-1")),
            )


def _printable(text: str) -> str:
    """Returns text from outside as one word that cannot end its field of a log line, nor the line."""
    escaped = text.encode("unicode_escape").decode()
    return escaped.replace('"', "\\x22").replace(" ", "\\x20")


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _length(headers: MutableMapping[bytes, bytes]) -> int:
    value = headers.get(b"content-length", b"")
    return int(value) if value.isdigit() and len(value) < 19 else 0
