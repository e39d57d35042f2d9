"""How sentence-transformers may be given its options: by position, and in `model_kwargs` and `processor_kwargs`."""

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from jaxembed.errors import InputError

# Options for transformers that change no vector here: how it reads files, runs attention or pads. The rest is refused.
MODEL_NEUTRAL = set(
    "attn_implementation device_map low_cpu_mem_usage use_safetensors trust_remote_code add_pooling_layer use_cache "
    "use_flash_attention_2 cache_dir local_files_only token".split()
)
PROCESSOR_NEUTRAL = set(
    "padding_side padding use_fast trust_remote_code clean_up_tokenization_spaces legacy cache_dir local_files_only "
    "token".split()
)


def known(argument: str, given: Mapping[str, Any] | None, read: set[str], neutral: set[str]) -> Mapping[str, Any]:
    """Returns the options of an argument. Raises `InputError` for one that is neither read nor without effect on vectors."""
    unknown = sorted(set(given or {}) - read - neutral)
    if unknown:
        raise InputError(f"{argument} has {unknown[0]!r}, which jaxembed does not read; it reads {', '.join(sorted(read))}.")
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
