"""What a row is made of: a tokenized text with its options. Both are plain values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any

import numpy as np

# What a text asks for that keeps all dimensions, however many the model has.
ALL_DIMENSIONS = int(np.iinfo(np.int32).max)


def per_text(dtype: type, stored: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """Declares a value that each text of a row carries.

    Args:
        dtype: of the array of shape [s] that a program gets.
        stored: makes a text's value a number of the array; None where it is one.
    """
    return {"dtype": dtype, "stored": stored}


@dataclass(frozen=True, slots=True)
class Options:
    """What one text carries into a program beside its tokens. A new one is one line here, and nothing anywhere else.

    For a text these are plain values, in a `Packed` row arrays of shape [s].

    Attributes:
        skip: leading prompt tokens that pooling leaves out.
        dimensions: leading output dimensions to keep, None for all.
        normalize: whether the vector shall have unit length.
    """

    skip: Any = field(default=0, metadata=per_text(np.int32))
    dimensions: Any = field(default=None, metadata=per_text(np.int32, lambda value: value or ALL_DIMENSIONS))
    normalize: Any = field(default=True, metadata=per_text(np.bool_))

    @classmethod
    def arrays(cls, texts: "Sequence[Text]", slots: int) -> "Options":
        """Returns the options of texts as arrays of shape [slots], 0 behind the last text."""
        own, found = [text.options for text in texts], {}
        for name, value, dtype, stored in _DECLARED:
            array = found[name] = np.zeros(slots, dtype)
            values = map(value, own)
            array[: len(own)] = list(values if stored is None else map(stored, values))
        return cls(**found)


_DECLARED = [(one.name, attrgetter(one.name), one.metadata["dtype"], one.metadata["stored"]) for one in fields(Options)]


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """One tokenized text.

    Attributes:
        ids: int32 [n], special tokens included.
        options: what it carries into a program beside its tokens.
        types: token types, int32 [n], or None where every token has type 0.
    """

    ids: np.ndarray
    options: Options = Options()
    types: np.ndarray | None = None


# The ids of a text that has none: something must lie in its row, or it would begin where its neighbor does.
NOTHING = np.zeros(1, np.int32)


def nothing(options: Options) -> Text:
    """Returns a text without tokens: the one that stands for them is left out of the pooling, which so gives zeros."""
    return Text(NOTHING, replace(options, skip=1))
