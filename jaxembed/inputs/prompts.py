"""What vLLM accepts as prompts and tokenization options, read into plain values. Knows nothing about models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from jaxembed.errors import InputError, InputTypeError
from jaxembed.inputs.tokenizer import Side, Tokenizer

# One prompt: a text, or token ids that need no tokenizer.
Prompt = str | np.ndarray

_ACCEPTED = "str, list[int], {'prompt': ...} or {'prompt_token_ids': ...}"


def read_prompts(prompts: Any) -> list[Prompt]:
    """Returns one text or one int32 array of ids for each prompt; a lone prompt gives a list of one.

    Args:
        prompts: str, list[str], list[int], list[list[int]], dicts, or a list that mixes them.

    Raises:
        InputTypeError: a prompt is none of those.
        InputError: there is no prompt, or one asks for what no model here takes.
    """
    if isinstance(prompts, str | Mapping) or _is_ids(prompts):
        return [_read(prompts)]
    if isinstance(prompts, bytes) or not isinstance(prompts, Sequence | np.ndarray):
        raise InputTypeError(
            f"a prompt must be {_ACCEPTED}, or a list of those, not {type(prompts).__name__}.", field="prompts"
        )
    if not len(prompts):
        raise InputError("You must pass at least one prompt", field="prompts")
    read = []
    for index, prompt in enumerate(prompts):
        try:
            read.append(_read(prompt))
        except InputError as error:
            error.index = index if len(prompts) > 1 else None
            raise
    return read


def _is_ids(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and np.issubdtype(value.dtype, np.integer)
    # By types, not item by item: a million ids are looked at in some milliseconds.
    types = set(map(type, value)) if isinstance(value, list | tuple) else set()
    return bool(types) and all(issubclass(type_, int | np.integer) and type_ is not bool for type_ in types)


def _is_id(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _read(prompt: Any) -> Prompt:
    if isinstance(prompt, str):
        return prompt
    if _is_ids(prompt) or (isinstance(prompt, list) and not prompt):
        ids = np.asarray(prompt, np.int64)
        if ids.size and (ids.min() < 0 or ids.max() > np.iinfo(np.int32).max):
            raise InputError(
                f"Token id {ids[(ids < 0) | (ids > np.iinfo(np.int32).max)][0]} is out of vocabulary", field="prompts"
            )
        return ids.astype(np.int32)
    if isinstance(prompt, Mapping):
        if "data" in prompt:
            raise InputError("The 'data' field is only supported for the 'plugin' pooling task.", field="prompts")
        if prompt.get("multi_modal_data"):
            raise InputError("this model takes text only; leave out multi_modal_data.", field="prompts")
        if "prompt_token_ids" in prompt:
            ids = prompt["prompt_token_ids"]
            if not isinstance(ids, list | tuple | np.ndarray):
                raise InputTypeError(f"prompt_token_ids must be a list of int, not {type(ids).__name__}.", field="prompts")
            return _read(ids if isinstance(ids, np.ndarray) else list(ids))
        if "prompt" in prompt:
            inner = prompt["prompt"]
            if isinstance(inner, Mapping):
                raise InputTypeError(f"'prompt' must be a text or token ids, not {type(inner).__name__}.", field="prompts")
            return _read(inner)
        raise InputError(
            f"a prompt given as a dict needs 'prompt' or 'prompt_token_ids'; it has {sorted(prompt)}.", field="prompts"
        )
    raise InputTypeError(f"a prompt must be {_ACCEPTED}, not {type(prompt).__name__}.", field="prompts")


@dataclass(frozen=True)
class Tokenization:
    """How texts become ids.

    Attributes:
        add_special_tokens: whether to add them.
        cut: longer prompts are cut to this many tokens, None cuts nothing.
        side: where tokens are cut off.
        lowercase: whether texts are lower-cased, as a step of the tokenizer.
    """

    add_special_tokens: bool = True
    cut: int | None = None
    side: Side = "right"
    lowercase: bool = False

    @classmethod
    def read(cls, options: Mapping[str, Any] | None, *, max_length: int, side: Side = "right") -> "Tokenization":
        """Reads vLLM's `tokenization_kwargs`.

        `truncate_prompt_tokens` -1, and `truncation=True` alone, cut to the model's length. `padding` changes nothing here:
        rows are packed.

        Args:
            options: those of the caller.
            max_length: the model's.
            side: the tokenizer's.

        Raises:
            InputError: an option is wrong or unknown.
        """
        given = dict(options or {})
        given.pop("padding", None)
        given.pop("pad_prompt_tokens", None)
        special = given.pop("add_special_tokens", True)
        side = given.pop("truncation_side", None) or side
        if side not in ("left", "right"):
            raise InputError("`truncation_side` must be either 'left' or 'right'.", field="truncation_side")
        side = cast(Side, side)
        wanted = given.pop("truncate_prompt_tokens", None)
        length, truncation = given.pop("max_length", None), _truncation(given.pop("truncation", None))
        if wanted is None and (truncation or (length is not None and truncation is None)):
            wanted = length if length is not None else -1
        lowercase = bool(given.pop("do_lower_case", False))
        if given:
            raise InputError(
                f"tokenization_kwargs has keys that are not understood: {', '.join(sorted(given))}.",
                field="tokenization_kwargs",
            )
        return cls(bool(special), _cut(wanted, max_length), side, lowercase)

    def encode(self, tokenizer: Tokenizer, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        """Returns the ids of each prompt, int32; ids that were given are cut on the same side."""
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        words = tokenizer.lowercased if self.lowercase and texts else tokenizer
        encoded = iter(words.encode(texts, add_special_tokens=self.add_special_tokens, max_length=self.cut, side=self.side))
        return [next(encoded) if isinstance(prompt, str) else self._cut_ids(prompt) for prompt in prompts]

    def length(self, tokenizer: Tokenizer, prompt: str) -> int:
        """Returns how many leading tokens a prompt takes in front of a text; 0 for none."""
        if not prompt:
            return 0
        words = tokenizer.lowercased if self.lowercase else tokenizer
        return words.prompt_length(prompt, add_special_tokens=self.add_special_tokens, max_length=self.cut, side=self.side)

    def _cut_ids(self, ids: np.ndarray) -> np.ndarray:
        if self.cut is None or len(ids) <= self.cut:
            return ids
        return ids[: self.cut] if self.side == "right" else ids[-self.cut :]


def _truncation(given: Any) -> bool | None:
    """Returns whether transformers' `truncation` asks for a cut, None if it says nothing."""
    if given is None or isinstance(given, bool):
        return given
    if given == "only_second":
        raise InputError(
            "truncation='only_second' is for pairs, and a prompt has no second text; use 'only_first'.", field="truncation"
        )
    strategies = {"longest_first": True, "only_first": True, "do_not_truncate": False}
    if not isinstance(given, str) or given not in strategies:
        raise InputError(
            f"truncation must be True, False, {', '.join(map(repr, strategies))}, not {given!r}.", field="truncation"
        )
    return strategies[given]


def _cut(wanted: Any, max_length: int) -> int | None:
    if wanted is None:
        return None
    if not _is_id(wanted) or wanted < -1:
        raise InputError(
            f"truncate_prompt_tokens must be an int of at least -1, not {wanted!r}.", field="truncate_prompt_tokens"
        )
    if wanted == -1:
        return max_length
    if wanted > max_length:
        raise InputError(
            f"truncate_prompt_tokens={wanted} cannot be greater than max_model_len - max_output_tokens = {max_length}. "
            "Please request a smaller truncation size.",
            field="truncate_prompt_tokens",
        )
    if wanted == 0:
        raise InputError(
            "truncate_prompt_tokens=0 leaves nothing to embed; ask for at least 1, or -1 for the model's length.",
            field="truncate_prompt_tokens",
        )
    return int(wanted)
