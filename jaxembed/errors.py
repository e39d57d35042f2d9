"""Every error that jaxembed raises on purpose: one sentence that says what was expected, what was given, what to do.

Each class is also the built-in exception that callers of the mirrored APIs already catch.
"""


class JaxEmbedError(Exception):
    """The base of every error raised on purpose."""


class InputError(JaxEmbedError, ValueError):
    """A text, a token id or a parameter of the call cannot be used."""


class InputTypeError(InputError, TypeError):
    """A value of the call has the wrong type."""


class ModelNotFoundError(JaxEmbedError, OSError):
    """No model is to be found under the given name or folder."""


class CheckpointError(JaxEmbedError, ValueError):
    """The files of a checkpoint are missing, damaged, or contradict each other."""


class UnsupportedModelError(CheckpointError):
    """The checkpoint asks for something that jaxembed does not implement, named in the message."""


class ParityError(JaxEmbedError, ValueError):
    """The vectors of a model are not those that they should be."""


class BackendError(JaxEmbedError, RuntimeError):
    """A forced kernel back end cannot serve the shape, or a program cannot be compiled."""


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
