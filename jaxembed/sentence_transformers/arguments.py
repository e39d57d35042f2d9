"""How sentence-transformers may be given its arguments: by position, and in `model_kwargs` and `processor_kwargs`."""

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set, ValuesView
from typing import Any

import numpy as np

from jaxembed.convert.checkpoint import sentence_bert
from jaxembed.errors import InputError, InputTypeError

# Those of callers that change no vector; the rest is refused.
MODEL_NEUTRAL = sentence_bert.MODEL_NEUTRAL | {"use_flash_attention_2", "revision", "code_revision"}
PROCESSOR_NEUTRAL = sentence_bert.PROCESSOR_NEUTRAL | {"legacy"}


def known(argument: str, given: Mapping[str, Any] | None, read: Set[str], neutral: Set[str]) -> Mapping[str, Any]:
    """Returns the options of an argument. Raises `InputError` for one that is neither read nor without effect on vectors."""
    unknown = sorted(set(given or {}) - read - neutral)
    if unknown:
        raise InputError(
            f"{argument} has {unknown[0]!r}, which jaxembed does not read; it reads {', '.join(sorted(read))}.", field=argument
        )
    return given or {}


def dtype_of(options: Mapping[str, Any]) -> Any:
    """Returns the dtype that `model_kwargs` ask for by its name, "auto" if they ask for none."""
    given = options.get("dtype", options.get("torch_dtype", "auto"))
    return given if isinstance(given, str) else str(given).rsplit(".", 1)[-1]


# The order of arguments before sentence-transformers 6 made them keyword-only.
_POSITIONS = (
    "modules device prompts default_prompt_name similarity_fn_name cache_folder trust_remote_code revision local_files_only "
    "token use_auth_token truncate_dim model_kwargs tokenizer_kwargs config_kwargs model_card_data backend"
).split()


def takes_positions(init: Callable[..., None]) -> Callable[..., None]:
    """Lets old code pass everything by position, with a warning, as sentence-transformers 6 does."""

    @functools.wraps(init)
    def accept(self: Any, model_name_or_path: Any = None, *positions: Any, **options: Any) -> None:
        if positions:
            names = _POSITIONS[: len(positions)]
            message = f"pass {', '.join(names)} to SentenceTransformer by name; positions will not be accepted for ever."
            warnings.warn(message, FutureWarning, stacklevel=2)
            options |= dict(zip(names, positions, strict=True))
        init(self, model_name_or_path, **options)

    return accept


# One text, or two that are tokenized as a pair.
One = str | tuple[str, str]


def is_one(inputs: Any) -> bool:
    """Returns whether what `encode` is given is a single text: then its result is a single vector."""
    return isinstance(inputs, str | Mapping)


def listed(inputs: Any) -> list[One]:
    """Returns the texts and pairs that `encode` is given as a list.

    A list, a tuple, an array, a Series, an iterator: what has an order and holds texts, pairs of texts or {"text": ...}.
    Raises `InputTypeError` for anything else, and names the first item that is no text.
    """
    if is_one(inputs):
        return [_one(inputs, None)]
    if isinstance(inputs, np.ndarray) and not inputs.ndim:
        raise InputTypeError("encode takes a str or a list of str, not an array of no axes; give its item().", field="inputs")
    ordered = isinstance(inputs, Sequence | Iterator | ValuesView) or any(hasattr(inputs, name) for name in _LISTING)
    if hasattr(inputs, "columns"):
        raise InputTypeError(
            f"encode takes texts, not a table ({type(inputs).__name__}); give a column, table['text'].",
            field="inputs",
        )
    if isinstance(inputs, bytes | bytearray) or not ordered:
        hint = "; it has no order, give sorted(texts)" if isinstance(inputs, Set) else ""
        raise InputTypeError(f"encode takes a str or a list of str, not {type(inputs).__name__}{hint}.", field="inputs")
    name = next((name for name in _LISTING if hasattr(inputs, name)), None)
    texts = list(inputs) if name is None else getattr(inputs, name)()
    return [_one(text, index) for index, text in enumerate(texts)]


# How arrays, Series and columns become lists.
_LISTING = ("tolist", "to_list", "to_pylist")


def _one(given: Any, index: int | None) -> One:
    """Returns a text, which sentence-transformers takes as {"text": ...} too, or a pair of texts."""
    text = given["text"] if isinstance(given, Mapping) and set(given) == {"text"} else given
    if isinstance(text, str):
        return text
    if isinstance(text, list | tuple) and len(text) == 2 and all(isinstance(part, str) for part in text):
        return text[0], text[1]
    place = "" if index is None else f"inputs[{index}] is {_kind(given)}: "
    raise InputTypeError(f"{place}encode takes a str, or a pair of them, not {_kind(given)}.", field="inputs")


def _kind(given: Any) -> str:
    name = type(given).__name__
    if isinstance(given, Mapping):
        return f"a {name} with {', '.join(map(repr, list(given)[:3]))}"
    return f"a {name} of {len(given)}" if isinstance(given, list | tuple) else name
