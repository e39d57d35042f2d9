"""The tokenizer of a checkpoint, from its files as they are; executes no code from them.

`tokenizer.json` is taken as it is: it is what the model was trained with. transformers 5 would rebuild it from the class that
`config.json` suggests, and its post-processor from `add_bos_token`, which loses the end token that Qwen3-Embedding pools.
transformers only converts older vocabularies, where there is no `tokenizer.json`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, normalizers, processors

from jaxembed.convert.formats.json_files import is_there, read_json, read_text
from jaxembed.errors import CheckpointError
from jaxembed.inputs.strangers import damaged
from jaxembed.inputs.tokenizer import Tokenizer, quiet_transformers

# Names of files that hold a vocabulary, those of a line together. Where transformers finds none, it makes up a tokenizer
# that has special tokens only.
_VOCABULARIES = (
    ("tokenizer.json",),
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("*.model",),
    ("*.tiktoken",),
    ("tekken.json",),
)
# Above it nobody looks for words: what transformers makes up has some hundred tokens at most, T5's.
_FEW_WORDS = 1000


@damaged
def load_tokenizer(folder: Path, *, lowercase: bool = False) -> Tokenizer:
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
        _find_vocabulary(folder)
        rust = _converted(folder)
    _check_words(folder, rust)
    template = _fit(folder, partial(_chat_template, folder), config)
    return Tokenizer(rust, config=config, chat_template=template, lowercase=lowercase)


def _find_vocabulary(folder: Path) -> None:
    """Raises `CheckpointError` if no file of a folder holds the words of a tokenizer."""
    for names in _VOCABULARIES:
        if all(any(map(is_there, folder.glob(name) if "*" in name else [folder / name])) for name in names):
            return
    *others, last = [" with ".join(names) for names in _VOCABULARIES]
    raise CheckpointError(
        f"the tokenizer of {folder} cannot be loaded: it has no vocabulary, none of {', '.join(others)} or {last} is there; "
        "download the whole checkpoint, or name another folder or model with tokenizer=."
    )


def _check_words(folder: Path, rust: tokenizers.Tokenizer) -> None:
    """Raises `CheckpointError` for a tokenizer without any word: an empty vocabulary, or one that transformers made up."""
    if rust.get_vocab_size() > _FEW_WORDS:
        return
    special = {token.content for token in rust.get_added_tokens_decoder().values() if token.special}
    if all(token in special or not token.strip("▁Ġ") for token in rust.get_vocab()):
        raise CheckpointError(
            f"the tokenizer of {folder} cannot be loaded: its vocabulary is {len(rust.get_vocab())} special tokens and no "
            "word, so its files are not its model's; download the whole checkpoint, or name another one with tokenizer=."
        )


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
        found = quiet_transformers().AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except (ValueError, OSError, KeyError, TypeError, ImportError, AttributeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(f"the tokenizer of {folder} cannot be loaded without executing its code: {reason}") from None
    rust = getattr(found, "backend_tokenizer", None)
    if rust is None:
        raise CheckpointError(f"{folder} has a tokenizer without a fast form; save one as tokenizer.json.")
    return rust
