"""The tokenizer of a checkpoint, from its files as they are; executes no code from them.

`tokenizer.json` is taken as it is: it is what the model was trained with. transformers 5 would rebuild it from the class that
`config.json` suggests, and its post-processor from `add_bos_token`, which loses the end token that Qwen3-Embedding pools.
transformers only converts older vocabularies, where there is no `tokenizer.json`.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, normalizers, pre_tokenizers, processors

from jaxembed.convert.checkpoint.tokenizer_checks import StrangeTokenizerError, check_growth, check_ids, rust_errors
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
# Keys of tokenizer_config.json that are read, those of any "..._token" besides, and those that change no ids of a text.
_READ = """
    add_bos_token add_eos_token added_tokens_decoder additional_special_tokens extra_special_tokens chat_template do_lower_case
    strip_accents tokenize_chinese_chars model_max_length truncation_side split_special_tokens add_prefix_space
"""
_WITHOUT_EFFECT = """
    tokenizer_class auto_map name_or_path special_tokens_map_file tokenizer_file vocab_file merges_file processor_class use_fast
    from_slow init_inputs backend is_local local_files_only _commit_hash clean_up_tokenization_spaces errors
    spaces_between_special_tokens trim_offsets model_input_names padding padding_side pad_to_multiple_of pad_token_type_id
    pad_token_id bos_token_id eos_token_id max_length max_len stride truncation truncation_strategy truncation_direction
    return_token_type_ids return_tensors return_attention_mask use_default_system_prompt response_schema response_template
    chat_control_tokens legacy sp_model_kwargs unk_id do_basic_tokenize never_split wordpieces_prefix extra_ids
"""
_KNOWN = frozenset((_READ + _WITHOUT_EFFECT).split())
# Classes that take tokenizer.json as it is; the others build it from its words and what the config says.
_AS_IT_IS = (None, "PreTrainedTokenizerFast", "TokenizersBackend", "PreTrainedTokenizer")
# Above it nobody looks for words: what transformers makes up has some hundred tokens at most, T5's.
_FEW_WORDS = 1000
# The largest vocabulary takes some 40 MB; a text that stands for it in memory some times that.
_MOST_BYTES = 128 << 20
_READ_WHOLE = (".txt", ".json", ".model", ".tiktoken", ".vocab")
# Words that are tried where "a" is none.
_PROBED = 10


@damaged
def load_tokenizer(folder: Path, *, lowercase: bool = False) -> Tokenizer:
    """Reads the tokenizer files of a folder; executes no code from it. Raises `CheckpointError` if that cannot be done."""
    config: dict[str, Any] = read_json(folder / "tokenizer_config.json") or {}
    if "added_tokens_decoder" not in config:
        config |= read_json(folder / "special_tokens_map.json") or {}
        config["added_tokens"] = read_json(folder / "added_tokens.json") or {}
    path = folder / "tokenizer.json"
    if is_there(path):
        rust = _read(path)
        with rust_errors(f"the tokenizer.json of {folder} is damaged"):
            _fit(folder, partial(_apply, rust), config)
    else:
        _find_vocabulary(folder)
        rust = _converted(folder)
    _check_words(folder, rust)
    with rust_errors(f"the tokenizer of {folder} is damaged"):
        check_ids(rust)
    template = _fit(folder, partial(_chat_template, folder), config)
    return Tokenizer(rust, config=config, chat_template=template, lowercase=lowercase)


def unread_keys(folder: Path) -> list[str]:
    """Returns the keys of a `tokenizer_config.json` that nobody reads and that are not known to be without effect."""
    config = read_json(folder / "tokenizer_config.json") or {}
    return sorted(key for key in config if key not in _KNOWN and not key.endswith("_token"))


def load_bare_tokenizer(folder: Path) -> Tokenizer:
    """Reads the tokenizer of static embeddings, which adds no special tokens.

    sentence-transformers reads `tokenizer.json` alone for them, with the truncation that it asks for; what transformers would
    add to it from other files does not hold. Raises `CheckpointError` as `load_tokenizer` does.
    """
    path = folder / "tokenizer.json"
    if is_there(path):
        rust = _read(path)
    else:
        _find_vocabulary(folder)
        rust = _converted(folder)
    _check_words(folder, rust)
    with rust_errors(f"the tokenizer of {folder} is damaged"):
        check_ids(rust)
    cut = rust.truncation
    rust.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    return Tokenizer(rust, config={"model_max_length": cut["max_length"]} if cut else None)


def _read(path: Path) -> tokenizers.Tokenizer:
    _check_size(path)
    with rust_errors(f"the tokenizer.json of {path.parent} is damaged"):
        rust = tokenizers.Tokenizer.from_file(str(path))
        check_growth(rust)
    return rust


def _find_vocabulary(folder: Path) -> None:
    """Raises `CheckpointError` if no file of a folder holds the words of a tokenizer."""
    for names in _VOCABULARIES:
        if all(any(map(is_there, folder.glob(name) if "*" in name else [folder / name])) for name in names):
            # transformers opens whatever has a name that it knows, and waits for ever at a pipe.
            for path in folder.iterdir():
                if not path.is_dir() and is_there(path) and path.suffix in _READ_WHOLE:
                    _check_size(path)
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


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise CheckpointError(f"{path} has {size:,} bytes, and no vocabulary has more than {_MOST_BYTES:,}; download it again.")


def _fit(folder: Path, read: Callable[[Mapping[str, Any]], Any], config: Mapping[str, Any]) -> Any:
    """Returns what `read` makes of the config, with an error that names the file if a value in it is of the wrong kind."""
    try:
        return read(config)
    except (TypeError, AttributeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{folder / 'tokenizer_config.json'} holds a value of the wrong kind: {error}.") from None


def _apply(rust: tokenizers.Tokenizer, config: Mapping[str, Any]) -> None:
    """Applies what `tokenizer_config.json` adds to a `tokenizer.json`: tokens, letter case, begin and end tokens."""
    tokens = _added_tokens(rust, config)
    if tokens:
        rust.add_tokens(tokens)
    rust.encode_special_tokens = bool(config.get("split_special_tokens", False))
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
    blank, split = config.get("add_prefix_space"), rust.pre_tokenizer
    if (
        isinstance(blank, bool)
        and isinstance(split, pre_tokenizers.ByteLevel)
        and config.get("tokenizer_class") not in _AS_IT_IS
    ):
        split.add_prefix_space = blank
        rust.pre_tokenizer = split
    _frame(rust, config)


def _added_tokens(rust: tokenizers.Tokenizer, config: Mapping[str, Any]) -> list[AddedToken]:
    """Returns the tokens that the config adds or describes anew, in the order in which transformers 5 adds them.

    A special token that `tokenizer.json` has among its words alone is added too: in a text it would be cut into parts else.
    """
    described = config.get("added_tokens_decoder") or {}
    added = [_token(token) for _, token in sorted(described.items(), key=lambda one: int(one[0]))]
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    groups, rest = (extra, []) if isinstance(extra, Mapping) else ({}, extra)
    names = {key: value for key, value in config.items() if key.endswith("_token") and isinstance(value, str | Mapping)}
    special = [*{**names, **groups}.values(), *rest]
    contents = {_token(one).content for one in special}
    for token in added:
        token.special = token.special or token.content in contents
    # What stands in added_tokens.json alone, as it did before there was a tokenizer.json.
    plain = sorted(config.get("added_tokens", {}).items(), key=lambda one: one[1])
    known = {token.content for token in (*rust.get_added_tokens_decoder().values(), *added)}
    for given, is_special in (*((name, name in contents) for name, _ in plain), *((one, True) for one in special)):
        token = _token(given, special=is_special)
        if token.content not in known:
            known.add(token.content)
            added.append(token)
    return added


def _token(given: Any, *, special: bool = False) -> AddedToken:
    """Returns a token of the config. special: what it is where the config has only its name."""
    if isinstance(given, str):
        return AddedToken(given, special=special)
    token = AddedToken(**{key: value for key, value in given.items() if key != "__type"})
    token.special = token.special or special
    return token


def _frame(rust: tokenizers.Tokenizer, config: Mapping[str, Any]) -> None:
    """Puts the begin and end tokens around texts where the config asks for them and the file forgot them.

    "false" takes nothing away: a template that adds an end token, as Qwen3-Embedding's does, was trained with it.
    """
    probe = _probe(rust)
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


def _probe(rust: tokenizers.Tokenizer) -> tokenizers.Encoding:
    """Returns a text of one word or letter, encoded: "a", or one of the first words where no token stands for the unknown."""
    with suppress(Exception):  # the Rust library's own, bare
        return rust.encode("a")
    words = sorted(rust.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
    for word, _ in words[:_PROBED]:
        with suppress(Exception):
            return rust.encode(word)
    raise StrangeTokenizerError("it encodes none of its own words.")


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
    load = quiet_transformers().AutoTokenizer.from_pretrained
    try:
        found = load(str(folder), trust_remote_code=False, local_files_only=True)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - other people's code over a stranger's files, and panics of Rust are no Exception
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise CheckpointError(f"the tokenizer of {folder} cannot be loaded without executing its code: {reason}") from None
    rust = getattr(found, "backend_tokenizer", None)
    if rust is None:
        raise CheckpointError(f"{folder} has a tokenizer without a fast form; save one as tokenizer.json.")
    return rust
