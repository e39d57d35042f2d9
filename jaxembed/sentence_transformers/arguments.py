"""How sentence-transformers may be given its arguments: by position, and in `model_kwargs` and `processor_kwargs`."""

import functools
import warnings
from collections.abc import Callable, Mapping, Set
from typing import Any

import numpy as np

from jaxembed.convert.checkpoint import sentence_bert
from jaxembed.errors import InputError, InputTypeError

# Those of callers that change no vector; the rest is refused.
MODEL_NEUTRAL = sentence_bert.MODEL_NEUTRAL | {"use_flash_attention_2"}
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


def listed(inputs: Any) -> list[str]:
    """Returns the texts that `encode` is given as a list. Raises `InputTypeError` for anything that is none."""
    if inputs is None or isinstance(inputs, bytes | Mapping) or not hasattr(inputs, "__iter__"):
        raise InputTypeError(f"encode takes a str or a list of str, not {type(inputs).__name__}.", field="inputs")
    texts = inputs.tolist() if isinstance(inputs, np.ndarray) else list(inputs)
    return [_text(text) for text in texts]


def _text(given: Any) -> str:
    """Returns a text, which sentence-transformers takes as {"text": ...} too."""
    text = given["text"] if isinstance(given, Mapping) and set(given) == {"text"} else given
    if not isinstance(text, str):
        raise InputTypeError(f"encode takes texts only, not {type(text).__name__}.", field="inputs")
    return text
