"""From a name to a loaded model: finds the files, reads what they say, fills the weights."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxembed.convert.checkpoint.hub import DEFAULT, find_model
from jaxembed.convert.checkpoint.pipeline import read_recipe
from jaxembed.convert.checkpoint.sentence_bert import read_transformer_file
from jaxembed.convert.checkpoint.tokenizer_files import load_bare_tokenizer, load_tokenizer, unread_keys
from jaxembed.convert.families import static
from jaxembed.convert.formats.json_files import is_there, read_json, read_modules, transformer_place
from jaxembed.convert.mapping.architectures import find, head, head_dropped, headless, is_language_model, settled, unsupported
from jaxembed.convert.mapping.registry import ANY_DECODER, Family
from jaxembed.convert.orbax.manifest import read_manifest
from jaxembed.convert.weights.filling import Memory, load_weights
from jaxembed.convert.weights.parameters import Declared, declare
from jaxembed.engine.model import About, Model
from jaxembed.errors import CheckpointError, InputError, UnsupportedModelError
from jaxembed.heads.recipe import Recipe
from jaxembed.inputs.conversation import Conversation
from jaxembed.inputs.encoder import Encoder
from jaxembed.inputs.tokenizer import Tokenizer
from jaxembed.models.backbone import BackboneConfig

_log = logging.getLogger(__name__)
# Tables are padded to whole tiles and keep rows in reserve, hundreds of many thousands; none has twice the rows of its words.
_COVERED = 0.5
_DTYPES = {"float32": jnp.float32, "float": jnp.float32, "bfloat16": jnp.bfloat16}
_HALF = ("float16", "half")
# What float16 is computed in where the hardware has no products of it.
_INSTEAD_OF_HALF = {"cpu": jnp.float32, "tpu": jnp.bfloat16}

Overrides = Mapping[str, Any] | Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Description(About):
    """What a checkpoint's small files say, before any weight is read. family: its line of the registry."""

    family: Family


class ConfigDict(dict[str, Any]):
    """A `config.json` whose keys are attributes too, because overrides are often written for config objects."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def load(
    name: str | None = None,
    *,
    per_layer: bool,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | None = None,
    local_files_only: bool = False,
    dtype: Any = "auto",
    max_model_len: int | None = None,
    hf_overrides: Overrides | None = None,
    pooling_mode: str | None = None,
    tokenizer: str | None = None,
    without_head: bool = True,
    quantization: str | None = None,
    mesh: Mesh | None = None,
) -> Model:
    """Loads a model from a folder, from a hub by name, or the embedded default if no name is given.

    A folder that `jaxembed convert` made is restored, any other is read tensor by tensor.

    Args:
        name: a folder, a hub name, or None.
        per_layer: give each layer arrays of its own, for a CPU.
        revision, token, cache_dir, local_files_only: as those of `find_model`.
        dtype: as in `resolve_dtype`.
        max_model_len: lowers or raises the longest text, up to what the positions allow.
        hf_overrides: merged into `config.json`, or a function from it to a new one.
        pooling_mode: replaces what the files say.
        tokenizer: another folder or name for it.
        without_head: take the bare model of a classifier, a reranker or a reward model; False refuses one, as each command and
            class does whose caller did not ask for it.
        quantization: "int8" for the matrices of the layers, None to leave them as they are.
        mesh: the devices to put the parameters on, by the table of `sharding`; None for the default device.

    Raises:
        ModelNotFoundError: nothing is to be found under the name.
        CheckpointError: the files are missing, damaged, or contradict each other.
        UnsupportedModelError: the checkpoint asks for something that is not implemented.
        InputError: an argument that cannot be met.
    """
    found = describe(
        name,
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        max_model_len=max_model_len,
        hf_overrides=hf_overrides,
        pooling_mode=pooling_mode,
        tokenizer=tokenizer,
        without_head=without_head,
    )
    memory = Memory(resolve_dtype(dtype), per_layer, _is_int8(quantization), mesh)
    model = declare(found.family, found.config, found.recipe)
    try:
        state = _weights(found, model, memory)
    except CheckpointError as error:
        if found.family is ANY_DECODER:
            raise unsupported(found.config_json, f"its config reads like a Llama's, its tensors do not: {error}") from None
        raise
    about = {field.name: getattr(found, field.name) for field in fields(About)}
    return Model(**about, family=found.family.name, graph=model.graph, state=state, dtype=memory.dtype)


def _weights(found: Description, model: Declared, memory: Memory) -> Any:
    """Returns the model's state, from the arrays of a converted folder or from a checkpoint's tensors."""
    manifest = read_manifest(found.folder)
    if manifest is None:
        return load_weights(model, found.folder, memory)
    # Orbax takes a second to import.
    from jaxembed.convert.orbax.restoring import restore_weights

    return restore_weights(model, found.folder, manifest, memory)


def describe(
    name: str | None = None,
    *,
    max_model_len: int | None = None,
    hf_overrides: Overrides | None = None,
    pooling_mode: str | None = None,
    tokenizer: str | None = None,
    without_head: bool = True,
    **hub: Any,
) -> Description:
    """Finds a model and reads everything but its weights. Arguments and errors are those of `load`; `hub` of `find_model`."""
    folder = find_model(name, **hub)
    config_json = read_config(folder, hf_overrides)
    if without_head:
        config_json = ConfigDict(headless(config_json))
    else:
        _refuse_head(folder, config_json, name or DEFAULT)
    family = find(config_json)
    if config_json.get("head_dtype") not in (None, "float32", "torch.float32"):
        _log.warning("heads are computed in float32; head_dtype %r is not needed and not obeyed.", config_json["head_dtype"])
    config = family.read_config(config_json)
    config = replace(config, subfolder=transformer_place(folder) or config.subfolder)
    recipe = read_recipe(
        folder,
        config_json,
        pooling=family.pooling,
        instruction_end=family.instruction_end,
        own_module=family.own_module,
    )
    if pooling_mode is not None:
        recipe = recipe.with_pooling(pooling_mode)
    place = find_model(tokenizer, **hub) if tokenizer else folder / config.subfolder
    words = load_bare_tokenizer(place) if family.bare else load_tokenizer(place, lowercase=recipe.lowercase)
    if not family.bare:
        recipe = recipe.with_unread(unread_keys(place), "tokenizer_config.json")
    strange = misfit_of_words(words, config)
    if strange is not None:
        _log.warning("%s: %s.", name or DEFAULT, strange)
    max_length = _max_length(recipe, words, config, max_model_len)
    encoder = Encoder(
        words, config.vocabulary, max_length, recipe.include_prompt, recipe.instruction_end, _conversation(words, recipe)
    )
    return Description(
        name=name or DEFAULT,
        folder=folder,
        config_json=config_json,
        family=family,
        config=config,
        recipe=recipe,
        encoder=encoder,
    )


def _conversation(words: Tokenizer, recipe: Recipe) -> Conversation | None:
    if recipe.message_format is None:
        return None
    found = Conversation.read(words, recipe.message_format, recipe.template_arguments)
    if found is None and "texts" in recipe.facts:
        raise CheckpointError(f"{recipe.facts['texts'][1]} says that texts are messages, and there is no chat template.")
    return found


def misfit_of_words(words: Tokenizer, config: BackboneConfig) -> str | None:
    """Returns what is wrong with a tokenizer that covers so little of a model's table that it is hardly its own, else None."""
    if words.vocab_size >= config.vocabulary * _COVERED:
        return None
    return (
        f"the tokenizer knows {words.vocab_size:,} tokens and the model's table has {config.vocabulary:,} rows, so it is "
        "probably another model's or cut short, and most words are unknown to it"
    )


def _refuse_head(folder: Path, config_json: Mapping[str, Any], name: str) -> None:
    """Raises `UnsupportedModelError` if a head makes the answers of a checkpoint.

    A reranker that asks a language model for yes or no, as Qwen3-Reranker does, is told by its name alone.

    What sentence-transformers saved with a Pooling is an embedder, even where its `config.json` kept the name of the class that
    its weights came from; an override that names such a class means it.
    """
    said = head(config_json)
    pooled = any(type_.endswith(".Pooling") for _, type_ in read_modules(folder) or ())
    if said is None and not pooled and "rerank" in Path(name).name.lower() and is_language_model(config_json):
        said = f"the language model {Path(name).name} ranks by its words for yes and no"
    if said is None:
        return
    if not pooled or said != head(read_config(folder, None)):
        raise head_dropped(config_json, said)


def read_config(folder: Path, overrides: Overrides | None) -> ConfigDict:
    """Returns `config.json` with `overrides` applied: nested dicts merged, or whatever the function returns.

    Before them comes what sentence-transformers' own file for the module changes.
    """
    config = ConfigDict(static.describe(folder) or read_json(folder / transformer_place(folder) / "config.json") or {})
    if is_there(folder / "modules.json"):
        config = ConfigDict(_merged(config, read_transformer_file(folder).config_changes))
    if overrides is None:
        return config
    names, model_type = config.get("architectures"), config.get("model_type")
    changed = overrides(config) if callable(overrides) else _merged(config, overrides)
    if not isinstance(changed, Mapping):
        raise InputError(f"hf_overrides must return the config, not {type(changed).__name__}.", field="hf_overrides")
    chosen = changed.get("architectures") != names and changed.get("model_type") == model_type
    return ConfigDict(settled(changed) if chosen else changed)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def resolve_dtype(dtype: Any) -> Any:
    """Returns the type of weights and activations that "auto", a name or a dtype means.

    "auto" is float32 on a CPU and bfloat16 on accelerators. "float16" or "half" is that on a GPU, float32 on a CPU and bfloat16
    on a TPU, which is said once. Raises `UnsupportedModelError` for any other than those, "float32" and "bfloat16".
    """
    platform = jax.default_backend()
    if dtype in (None, "auto"):
        return jnp.float32 if platform == "cpu" else jnp.bfloat16
    name = dtype if isinstance(dtype, str) else jnp.dtype(dtype).name
    if name in _HALF:
        instead = _INSTEAD_OF_HALF.get(platform)
        if instead is not None:
            _say_instead_of_half(platform, jnp.dtype(instead).name)
        return jnp.float16 if instead is None else instead
    if name not in _DTYPES:
        raise UnsupportedModelError(f"dtype {name!r} is not supported; supported are auto, float32, bfloat16 and float16.")
    return _DTYPES[name]


@cache
def _say_instead_of_half(platform: str, name: str) -> None:
    """Says it the first time."""
    _log.warning("float16 is asked for; on a %s the model is computed in %s.", platform, name)


def _is_int8(quantization: str | None) -> bool:
    if quantization not in (None, "int8"):
        raise InputError(f"quantization={quantization!r} is not supported; it may be 'int8' or None.", field="quantization")
    return quantization == "int8"


def _max_length(recipe: Recipe, tokenizer: Tokenizer, config: BackboneConfig, wanted: int | None) -> int:
    if wanted is not None:
        if wanted < 1:
            raise InputError(f"max_model_len must be at least 1, not {wanted}.", field="max_model_len")
        if wanted > config.longest:
            raise InputError(
                f"User-specified max_model_len ({wanted}) is greater than the derived max_model_len "
                f"(max_position_embeddings={config.longest} in model's config.json).",
                field="max_model_len",
            )
        return wanted
    limits = [config.longest, recipe.max_length or tokenizer.limit]
    return min(limit for limit in limits if limit)
