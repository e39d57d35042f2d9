"""Errors as the clients of each API expect them: one `Problem`, four shapes. Nothing of a traceback is ever shown."""

import dataclasses
import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from jaxembed.errors import InputError, JaxEmbedError, NonFiniteError, OverloadedError, RefusedError
from jaxembed.server.faces import Face

_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    408: "RequestTimeoutError",
    413: "RequestTooLargeError",
    414: "RequestTooLargeError",
    415: "UnsupportedMediaTypeError",
    429: "RateLimitError",
    431: "RequestTooLargeError",
    499: "ClientClosedRequest",
    500: "InternalServerError",
    501: "NotImplementedError",
    503: "ServiceUnavailableError",
}
# text-embeddings-inference's words for the same, and its status for bad input.
_TEI = {
    400: "Empty",
    422: "Validation",
    408: "Validation",
    413: "Validation",
    429: "Overloaded",
    424: "Backend",
    503: "Unhealthy",
}

# Of a wrong body, this many errors are shown, and so many characters of each wrong value, which has that many parts at most.
_SHOWN_ERRORS, _SHOWN_CHARACTERS, _SHOWN_ITEMS = 10, 200, 20


class HttpError(JaxEmbedError):
    """A request that is answered with a status of its own.

    Args:
        status: HTTP's.
        message: what was expected, what was given, what to do.
        field: the field of the body that it is about.
        type_: vLLM's `type`, by default the one that goes with the status.
        headers: what the answer has besides.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str | None = None,
        type_: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.field, self.type_, self.headers = status, field, type_, dict(headers or {})


@dataclasses.dataclass(frozen=True)
class Problem:
    """What went wrong, in no API's shape yet.

    Attributes:
        status: HTTP's.
        message: one sentence.
        type_: vLLM's `type`.
        field: the field of the body that it is about, OpenAI's `param`.
        headers: what the answer has besides.
    """

    status: int
    message: str
    type_: str
    field: str | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, error: BaseException) -> "Problem":
        """Returns how an error is answered; one that nobody foresaw is a 500 that says nothing about the inside."""
        if isinstance(error, ValidationError):
            return cls(400, *_validation(error))
        if isinstance(error, HttpError):
            # The rest of a body that stopped coming would be taken for the next request.
            close = {"Connection": "close"} if error.status == 408 else {}
            return cls(error.status, str(error), error.type_ or _TYPES[error.status], error.field, close | error.headers)
        if isinstance(error, RefusedError):
            status = 429 if isinstance(error, OverloadedError) else 503
            retry = {"Retry-After": str(max(1, math.ceil(error.retry_after_seconds)))}
            return cls(status, str(error), _TYPES[status], None, retry)
        if isinstance(error, InputError):
            return cls(400, str(error), _TYPES[400], error.field)
        if isinstance(error, NonFiniteError):
            return cls(500, str(error), _TYPES[500], error.field)
        if isinstance(error, HTTPException):
            status = error.status_code
            return cls(status, str(error.detail), _TYPES.get(status, "Error"), None, dict(error.headers or {}))
        return cls(500, "Internal server error; the server's log says more.", _TYPES[500])

    def response(self, face: Face) -> Response:
        """Returns the answer in the shape of an API."""
        status, body = self.status, self._openai()
        if face == "cohere":
            # Cohere's clients read `message`, and those who know the route from vLLM `error.message`.
            body = {"message": self.message, "error": body["error"]}
        elif face == "tei":
            status = 422 if status == 400 else status
            body = {"error": self.message, "error_type": _TEI.get(status, "Backend")}
        elif face == "ollama":
            body = {"error": self.message}
        return Response(orjson.dumps(body), status, self.headers, "application/json")

    def _openai(self) -> dict[str, Any]:
        """The flat fields that older clients read and the nested object of newer ones, in one body."""
        flat = {"message": self.message, "type": self.type_, "param": self.field, "code": self.status}
        return {"object": "error", **flat, "error": flat}


def _validation(error: ValidationError) -> tuple[str, str, str | None]:
    """Returns message, type and field as vLLM says them: how many, then one dict a line."""
    found = error.errors(include_url=False, include_context=False)
    lines = [str({**each, "loc": ("body", *each["loc"]), "input": _short(each["input"])}) for each in found[:_SHOWN_ERRORS]]
    count = f"{len(found)} validation error{'s' if len(found) > 1 else ''}:"
    about = ".".join(str(part) for part in ("body", *found[0]["loc"])) if found else None
    removed = [each["msg"] for each in found if "was removed" in each["msg"]]
    if removed:
        return removed[0].removeprefix("Value error, "), "BadRequestError", str(found[0]["loc"][0])
    return "\n  ".join([count, *lines]), "Bad Request", about


def _short(value: Any) -> Any:
    value = _pruned(value)
    text = repr(value)
    return value if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _pruned(value: Any, depth: int = 3) -> Any:
    """Returns the beginning of a value, because writing a large one down takes seconds."""
    if isinstance(value, str):
        return value[: _SHOWN_CHARACTERS + 1]
    if not isinstance(value, list | dict) or not value:
        return value
    if depth == 0:
        return "..."
    if isinstance(value, list):
        return [_pruned(each, depth - 1) for each in value[:_SHOWN_ITEMS]]
    first = islice(value.items(), _SHOWN_ITEMS)
    return {_pruned(key, depth - 1): _pruned(each, depth - 1) for key, each in first}
