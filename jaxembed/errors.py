"""Every error that jaxembed raises on purpose: one sentence that says what was expected, what was given, what to do.

Each class is also the built-in exception that callers of the mirrored APIs already catch:

    JaxEmbedError
    ├── InputError (ValueError)              exit status 2, HTTP 400; `field` names the argument
    │   └── InputTypeError (TypeError)
    ├── ModelNotFoundError (OSError)
    ├── CheckpointError (ValueError)
    │   └── UnsupportedModelError
    ├── ParityError (ValueError)
    ├── NonFiniteError (ArithmeticError)     HTTP 500 that names the texts
    ├── BackendError (RuntimeError)
    └── RefusedError (RuntimeError)          HTTP 503 with `retry_after_seconds`
        ├── OverloadedError                  HTTP 429
        ├── DeadlineError (TimeoutError)
        ├── EngineError
        └── StoppedError

What has no status of its own ends a command with 1 and a request with 500.
"""

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager


def shown(value: object, most: int = 200) -> str:
    """Returns text or a value from outside as a message shows it: in quotes if it is text, escaped, and cut.

    Args:
        value: what a file or a caller says; however large it is, little of it is written down.
        most: characters of it.
    """
    brief = reprlib.Repr(maxlevel=3, maxstring=most, maxlong=40, maxother=most, maxlist=8, maxtuple=8, maxdict=8, maxset=8)
    if isinstance(value, str):
        text = repr(value[:most])
        return text if len(value) <= most else f"{text[:-1][:most]}…{text[-1]}"
    if isinstance(value, int) and value.bit_length() > 128:
        # Python refuses to write numbers of some thousand digits at all.
        return f"a number of {int(value.bit_length() * 0.30103) + 1} digits"
    text = brief.repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


def sentence(text: str, most: int = 400) -> str:
    """Returns a message as a terminal and a log may have it: in one line, unprintable characters escaped, its middle cut out.

    The net below `shown`: a message begins with what is wrong and ends with the way out, and both are kept.
    """
    # What is far too long is cut before it is looked through.
    text = text if len(text) <= 4 * most else f"{text[: 2 * most]}{text[-2 * most :]}"
    line = " ".join(text.split())
    clean = "".join(one if one.isprintable() else repr(one)[1:-1] for one in line)
    end = most // 3
    return clean if len(clean) <= most else f"{clean[: most - end - 1]}…{clean[-end:]}"


class JaxEmbedError(Exception):
    """The base of every error raised on purpose."""


class InputError(JaxEmbedError, ValueError):
    """A text, a token id or an argument of the call cannot be used.

    Attributes:
        field: the argument or the field of a request that it is about, as whoever called writes it ("dimensions",
            "pooler_config.task", "--port"); None where there is no one such.
        index: which of several texts it is about, from 0; None where it is about none of them or there is one alone.
        remedy: a sentence behind the message that says what to do, where each API has its own; None where there is none.
    """

    def __init__(self, message: str, *, field: str | None = None, index: int | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.field, self.index, self.remedy = field, index, remedy

    def __str__(self) -> str:
        """The place of the text, if it is one of several, what is wrong with it, and what to do."""
        place = "" if self.index is None else f"{self.field}[{self.index}]: "
        return f"{place}{super().__str__()}{f' {self.remedy}' if self.remedy else ''}"


class InputTypeError(InputError, TypeError):
    """A value of the call has the wrong type."""


# What to do about a text that is too long, before the API that was called says how it is done there.
TRUNCATE = "Please reduce the length of the input prompt or ask for truncation."


@contextmanager
def fields_as(names: Mapping[str, str], *, truncate: str | None = None) -> Iterator[None]:
    """Gives errors about input that pass through the field that they have in the API that was called.

    Args:
        names: what the API calls a field, by what it is called inside; other fields keep their names.
        truncate: how a caller of the API asks for truncation, behind "or"; None changes nothing.

    Raises:
        InputError: what was raised inside.
        NonFiniteError: the same.
    """
    try:
        yield
    except (InputError, NonFiniteError) as error:
        if error.field is not None:
            error.field = names.get(error.field, error.field)
        if isinstance(error, InputError) and error.remedy is not None and truncate is not None:
            error.remedy = f"Please reduce the length of the input prompt or {truncate}."
        raise


@contextmanager
def counted_from(first: int, *, alone: bool = False) -> Iterator[None]:
    """Moves the index of errors about one of several texts by the texts before them.

    Args:
        first: how many texts come before those inside.
        alone: whether there is only one text at all, which needs no index.

    Raises:
        InputError: what was raised inside.
    """
    try:
        yield
    except InputError as error:
        if error.index is not None:
            error.index = None if alone else error.index + first
        raise


class ModelNotFoundError(JaxEmbedError, OSError):
    """No model is to be found under the given name or folder."""

    def __init__(self, message: str) -> None:
        super().__init__(sentence(message))


class CheckpointError(JaxEmbedError, ValueError):
    """The files of a checkpoint are missing, damaged, or contradict each other. most: characters of the message."""

    def __init__(self, message: str, *, most: int = 400) -> None:
        super().__init__(sentence(message, most))


class UnsupportedModelError(CheckpointError):
    """The checkpoint asks for something that jaxembed does not implement, named in the message."""


class ParityError(JaxEmbedError, ValueError):
    """The vectors of a model are not those that they should be."""


class NonFiniteError(JaxEmbedError, ArithmeticError):
    """What the model computes for a text is NaN or infinite.

    Attributes:
        items: which texts of the call, from 0.
        field: the argument or the field of a request that holds them.
    """

    _SHOWN = 5

    def __init__(self, items: Sequence[int], *, field: str = "prompts") -> None:
        super().__init__(items, field)
        self.items, self.field = list(items), field

    def __str__(self) -> str:
        names = ", ".join(f"{self.field}[{item}]" for item in self.items[: self._SHOWN])
        more = f" and {len(self.items) - self._SHOWN} more" if len(self.items) > self._SHOWN else ""
        return (
            f"The model's numbers for {names}{more} are not finite: a spoiled row of its table of words, or an overflow. "
            "Other texts are not affected; ask for them without it."
        )


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
