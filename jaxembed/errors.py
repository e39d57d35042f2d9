"""Every error that jaxembed raises on purpose: one sentence that says what was expected, what was given, what to do.

Each class is also the built-in exception that callers of the mirrored APIs already catch:

    JaxEmbedError
    ├── InputError (ValueError)              exit status 2, HTTP 400; `field` names the argument
    │   └── InputTypeError (TypeError)
    ├── ModelNotFoundError (OSError)
    ├── CheckpointError (ValueError)
    │   └── UnsupportedModelError
    ├── ParityError (ValueError)
    ├── BackendError (RuntimeError)
    └── RefusedError (RuntimeError)          HTTP 503 with `retry_after_seconds`
        ├── OverloadedError                  HTTP 429
        ├── DeadlineError (TimeoutError)
        ├── EngineError
        └── StoppedError

What has no status of its own ends a command with 1 and a request with 500.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class JaxEmbedError(Exception):
    """The base of every error raised on purpose."""


class InputError(JaxEmbedError, ValueError):
    """A text, a token id or an argument of the call cannot be used.

    Attributes:
        field: the argument or the field of a request that it is about, as whoever called writes it ("dimensions",
            "pooler_config.task", "--port"); None where there is no one such.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class InputTypeError(InputError, TypeError):
    """A value of the call has the wrong type."""


@contextmanager
def fields_as(names: Mapping[str, str]) -> Iterator[None]:
    """Gives errors about input that pass through the field that they have in the API that was called.

    Args:
        names: what the API calls a field, by what it is called inside; other fields keep their names.

    Raises:
        InputError: what was raised inside.
    """
    try:
        yield
    except InputError as error:
        if error.field is not None:
            error.field = names.get(error.field, error.field)
        raise


class ModelNotFoundError(JaxEmbedError, OSError):
    """No model is to be found under the given name or folder."""


class CheckpointError(JaxEmbedError, ValueError):
    """The files of a checkpoint are missing, damaged, or contradict each other."""


class UnsupportedModelError(CheckpointError):
    """The checkpoint asks for something that jaxembed does not implement, named in the message."""


class ParityError(JaxEmbedError, ValueError):
    """The vectors of a model are not those that they should be."""


class BackendError(JaxEmbedError, RuntimeError):
    """A forced kernel back end cannot serve the shape, a program cannot be compiled, or a process cannot run any."""


class RefusedError(JaxEmbedError, RuntimeError):
    """A request was not taken, or not finished, and may be sent again after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class OverloadedError(RefusedError):
    """More texts wait than can be served in time."""


class DeadlineError(RefusedError, TimeoutError):
    """A request's deadline passed while it waited."""


class EngineError(RefusedError):
    """The engine failed while it ran the request, or is being brought back."""


class StoppedError(RefusedError):
    """The scheduler is shutting down and takes nothing new."""
