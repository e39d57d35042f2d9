"""What is asked of a tokenizer that came out of a stranger's file before it meets a text."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tokenizers

from jaxembed.errors import CheckpointError
from jaxembed.inputs.strangers import MOST_GROWTH, growth

_MOST_ID = int(np.iinfo(np.int32).max)


class StrangeTokenizerError(Exception):
    """A tokenizer that no model has."""


@contextmanager
def rust_errors(what: str) -> Iterator[None]:
    """Turns what the Rust library raises for a broken file, and `StrangeTokenizerError`, into a `CheckpointError`.

    Rust's errors are bare Exceptions, and its panics BaseExceptions that Python code is not meant to see. what: the beginning
    of the message.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # Anything else is a fault of ours, or knows the file's name already.
        if (
            isinstance(error, Exception)
            and type(error) is not Exception
            and not isinstance(error, OverflowError | StrangeTokenizerError)
        ):
            raise
        raise CheckpointError(f"{what}: {error}") from None


def check_ids(rust: tokenizers.Tokenizer) -> None:
    """Raises `StrangeTokenizerError` for token ids beyond 32 bits, of words or of what is put around a text."""
    around = rust.post_process(rust.encode("", add_special_tokens=False), None, True).ids
    highest = max([*rust.get_vocab().values(), *around], default=0)
    if highest > _MOST_ID:
        raise StrangeTokenizerError(f"it has the token id {highest}, and no table has so many rows.")


def check_growth(rust: tokenizers.Tokenizer) -> None:
    """Raises `StrangeTokenizerError` for a normalizer that makes a text much longer, by replacing what it put."""
    if (times := growth(rust.normalizer)) > MOST_GROWTH:
        raise StrangeTokenizerError(f"its normalizer may make a text {times:.3g} times longer, which none does.")
