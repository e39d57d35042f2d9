"""What is asked of a tokenizer that came out of a stranger's file before it meets a text."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tokenizers

from jaxembed.errors import CheckpointError

# Characters that normalizing may make of one: Unicode's own longest composition makes 18.
_MOST_GROWTH = 1000
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
    """Raises `StrangeTokenizerError` for a normalizer that makes thousands of characters of one, by replacing what it put."""
    state = None if rust.normalizer is None else json.loads(rust.normalizer.__getstate__())
    if state is not None and _growth(state) > _MOST_GROWTH:
        raise StrangeTokenizerError(f"its normalizer makes more than {_MOST_GROWTH} characters of one.")


def _growth(state: Any) -> int:
    """How many characters a normalizer may make of one, at most, and no more than matters."""
    if not isinstance(state, dict):
        return 1
    if state.get("type") == "Sequence":
        product = 1
        for each in state.get("normalizers") or ():
            product = min(product * _growth(each), 2 * _MOST_GROWTH)
        return product
    added = state.get("content") if state.get("type") == "Replace" else None
    return max(len(added), 1) if isinstance(added, str) else 1
