"""What a checkpoint's files say about turning hidden states into vectors, each fact with the file it came from.

Sentence-transformers files first (`modules.json` and the folders it names), then `config.json`, then the family's default. What
a file asks for and is not implemented is an error: a vector that is silently wrong is worse than none.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxembed.convert.checkpoint.sentence_bert import read_transformer_file
from jaxembed.convert.formats.json_files import mapping, read_json, read_modules, whole_number
from jaxembed.errors import CheckpointError, UnsupportedModelError
from jaxembed.heads.recipe import MODES, DenseHead, Head, LayerNormHead, NormalizeHead, Recipe

_LEGACY_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_CONFIG_MODES = {"avg": "mean", "cls": "cls", "last": "lasttoken"}
# torch.nn classes to the names in `layers.ACTIVATIONS`.
_ACTIVATIONS = {
    "Identity": "linear",
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Mish": "mish",
}
_MODULES = ("Transformer", "StaticEmbedding", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")


def read_recipe(folder: Path, config: Mapping[str, Any], *, pooling: str, instruction_end: str = "") -> Recipe:
    """Reads the files of a checkpoint.

    config: its `config.json` with the caller's overrides. pooling, instruction_end: what the family does of itself.
    """
    reading = _Reading(folder)
    modules = read_modules(folder)
    recipe = _without_modules(reading, config, pooling) if modules is None else _from_modules(reading, modules)
    if instruction_end:
        reading.fact("instruction", f"left out up to {instruction_end!r}", "the default of this family")
        recipe = replace(recipe, include_prompt=False, instruction_end=instruction_end)
    recipe = _prompts(reading, recipe, config)
    recipe = _lengths(reading, recipe)
    return replace(recipe, matryoshka=_matryoshka(reading, config, recipe.truncate_dim), facts=reading.facts)


class _Reading:
    """Reads JSON files of a folder and keeps what was found where."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, tuple[str, str]] = {}

    def fact(self, name: str, value: Any, source: str) -> None:
        self.facts[name] = (str(value), source)

    def json(self, name: str) -> Any:
        return read_json(self.folder / name)

    def module_config(self, place: str) -> dict[str, Any]:
        found = self.json(f"{place}/config.json")
        if found is None:
            raise CheckpointError(f"{self.folder / place} has no config.json, which modules.json promises.")
        return dict(found)


def _without_modules(reading: _Reading, config: Mapping[str, Any], pooling: str) -> Recipe:
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


def _from_modules(reading: _Reading, modules: list[tuple[str, str]]) -> Recipe:
    recipe: Recipe | None = None
    heads: list[Head] = []
    for number, (place, type_) in enumerate(modules):
        name = type_.rsplit(".", 1)[-1]
        if not type_.startswith("sentence_transformers.") or name not in _MODULES:
            raise UnsupportedModelError(f"the module {type_} is not supported; supported are {', '.join(_MODULES)}.")
        if (number == 0) != (name in ("Transformer", "StaticEmbedding")):
            raise UnsupportedModelError("modules.json is not supported: it must begin with its one Transformer.")
        if name == "StaticEmbedding":
            reading.fact("pooling", "mean", "modules.json: a StaticEmbedding")
            recipe = Recipe(modes=("mean",))
        if name == "Transformer" and place:
            raise UnsupportedModelError(f"modules.json keeps its Transformer in {place}; only the main folder is supported.")
        if name == "Pooling":
            modes, include_prompt = _pooling(reading.module_config(place), reading.folder / place)
            reading.fact(
                "pooling", " + ".join(modes) + ("" if include_prompt else ", without the prompt"), f"{place}/config.json"
            )
            recipe = Recipe(modes=modes, include_prompt=include_prompt)
        elif name == "Dense":
            heads.append(_dense(reading.module_config(place), place, reading.folder))
        elif name == "LayerNorm":
            heads.append(LayerNormHead(_size(reading.module_config(place), "dimension", reading.folder / place), place))
        elif name == "Normalize":
            _check_names(reading.json(f"{place}/config.json") or {}, place)
            heads.append(NormalizeHead())
        if recipe is None and heads:
            raise UnsupportedModelError(f"modules.json puts a {name} before its Pooling; that is not supported.")
    if recipe is None:
        raise UnsupportedModelError("modules.json names no Pooling module, and without one there is no vector of a text.")
    normalize = bool(heads) and isinstance(heads[-1], NormalizeHead)
    heads = heads[:-1] if normalize else heads
    reading.fact("heads", ", ".join(_described(head) for head in heads) or "none", "modules.json")
    reading.fact("normalized", "yes" if normalize else "no", "modules.json")
    return replace(recipe, heads=tuple(heads), normalize=normalize)


def _pooling(config: dict[str, Any], place: Path) -> tuple[tuple[str, ...], bool]:
    include_prompt = config.pop("include_prompt", True)
    config.pop("word_embedding_dimension", None)
    config.pop("embedding_dimension", None)
    given = config.pop("pooling_mode", None)
    if given is not None:
        modes = tuple(given) if isinstance(given, list | tuple) else (given,)
        for name in _LEGACY_MODES:
            config.pop(name, None)
    else:
        modes = tuple(mode for name, mode in _LEGACY_MODES.items() if config.pop(name, False)) or ("mean",)
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown:
        raise UnsupportedModelError(f"the pooling mode {unknown[0]!r} is not supported; supported are {', '.join(MODES)}.")
    if config:
        raise UnsupportedModelError(f"{place}/config.json has keys that are not understood: {', '.join(sorted(config))}.")
    return modes, bool(include_prompt)


def _dense(config: dict[str, Any], place: str, folder: Path) -> DenseHead:
    path = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    name = str(path).rsplit(".", 1)[-1]
    if not str(path).startswith("torch.nn.") or name not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"the activation {path} of {place} is not supported; supported are {', '.join(_ACTIVATIONS)}."
        )
    _check_names(config, place)
    return DenseHead(
        inputs=_size(config, "in_features", folder / place),
        outputs=_size(config, "out_features", folder / place),
        bias=bool(config.get("bias", True)),
        activation=_ACTIVATIONS[name],
        residual=bool(config.get("use_residual", False)),
        folder=place,
    )


def _check_names(config: Mapping[str, Any], place: str) -> None:
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            raise UnsupportedModelError(f"{key} {config[key]!r} of {place} is not supported; only 'sentence_embedding' is.")


def _size(config: Mapping[str, Any], key: str, place: Path) -> int:
    found = whole_number(config, key, place / "config.json")
    if found is None:
        raise CheckpointError(f"{place / 'config.json'} lacks {key!r}.")
    return found


def _described(head: Head) -> str:
    if isinstance(head, DenseHead):
        return f"Dense {head.inputs} to {head.outputs} ({head.activation})"
    return "LayerNorm" if isinstance(head, LayerNormHead) else "Normalize"


def _prompts(reading: _Reading, recipe: Recipe, config: Mapping[str, Any]) -> Recipe:
    name = "config_sentence_transformers.json"
    path = reading.folder / name
    found = reading.json(name) or {}
    prompts = {key: value for key, value in mapping(found, "prompts", path).items() if isinstance(value, str)}
    default = found.get("default_prompt_name")
    if default is not None and (not isinstance(default, str) or default not in prompts):
        raise CheckpointError(f"{path} has the default prompt {default!r}, which is not among its prompts.")
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


def _lengths(reading: _Reading, recipe: Recipe) -> Recipe:
    found = read_transformer_file(reading.folder)
    if found.max_length is not None:
        reading.fact("longest text", f"{found.max_length} tokens", found.name)
    return replace(recipe, max_length=found.max_length, lowercase=found.lowercase)


def _matryoshka(reading: _Reading, config: Mapping[str, Any], truncate_dim: int | None) -> tuple[int, ...] | None:
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
