"""Texts to token ids and back, with the checkpoint's own Rust tokenizer; knows nothing about models.

`tokenizer.json` is taken as it is: it is what the model was trained with. transformers 5 would rebuild it from the class that
`config.json` suggests, and its post-processor from `add_bos_token`, which loses the end token that Qwen3-Embedding pools.
transformers only converts older vocabularies, where there is no `tokenizer.json`. Truncation is ours: a tokenizer's own is a
setting of the shared object, and files may bake in a wrong one.
"""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import tokenizers
from tokenizers import AddedToken, normalizers, processors

from jaxembed.errors import CheckpointError, InputError, InputTypeError
from jaxembed.files import is_there, read_json, read_text

Side = Literal["left", "right"]

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

# What stands for "no limit" in tokenizer_config.json is some huge number.
_NO_LIMIT = 10**9


class Tokenizer:
    """A checkpoint's tokenizer, stateless and safe to use from several threads.

    vocab_size: ids are below it. side: where the files have longer texts cut off. limit: the longest text its files speak of,
    None if they speak of none. special_count: how many special tokens a text gets. special_ids: all special tokens. config:
    what `tokenizer_config.json` and `special_tokens_map.json` say. chat_template: Jinja source, or None.
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
        self._rust, self._lowercase = rust, lowercase
        self.vocab_size: int = rust.get_vocab_size(with_added_tokens=True)
        limit = self.config.get("model_max_length")
        self.limit: int | None = int(limit) if isinstance(limit, int | float) and 0 < limit < _NO_LIMIT else None
        self.special_count: int = rust.num_special_tokens_to_add(False)
        self.special_ids = frozenset(id_ for id_, token in rust.get_added_tokens_decoder().items() if token.special)
        self.chat_template = chat_template

    @classmethod
    def load(cls, folder: Path, *, lowercase: bool = False) -> "Tokenizer":
        """Reads the tokenizer files of a folder; executes no code from it. Raises `CheckpointError` if that cannot be done."""
        config: dict[str, Any] = {}
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            config |= read_json(folder / name) or {}
        path = folder / "tokenizer.json"
        if is_there(path):
            try:
                rust = tokenizers.Tokenizer.from_file(str(path))
            except Exception as error:
                # The Rust library raises bare Exceptions for a broken file.
                if type(error) is not Exception:
                    raise
                raise CheckpointError(f"the tokenizer.json of {folder} is damaged: {error}") from None
            _fit(folder, partial(_apply, rust), config)
        else:
            rust = _converted(folder)
        template = _fit(folder, partial(_chat_template, folder), config)
        return cls(rust, config=config, chat_template=template, lowercase=lowercase)

    def bare(self) -> "Tokenizer":
        """Returns a tokenizer that adds no special tokens, and knows no longest text: what static embeddings want."""
        rust = tokenizers.Tokenizer.from_str(self._rust.to_str())
        rust.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
        config = {key: value for key, value in self.config.items() if key != "model_max_length"}
        return Tokenizer(rust, config=config, chat_template=self.chat_template, lowercase=self._lowercase)

    def encode(
        self,
        texts: Sequence[str],
        *,
        add_special_tokens: bool = True,
        max_length: int | None = None,
        side: Side | None = None,
    ) -> list[np.ndarray]:
        """Returns the token ids of each text, int32.

        max_length: longer texts are cut to it, special tokens included and kept; None cuts nothing. side: where tokens are
        cut off, by default where the files say. Raises `InputTypeError` for anything but str, `InputError` for a max_length
        below the special tokens.
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
                    ids[index] = self._cut(clean[index], max_length, side or self.side, add_special_tokens)
        return ids

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Returns the text of token ids."""
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
        return _transformers().PreTrainedTokenizerFast(
            tokenizer_object=self._rust, chat_template=self.chat_template, **contents, **limits
        )

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


def _fit(folder: Path, read: Callable[[Mapping[str, Any]], Any], config: Mapping[str, Any]) -> Any:
    """Returns what `read` makes of the config, with an error that names the file if a value in it is of the wrong kind."""
    try:
        return read(config)
    except (TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder / 'tokenizer_config.json'} holds a value of the wrong kind: {error}.") from None


def _apply(rust: tokenizers.Tokenizer, config: Mapping[str, Any]) -> None:
    """Applies what `tokenizer_config.json` adds to a `tokenizer.json`: tokens, a BERT's letter case, begin and end tokens."""
    for token in (config.get("added_tokens_decoder") or {}).values():
        if isinstance(token, Mapping) and rust.token_to_id(str(token.get("content"))) is None:
            rust.add_tokens([AddedToken(**{key: value for key, value in token.items() if key != "__type"})])
    if isinstance(rust.normalizer, normalizers.BertNormalizer):
        state = rust.normalizer
        for name, key in (
            ("lowercase", "do_lower_case"),
            ("strip_accents", "strip_accents"),
            ("handle_chinese_chars", "tokenize_chinese_chars"),
        ):
            if key in config and getattr(state, name) != config[key]:
                setattr(state, name, config[key])
        rust.normalizer = state
    _frame(rust, config)


def _frame(rust: tokenizers.Tokenizer, config: Mapping[str, Any]) -> None:
    """Puts the begin and end tokens around texts where the config asks for them and the file forgot them.

    "false" takes nothing away: a template that adds an end token, as Qwen3-Embedding's does, was trained with it.
    """
    probe = rust.encode("a")
    outside = [bool(special) for special in probe.special_tokens_mask]
    inside = outside.index(False) if False in outside else len(outside)
    before, after = probe.tokens[:inside], [t for t, special in zip(probe.tokens, outside, strict=True) if special][inside:]
    begin, end = _asked(rust, config, "bos"), _asked(rust, config, "eos")
    framed = ([begin] if begin and begin not in before else []) + before, after + ([end] if end and end not in after else [])
    if framed == (before, after):
        return
    template = [" ".join([*framed[0], text, *framed[1]]) for text in ("$A", "$B:1")]
    names = {name: rust.token_to_id(name) for part in framed for name in part}
    rust.post_processor = processors.TemplateProcessing(
        single=template[0], pair=" ".join(template), special_tokens=list(names.items())
    )


def _asked(rust: tokenizers.Tokenizer, config: Mapping[str, Any], name: str) -> str | None:
    """The token that `add_bos_token` or `add_eos_token` asks for, if the vocabulary has it."""
    token = config.get(f"{name}_token")
    token = token.get("content") if isinstance(token, Mapping) else token
    asked = config.get(f"add_{name}_token") and token is not None and rust.token_to_id(token) is not None
    return str(token) if asked else None


def _side(config: Mapping[str, Any], rust: tokenizers.Tokenizer) -> Side:
    """Where texts are cut off: tokenizer_config.json says it, else tokenizer.json, as transformers reads them."""
    side: Any = config.get("truncation_side") or (rust.truncation or {}).get("direction") or "right"
    if side not in ("left", "right"):
        raise CheckpointError(f"truncation_side of tokenizer_config.json should be 'left' or 'right', not {side!r}.")
    return cast(Side, side)


def _chat_template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The template: of its own file, or of `tokenizer_config.json`, where a list names several and "default" is meant."""
    own = read_text(folder / "chat_template.jinja")
    if own is not None:
        return own
    found = config.get("chat_template")
    if isinstance(found, list):
        found = next((each.get("template") for each in found if each.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def _converted(folder: Path) -> tokenizers.Tokenizer:
    """A Rust tokenizer from an older vocabulary: vocab.txt, vocab.json with merges.txt, or a sentencepiece model."""
    try:
        found = _transformers().AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except (ValueError, OSError, KeyError, TypeError, ImportError, AttributeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(f"the tokenizer of {folder} cannot be loaded without executing its code: {reason}") from None
    rust = getattr(found, "backend_tokenizer", None)
    if rust is None:
        raise CheckpointError(f"{folder} has a tokenizer without a fast form; save one as tokenizer.json.")
    return rust


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
