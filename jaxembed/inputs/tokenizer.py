"""Texts to token ids and back, with a checkpoint's own Rust tokenizer; knows nothing about files or models.

Truncation is ours: a tokenizer's own is a setting of the shared object. Where a file bakes one in, whoever reads it decides if
it holds.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
import tokenizers
from tokenizers import normalizers

from jaxembed.errors import CheckpointError, InputError, InputTypeError
from jaxembed.inputs.strangers import MOST_GROWTH, growth, is_tame, rust_errors

Side = Literal["left", "right"]

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

# What stands for "no limit" in tokenizer_config.json is some huge number.
_NO_LIMIT = 10**9


class Tokenizer:
    """A checkpoint's tokenizer, stateless and safe to use from several threads.

    Args:
        rust: the tokenizer itself; its own truncation and padding are switched off.
        config: what `tokenizer_config.json` and `special_tokens_map.json` say.
        chat_template: Jinja source, or None.
        lowercase: whether texts are lower-cased, as a step of its normalizer.

    Attributes:
        vocab_size: ids are below it.
        side: where the files have longer texts cut off.
        limit: the longest text its files speak of, None if they speak of none.
        special_count: how many special tokens a text gets.
        special_ids: all special tokens.
        tame: whether a short text is sure to take little time, see `strangers.is_tame`.

    Raises:
        CheckpointError: the tokenizer would make texts many times longer.
    """

    def __init__(
        self,
        rust: tokenizers.Tokenizer,
        *,
        config: Mapping[str, Any] | None = None,
        chat_template: str | None = None,
        lowercase: bool = False,
    ) -> None:
        self.config = dict(config or {})
        self.side = _side(self.config, rust)
        rust.no_truncation()
        rust.no_padding()
        if lowercase:
            _lower(rust)
        self._rust = rust
        for part, name in ((rust.normalizer, "normalizer"), (rust.decoder, "decoder")):
            if (times := growth(part)) > MOST_GROWTH:
                raise CheckpointError(f"the tokenizer's {name} may make a text {times:.3g} times longer, which none does.")
        self.tame = is_tame([rust.normalizer, rust.pre_tokenizer, rust.decoder])
        self.vocab_size: int = rust.get_vocab_size(with_added_tokens=True)
        limit = self.config.get("model_max_length")
        self.limit: int | None = int(limit) if isinstance(limit, int | float) and 0 < limit < _NO_LIMIT else None
        self.special_count: int = rust.num_special_tokens_to_add(False)
        self.special_ids = frozenset(id_ for id_, token in rust.get_added_tokens_decoder().items() if token.special)
        self.chat_template = chat_template

    @property
    def named_tokens(self) -> dict[str, str]:
        """Special tokens by the names that files give them, such as "bos_token"."""
        named = {name: token for name, token in self.config.items() if name.endswith("_token") and token}
        contents = {name: token.get("content") if isinstance(token, Mapping) else token for name, token in named.items()}
        return {name: token for name, token in contents.items() if isinstance(token, str)}

    @cached_property
    def lowercased(self) -> "Tokenizer":
        """A tokenizer that lower-cases texts besides."""
        return Tokenizer(self._copy(), config=self.config, chat_template=self.chat_template, lowercase=True)

    def encode(
        self,
        texts: Sequence[str],
        *,
        add_special_tokens: bool = True,
        max_length: int | None = None,
        side: Side | None = None,
    ) -> list[np.ndarray]:
        """Returns the token ids of each text, int32.

        Args:
            texts: any number.
            add_special_tokens: whether each gets the special tokens of its model.
            max_length: longer texts are cut to it, special tokens included and kept; None cuts nothing.
            side: where tokens are cut off, by default where the files say.

        Raises:
            InputTypeError: for anything but str.
            InputError: for a max_length below the special tokens, and where the tokenizer itself fails.
        """
        for text in texts:
            if not isinstance(text, str):
                raise InputTypeError(f"a text must be a str, not {type(text).__name__}.", field="prompts")
        clean = [_checked(text) for text in texts]
        with rust_errors("prompts"):
            encodings = self._rust.encode_batch_fast(clean, add_special_tokens=add_special_tokens)
            ids = [np.array(encoding.ids, np.int32) for encoding in encodings]
            if max_length is not None:
                for index, one in enumerate(ids):
                    if len(one) > max_length:
                        ids[index] = self._cut(clean[index], max_length, side or self.side, add_special_tokens)
        return ids

    def encode_pairs(
        self, pairs: Sequence[tuple[str, str]], *, max_length: int, side: Side | None = None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns the token ids and the token types of pairs of texts, int32 each, special tokens included.

        What is longer than `max_length` loses tokens of its longer text first, as transformers' "longest_first" does. `side` is
        where tokens are cut off, by default where the files say. Raises `InputError` for a max_length below the special tokens.
        """
        special = self._rust.num_special_tokens_to_add(True)
        if max_length < special:
            raise InputError(f"max_length {max_length} leaves no room for the {special} special tokens.", field="max_length")
        clean = [(_checked(first), _checked(second)) for first, second in pairs]
        # A tokenizer of its own, because truncation is a setting of the shared object.
        rust = self._copy()
        rust.enable_truncation(max_length, strategy="longest_first", direction=side or self.side)
        with rust_errors("prompts"):
            found = rust.encode_batch(clean)
        return [(np.array(one.ids, np.int32), np.array(one.type_ids, np.int32)) for one in found]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Returns the text of token ids. Raises `InputError` where the tokenizer fails."""
        with rust_errors("tokens"):
            text: str = self._rust.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def token(self, id_: int) -> str | None:
        """Returns the token of an id as the vocabulary writes it, None for an unknown id."""
        found: str | None = self._rust.id_to_token(id_)
        return found

    def prompt_length(
        self, prompt: str, *, add_special_tokens: bool = True, max_length: int | None = None, side: Side | None = None
    ) -> int:
        """Returns how many leading tokens a prompt takes: its own ids, less one if the last is special (the end token).

        The rest is as for `encode`: a prompt is cut as the text that it begins, or a long one would leave nothing of it.
        """
        (ids,) = self.encode([prompt], add_special_tokens=add_special_tokens, max_length=max_length, side=side)
        return len(ids) - (len(ids) > 0 and int(ids[-1]) in self.special_ids)

    def as_transformers(self) -> Any:
        """Returns a `transformers.PreTrainedTokenizerFast` with the same ids, for callers who expect one."""
        given = {name: token for name, token in self.config.items() if name in _NAMED and token is not None}
        contents = {name: token["content"] if isinstance(token, Mapping) else token for name, token in given.items()}
        limits = {} if self.limit is None else {"model_max_length": self.limit}
        return quiet_transformers().PreTrainedTokenizerFast(
            tokenizer_object=self._rust, chat_template=self.chat_template, **contents, **limits
        )

    def _copy(self) -> tokenizers.Tokenizer:
        rust = tokenizers.Tokenizer.from_str(self._rust.to_str())
        # What no file says.
        rust.encode_special_tokens = self._rust.encode_special_tokens
        return rust

    def _cut(self, text: str, max_length: int, side: Side, add_special_tokens: bool) -> np.ndarray:
        """The same ids as a tokenizer with truncation switched on gives."""
        special = self.special_count if add_special_tokens else 0
        if max_length < special:
            raise InputError(
                f"max_length {max_length} leaves no room for the {special} special tokens of each text.", field="max_length"
            )
        encoding = self._rust.encode(text, add_special_tokens=False)
        encoding.truncate(max_length - special, direction=side)
        return np.array(self._rust.post_process(encoding, None, add_special_tokens).ids, np.int32)


def _checked(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            "a text holds a lone surrogate, which is no Unicode character; decode it with errors='replace'.",
            field="prompts",
        ) from None
    return text


def _lower(rust: tokenizers.Tokenizer) -> None:
    """Lets a normalizer begin with letter case, letter by letter, as sentence-transformers does.

    A text is never lowered before it: its special tokens would be lost, a word could become one, and Python's own `lower`
    writes the last sigma of a Greek word otherwise.
    """
    steps: Any = rust.normalizer
    if not isinstance(steps, normalizers.Sequence):
        steps = [] if steps is None else [steps]
    parts = list(steps)
    if not any(isinstance(part, normalizers.Lowercase) for part in parts):
        rust.normalizer = normalizers.Sequence([normalizers.Lowercase(), *parts])


def _side(config: Mapping[str, Any], rust: tokenizers.Tokenizer) -> Side:
    """Where texts are cut off: tokenizer_config.json says it, else tokenizer.json, as transformers reads them."""
    side: Any = config.get("truncation_side") or (rust.truncation or {}).get("direction") or "right"
    if side not in ("left", "right"):
        raise CheckpointError(f"truncation_side of tokenizer_config.json should be 'left' or 'right', not {side!r}.")
    return cast(Side, side)


def quiet_transformers() -> Any:
    """Imports transformers without its advice that torch is missing: that is how it shall be."""
    if "transformers" in sys.modules:
        return sys.modules["transformers"]
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        import transformers
    finally:
        logging.disable(before)
    return transformers
