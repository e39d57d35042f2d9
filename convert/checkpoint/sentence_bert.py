"""What `sentence_bert_config.json` says of sentence-transformers' Transformer: the longest text, letter case, another config.

Everything else in it is held to the values that change no vector, those that sentence-transformers writes among them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from jaxembed.convert.formats.json_files import mapping, read_json, transformer_place, whole_number
from jaxembed.errors import UnsupportedModelError
from jaxembed.inputs.conversation import MessageFormat

# Old checkpoints name the file after the backbone.
LENGTH_FILES = tuple(
    f"sentence_{name}_config.json" for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
# What it changes in `config.json`, by either name.
CONFIG_CHANGES = {"config_kwargs", "config_args"}
# How a modality is said to be one of texts, whose states are pooled.
_STATES = {"method": "forward", "method_output_name": "last_hidden_state"}
# Arguments of a chat template that would not be the template's.
_NO_ARGUMENTS = {
    "padding",
    "truncation",
    "max_length",
    "return_tensors",
    "chat_template",
    "messages",
    "tokenize",
    "return_dict",
}
# Keys with the values that ask for nothing, None for any. Version 6 writes the first three into every checkpoint that it saves.
_NEUTRAL: dict[str, tuple[Any, ...] | None] = {
    "transformer_task": (None, "feature-extraction"),
    "module_output_name": (None, "token_embeddings"),
    "modality_config.text": (_STATES,),
    "unpad_inputs": None,
    "cache_dir": None,
    "query_length": (None,),
    "document_length": (None,),
    "query_expansion": (None,),
    "tokenizer_name_or_path": (None, ""),
    "processing_kwargs.text.add_special_tokens": (True,),
    "processing_kwargs.text.max_length": (None,),
    "processing_kwargs.text.truncation": (None, True, "longest_first"),
}
# Groups of arguments, by all their names, and those of each that change no vector.
_OLD_NAMES = {"model_args": "model_kwargs", "tokenizer_args": "processor_kwargs", "config_args": "config_kwargs"}
_OF_HUB = ("trust_remote_code", "token", "cache_dir", "local_files_only")
# What changes no vector here whoever says it, a file or a caller: how transformers reads files, runs attention or pads.
MODEL_NEUTRAL = frozenset(
    (*_OF_HUB, "attn_implementation", "use_cache", "device_map", "low_cpu_mem_usage", "use_safetensors", "add_pooling_layer")
)
PROCESSOR_NEUTRAL = frozenset((*_OF_HUB, "padding", "padding_side", "use_fast", "clean_up_tokenization_spaces"))
# What a file says beside it of where it came from, and of a type that is chosen at loading.
_ORIGIN = ("revision", "code_revision")
_OF_TORCH = (*_OF_HUB, *_ORIGIN, "dtype", "torch_dtype", "attn_implementation", "_attn_implementation", "use_cache")
_OF_ARRAYS = ("pad_to_multiple_of", "return_tensors", "return_attention_mask")
_WITHOUT_EFFECT = {
    "model_kwargs": {*MODEL_NEUTRAL, *_OF_TORCH, "provider", "file_name", "export"},
    "processor_kwargs": {*PROCESSOR_NEUTRAL, *_ORIGIN, *_OF_ARRAYS, "model_max_length"},
    "processing_kwargs.text": {"padding", "padding_side", *_OF_ARRAYS, "return_token_type_ids", "logits_to_keep"},
}


@dataclass(frozen=True)
class TransformerFile:
    """What the file says.

    name: the file's, within the checkpoint. config_changes: merged into `config.json`. message_format: of texts as messages,
    None where they are none. template_arguments: for the chat template.
    """

    name: str
    max_length: int | None
    lowercase: bool
    config_changes: Mapping[str, Any]
    message_format: MessageFormat | None
    template_arguments: Mapping[str, Any]


def read_transformer_file(folder: Path) -> TransformerFile:
    """Reads the file of a checkpoint, which may have none.

    Raises `UnsupportedModelError` for a key that would change the vectors in a way that is not implemented, or might.
    """
    place = PurePosixPath(transformer_place(folder))
    name = next((name for name in LENGTH_FILES if read_json(folder / place / name)), LENGTH_FILES[0])
    path = folder / place / name
    found = {_OLD_NAMES.get(key, key): value for key, value in (read_json(path) or {}).items()}
    changes = {key: value for key, value in mapping(found, "config_kwargs", path).items() if key not in _OF_TORCH}
    # The newer of the two ways to say it wins, as there.
    given = mapping(found, "processor_kwargs", path)
    length = whole_number(given, "model_max_length", path) or whole_number(found, "max_seq_length", path)
    lowercase = bool(found.get("do_lower_case", False))
    for key, value in _asked(found, path).items():
        group, _, argument = key.rpartition(".")
        if argument in _WITHOUT_EFFECT.get(group, ()):
            continue
        neutral = _NEUTRAL.get(key, ())
        if neutral is not None and value not in neutral:
            raise UnsupportedModelError(f"{key} {value!r} of {path} is not supported: it would change the vectors.")
    format_ = _message_format(found, path)
    arguments = mapping(mapping(found, "processing_kwargs", path), "chat_template", path) if format_ else {}
    taken = sorted(_NO_ARGUMENTS & set(arguments))
    if taken:
        raise UnsupportedModelError(f"processing_kwargs.chat_template.{taken[0]} of {path} is not supported.")
    return TransformerFile(str(place / name), length, lowercase, changes, format_, arguments)


def _message_format(found: Mapping[str, Any], path: Path) -> MessageFormat | None:
    """Returns how texts are written as messages, None where the file does not list messages among the modalities."""
    said = mapping(mapping(found, "modality_config", path), "message", path)
    if not said:
        return None
    format_, rest = said.get("format", "auto"), {key: value for key, value in said.items() if key != "format"}
    if format_ not in ("auto", "flat", "structured") or rest != _STATES:
        raise UnsupportedModelError(f"modality_config.message {dict(said)!r} of {path} is not supported.")
    return cast(MessageFormat, format_)


def without_changes(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what such a file holds without its changes of the config, to go beside a `config.json` that has them already."""
    return {key: value for key, value in content.items() if key not in CONFIG_CHANGES}


def _asked(found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Returns what is asked for the vectors of texts, the keys of groups with the group before them."""
    asked = {key: value for key, value in found.items() if key not in ("max_seq_length", "do_lower_case", "config_kwargs")}
    for group in ("model_kwargs", "processor_kwargs"):
        given = mapping(asked, group, path)
        asked |= {f"{group}.{key}": value for key, value in given.items() if value is not None}
        asked.pop(group, None)
    if "modality_config" in asked:
        # Images are nothing to a text.
        asked["modality_config.text"] = mapping(asked, "modality_config", path).get("text")
        del asked["modality_config"]
    processing = mapping(asked, "processing_kwargs", path)
    for part in ("common", "text"):
        asked |= {f"processing_kwargs.text.{key}": value for key, value in mapping(processing, part, path).items()}
    asked.pop("processing_kwargs", None)
    return asked
