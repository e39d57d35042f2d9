"""Texts to token ids and back, with the checkpoint's own Rust tokenizer; knows nothing about models.

The tokenizer is loaded by transformers, which applies what `tokenizer_config.json` says (lower case, end tokens), and then
called directly. Truncation is ours: a tokenizer's own is a setting of the shared object, and files may bake in a wrong one.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxembed.errors import CheckpointError, InputError, InputTypeError

Side = Literal["left", "right"]

# transformers gives this as "no limit".
_NO_LIMIT = 10**9


class Tokenizer:
    """A checkpoint's tokenizer, stateless and safe to use from several threads.

    vocab_size: ids are below it. limit: the longest text its files speak of, None if they speak of none. special_count: how
    many special tokens a text gets. chat_template: Jinja source, or None.
    """

    def __init__(self, hf_tokenizer: Any, *, lowercase: bool = False) -> None:
        rust = hf_tokenizer.backend_tokenizer
        rust.no_truncation()
        rust.no_padding()
        self._rust, self._lowercase = rust, lowercase
        self.vocab_size: int = rust.get_vocab_size(with_added_tokens=True)
        limit = hf_tokenizer.model_max_length
        self.limit: int | None = int(limit) if limit and limit < _NO_LIMIT else None
        self.special_count: int = rust.num_special_tokens_to_add(False)
        self.special_ids = frozenset(hf_tokenizer.all_special_ids)
        self.chat_template: str | None = hf_tokenizer.chat_template

    @classmethod
    def load(cls, folder: Path, *, lowercase: bool = False) -> "Tokenizer":
        """Reads the tokenizer files of a folder; executes no code from it. Raises `CheckpointError` if that cannot be done."""
        try:
            hf_tokenizer = _transformers().AutoTokenizer.from_pretrained(
                str(folder), trust_remote_code=False, local_files_only=True
            )
        except (ValueError, OSError, KeyError, TypeError, ImportError, AttributeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise CheckpointError(f"the tokenizer of {folder} cannot be loaded without executing its code: {reason}") from None
        except Exception as error:
            # The Rust library raises bare Exceptions for a broken tokenizer.json.
            if type(error) is not Exception:
                raise
            raise CheckpointError(f"the tokenizer.json of {folder} is damaged: {error}") from None
        if getattr(hf_tokenizer, "backend_tokenizer", None) is None:
            raise CheckpointError(f"{folder} has a tokenizer without a fast form; save one as tokenizer.json.")
        return cls(hf_tokenizer, lowercase=lowercase)

    def encode(
        self,
        texts: Sequence[str],
        *,
        add_special_tokens: bool = True,
        max_length: int | None = None,
        side: Side = "right",
    ) -> list[np.ndarray]:
        """Returns the token ids of each text, int32.

        max_length: longer texts are cut to it, special tokens included and kept; None cuts nothing. side: where tokens are
        cut off. Raises `InputTypeError` for anything but str, `InputError` for a max_length below the special tokens.
        """
        for text in texts:
            if not isinstance(text, str):
                raise InputTypeError(f"a text must be a str, not {type(text).__name__}.")
        clean = [self._clean(text) for text in texts]
        encodings = self._rust.encode_batch_fast(clean, add_special_tokens=add_special_tokens)
        ids = [np.array(encoding.ids, np.int32) for encoding in encodings]
        if max_length is not None:
            for index, one in enumerate(ids):
                if len(one) > max_length:
                    ids[index] = self._cut(clean[index], max_length, side, add_special_tokens)
        return ids

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Returns the text of token ids."""
        text: str = self._rust.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def prompt_length(self, prompt: str) -> int:
        """Returns how many leading tokens a prompt takes: its own ids, less one if the last is special (the end token)."""
        (ids,) = self.encode([prompt])
        return len(ids) - (len(ids) > 0 and int(ids[-1]) in self.special_ids)

    def _clean(self, text: str) -> str:
        if self._lowercase:
            text = text.lower()
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(
                "a text holds a lone surrogate, which is no Unicode character; decode it with errors='replace'."
            ) from None
        return text

    def _cut(self, text: str, max_length: int, side: Side, add_special_tokens: bool) -> np.ndarray:
        """The same ids as a tokenizer with truncation switched on gives."""
        special = self.special_count if add_special_tokens else 0
        if max_length < special:
            raise InputError(f"max_length {max_length} leaves no room for the {special} special tokens of each text.")
        encoding = self._rust.encode(text, add_special_tokens=False)
        encoding.truncate(max_length - special, direction=side)
        return np.array(self._rust.post_process(encoding, None, add_special_tokens).ids, np.int32)


def _transformers() -> Any:
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
