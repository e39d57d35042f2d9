"""What a checkpoint's files say about turning hidden states into vectors, each fact with the file it came from.

Sentence-transformers files first (`modules.json` and the folders it names), then `config.json`, then the family's default. What
a file asks for and is not implemented is an error: a vector that is silently wrong is worse than none.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxembed.convert.checkpoint.modules import Reading, from_modules
from jaxembed.convert.checkpoint.sentence_bert import read_transformer_file
from jaxembed.convert.formats.json_files import mapping, read_modules, whole_number
from jaxembed.convert.formats.reader import Checkpoint
from jaxembed.convert.mapping.architectures import late_interaction
from jaxembed.convert.orbax.manifest import read_manifest
from jaxembed.errors import CheckpointError, UnsupportedModelError
from jaxembed.heads.recipe import DenseHead, Recipe

# What is read of config_sentence_transformers.json, and what says by what software it was written.
_SETTINGS = (
    "prompts",
    "default_prompt_name",
    "similarity_fn_name",
    "truncate_dim",
    "__version__",
    "model_type",
    "requirements",
)
_OF_MODULES = {"idx", "name", "path", "type", "kwargs"}
_CONFIG_MODES = {"avg": "mean", "cls": "cls", "last": "lasttoken"}


def read_recipe(
    folder: Path, config: Mapping[str, Any], *, pooling: str, instruction_end: str = "", own_module: str = ""
) -> Recipe:
    """Reads the files of a checkpoint.

    config: its `config.json` with the caller's overrides. pooling, instruction_end, own_module: what the family does of itself.
    """
    reading = Reading(folder)
    modules = read_modules(folder)
    listed = reading.json("modules.json", of=list) or []
    reading.unread(sorted({key for module in listed for key in module} - _OF_MODULES), "modules.json")
    if modules is None and late_interaction(config):
        recipe = _late_interaction(reading)
    elif modules is None:
        recipe = _without_modules(reading, config, pooling)
    else:
        recipe = from_modules(reading, modules, own_module, pooling)
    if instruction_end:
        reading.fact("instruction", f"left out up to {instruction_end!r}", "the default of this family")
        recipe = replace(recipe, include_prompt=False, instruction_end=instruction_end)
    recipe = _prompts(reading, recipe, config)
    recipe = _transformer_file(reading, recipe)
    if modules is None and config.get("model_type") != "model2vec":
        recipe = replace(recipe, message_format="auto")
    return replace(recipe, matryoshka=_matryoshka(reading, config, recipe.truncate_dim), facts=reading.facts)


def _without_modules(reading: Reading, config: Mapping[str, Any], pooling: str) -> Recipe:
    """What `pooling` in `config.json` says, as llama-nemotron-embed has it, else the default of the family."""
    said = config.get("pooling")
    if config.get("model_type") == "model2vec":
        reading.fact("normalized", "yes" if config.get("normalize") else "no", "config.json")
        return Recipe(modes=("mean",), normalize=bool(config.get("normalize")))
    if said is None:
        reading.fact("pooling", pooling, "the default of this family: there is no modules.json")
        return Recipe(modes=(pooling,))
    if said not in _CONFIG_MODES:
        raise UnsupportedModelError(f"pool_type {said!r} not supported; `pooling` of config.json may be avg, cls or last.")
    reading.fact("pooling", _CONFIG_MODES[said], "config.json")
    return Recipe(modes=(_CONFIG_MODES[said],))


def _late_interaction(reading: Reading) -> Recipe:
    """Stanford's ColBERT: the layer that turns the states of tokens lies among the tensors of the backbone."""
    name, tensor = "artifact.metadata", "linear.weight"
    width = whole_number(reading.json(name) or {}, "dim", reading.folder / name)
    manifest = read_manifest(reading.folder)
    if manifest is not None:
        inputs, outputs = manifest.arrays["heads.0.linear.w"].shape
    else:
        checkpoint = Checkpoint(reading.folder)
        if tensor not in checkpoint:
            raise CheckpointError(f"{reading.folder} has no tensor {tensor}, which every ColBERT has.")
        outputs, inputs = checkpoint.shape(tensor)
    if width not in (None, outputs):
        raise CheckpointError(f"{reading.folder / name} says dim: {width}, and {tensor} has {outputs} rows.")
    reading.fact("pooling", "none: one vector a token", "config.json: a ColBERT")
    reading.fact("heads", f"Dense {inputs} to {outputs} (linear)", tensor)
    reading.fact("normalized", "yes", "config.json: a ColBERT")
    head = DenseHead(inputs, outputs, bias=False, activation="linear", residual=False, folder="")
    return Recipe(modes=(), heads=(head,), normalize=True)


def _prompts(reading: Reading, recipe: Recipe, config: Mapping[str, Any]) -> Recipe:
    name = "config_sentence_transformers.json"
    path = reading.folder / name
    found = reading.json(name) or {}
    prompts = {key: value for key, value in mapping(found, "prompts", path).items() if isinstance(value, str)}
    default = found.get("default_prompt_name")
    if default is not None and (not isinstance(default, str) or default not in prompts):
        raise CheckpointError(f"{path} has the default prompt {default!r}, which is not among its prompts.")
    # pylate's, for the tokens of queries and documents, are no part of what is computed here.
    reading.unread([key for key in found if key not in _SETTINGS], name)
    if prompts:
        reading.fact("prompts", ", ".join(prompts), name)
    if found.get("similarity_fn_name"):
        reading.fact("similarity", found["similarity_fn_name"], name)
    truncate_dim = whole_number(found, "truncate_dim", path)
    if truncate_dim:
        reading.fact("truncate_dim", f"{truncate_dim}, for SentenceTransformer", name)
    return replace(
        recipe,
        prompts=prompts,
        default_prompt_name=default,
        similarity=found.get("similarity_fn_name"),
        truncate_dim=truncate_dim,
        task_instructions=dict(mapping(config, "task_instructions", reading.folder / "config.json")),
    )


def _transformer_file(reading: Reading, recipe: Recipe) -> Recipe:
    found = read_transformer_file(reading.folder)
    if found.max_length is not None:
        reading.fact("longest text", f"{found.max_length} tokens", found.name)
    if found.message_format is not None:
        reading.fact("texts", "messages for the chat template, in SentenceTransformer", found.name)
    return replace(
        recipe,
        max_length=found.max_length,
        lowercase=found.lowercase,
        message_format=found.message_format,
        template_arguments=found.template_arguments,
    )


def _matryoshka(reading: Reading, config: Mapping[str, Any], truncate_dim: int | None) -> tuple[int, ...] | None:
    """The dimensions that a caller may ask for; those that the files themselves keep by default are among them."""
    allowed = config.get("matryoshka_dimensions")
    default = () if truncate_dim is None else (truncate_dim,)
    if allowed:
        if not isinstance(allowed, list | tuple) or not all(isinstance(one, int) for one in allowed):
            path = reading.folder / "config.json"
            raise CheckpointError(f"matryoshka_dimensions of {path} should be a list of numbers, not {allowed!r}.")
        reading.fact("matryoshka", ", ".join(map(str, allowed)), "config.json")
        return tuple(dict.fromkeys((*allowed, *default)))
    if config.get("is_matryoshka"):
        reading.fact("matryoshka", "any dimensions", "config.json")
        return ()
    return default or None
