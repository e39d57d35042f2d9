"""The modules of sentence-transformers that `modules.json` lists, and what the small file of each says."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxembed.convert.formats.json_files import read_json, whole_number
from jaxembed.errors import CheckpointError, UnsupportedModelError
from jaxembed.heads.recipe import MODES, DenseHead, Head, LayerNormHead, NormalizeHead, Recipe, noted

_LEGACY_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# torch.nn classes to the names in `layers.ACTIVATIONS`.
ACTIVATIONS = {
    "Identity": "linear",
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Mish": "mish",
    "ELU": "elu",
    "SELU": "selu",
    "CELU": "celu",
    "LeakyReLU": "leaky_relu",
    "RReLU": "rrelu",
    "ReLU6": "relu6",
    "Hardtanh": "hardtanh",
    "Hardswish": "hardswish",
    "Hardsigmoid": "hardsigmoid",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "LogSigmoid": "log_sigmoid",
    "Tanhshrink": "tanhshrink",
    "Hardshrink": "hardshrink",
    "Softshrink": "softshrink",
    "Softmax": "softmax",
    "Softmin": "softmin",
    "LogSoftmax": "log_softmax",
}
_MODULES = ("Transformer", "StaticEmbedding", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")
_FIRST = ("Transformer", "StaticEmbedding")
# pylate's Dense, which turns the states of tokens, for late interaction.
_TOKEN_DENSE = "pylate.models.Dense.Dense"
_SENTENCE, _TOKENS = "sentence_embedding", "token_embeddings"
_NAMES = ("module_input_name", "module_output_name")
# What the others are, for people who meet them.
_OTHERS = {
    "Router": "sends queries and documents through modules of their own",
    "Asym": "sends texts through modules of their own by a key",
    "WeightedLayerPooling": "mixes the states of several layers",
    "BoW": "counts words",
    "WordEmbeddings": "looks words up in a table",
    "WordWeights": "weighs words",
    "CNN": "runs convolutions",
    "LSTM": "runs a recurrence",
    "CLIPModel": "reads images",
    "MLMTransformer": "makes sparse vectors",
    "SpladePooling": "makes sparse vectors",
    "LogitScore": "scores pairs",
}


class Reading:
    """Reads JSON files of a folder, and keeps what was found where and which keys nobody reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, tuple[str, str]] = {}

    def fact(self, name: str, value: Any, source: str) -> None:
        """Notes what was found, and where."""
        self.facts[name] = (str(value), source)

    def unread(self, keys: Sequence[str], source: str) -> None:
        """Notes keys of a file that change no vector, neither here nor in the reference library."""
        if keys:
            self.facts = noted(self.facts, keys, source)

    def json(self, name: str, of: type = dict) -> Any:
        """Returns what a file holds, None if there is none."""
        return read_json(self.folder / name, of=of)

    def module_config(self, place: str) -> dict[str, Any]:
        """Returns the config of a module. Raises `CheckpointError` if it has none."""
        found = self.json(f"{place}/config.json")
        if found is None:
            raise CheckpointError(f"{self.folder / place} has no config.json, which modules.json promises.")
        return dict(found)


def from_modules(reading: Reading, modules: Sequence[tuple[str, str]], own_module: str, pooling: str) -> Recipe:
    """Reads the modules of a checkpoint.

    Without a Pooling behind a Transformer there is no vector of a text, but for one of each token, unless the code of the
    family's own module pools.

    Args:
        reading: takes up facts.
        modules: path and type of each.
        own_module: the type of a Transformer that a family's checkpoints bring along; "" for none.
        pooling: what the family does of itself.
    """
    names = [_name(type_, own_module) for _, type_ in modules]
    if not names or names[0] not in _FIRST or set(names[1:]) & set(_FIRST):
        raise UnsupportedModelError("modules.json is not supported: it must begin with its one Transformer.")
    if len(names) == 1 and modules[0][1] == own_module:
        reading.fact("pooling", pooling, f"the code of {own_module}, which is not executed")
        reading.fact("normalized", "yes", f"the code of {own_module}")
        return Recipe(modes=(pooling,), normalize=True)
    recipe = _before_heads(reading, modules, names)
    heads = [head for place, name in _behind(modules, names) if (head := _head(reading, place, name, bool(recipe.modes)))]
    if not recipe.modes and not heads:
        raise UnsupportedModelError("modules.json names no Pooling module, and without one there is no vector of a text.")
    normalize = isinstance(heads[-1], NormalizeHead) if heads else False
    heads = heads[:-1] if normalize else heads
    # Late interaction compares tokens of unit length: pylate's own code scales them, whatever modules.json ends in.
    normalize = normalize or not recipe.modes
    reading.fact("heads", ", ".join(_described(head) for head in heads) or "none", "modules.json")
    reading.fact("normalized", "yes" if normalize else "no", "modules.json")
    return replace(recipe, heads=tuple(heads), normalize=normalize)


def _name(type_: str, own_module: str) -> str:
    """Returns which of our modules a type means. Raises `UnsupportedModelError` for any other."""
    name = type_.rsplit(".", 1)[-1]
    if own_module and type_ == own_module:
        return "Transformer"
    if type_ == _TOKEN_DENSE or (type_.startswith("sentence_transformers.") and name in _MODULES):
        return name
    raise _unsupported(type_)


def _unsupported(type_: str) -> UnsupportedModelError:
    name = type_.rsplit(".", 1)[-1]
    what = f"; a {name} {_OTHERS[name]}" if name in _OTHERS else ""
    return UnsupportedModelError(f"the module {type_} is not supported; supported are {', '.join(_MODULES)}{what}.")


def refuse_others(modules: Sequence[tuple[str, str]]) -> None:
    """Raises `UnsupportedModelError` for a module that is known and not supported.

    A checkpoint that begins with one may have no `config.json`, and of that nothing need be said.
    """
    for _, type_ in modules:
        if type_.rsplit(".", 1)[-1] in _OTHERS:
            raise _unsupported(type_)


def _before_heads(reading: Reading, modules: Sequence[tuple[str, str]], names: Sequence[str]) -> Recipe:
    """Returns how states become a vector of a text: as StaticEmbedding and Pooling say, by no mode where neither is there."""
    if names[0] == "StaticEmbedding":
        reading.fact("pooling", "mean", "modules.json: a StaticEmbedding")
        return Recipe(modes=("mean",))
    poolings = [index for index, name in enumerate(names) if name == "Pooling"]
    if not poolings:
        reading.fact("pooling", "none: one vector a token", "modules.json")
        return Recipe(modes=())
    early = [name for name in names[1 : poolings[0]] if name != "Dropout"]
    if early:
        raise UnsupportedModelError(f"modules.json puts a {early[0]} before its Pooling; that is not supported.")
    if len(poolings) > 1:
        raise UnsupportedModelError("modules.json has two Poolings; one is supported.")
    place = modules[poolings[0]][0]
    modes, include_prompt = _pooling(reading.module_config(place), reading.folder / place)
    reading.fact("pooling", " + ".join(modes) + ("" if include_prompt else ", without the prompt"), f"{place}/config.json")
    return Recipe(modes=modes, include_prompt=include_prompt)


def _behind(modules: Sequence[tuple[str, str]], names: Sequence[str]) -> list[tuple[str, str]]:
    """Returns place and name of each module behind what pools."""
    return [(place, name) for (place, _), name in zip(modules, names, strict=True) if name not in (*_FIRST, "Pooling")]


def _head(reading: Reading, place: str, name: str, pooled: bool) -> Head | None:
    """Returns a module behind the Pooling, None for one that changes nothing."""
    if name == "Dense":
        return _dense(reading, place, pooled)
    if name == "LayerNorm":
        config = reading.module_config(place)
        unknown = sorted(set(config) - {"dimension"})
        if unknown or not pooled:
            what = f"has keys that are not understood: {', '.join(unknown)}" if unknown else "stands where nothing is pooled"
            raise UnsupportedModelError(f"the LayerNorm of {reading.folder / place} {what}.")
        return LayerNormHead(_size(config, "dimension", reading.folder / place), place)
    config = reading.json(f"{place}/config.json") or {}
    if name == "Normalize":
        _check_names(config, place, pooled, default=_SENTENCE)
        reading.unread([key for key in config if key not in _NAMES], f"{place}/config.json")
        return NormalizeHead()
    # Dropout.
    reading.unread([key for key in config if key != "dropout"], f"{place}/config.json")
    return None


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


def _dense(reading: Reading, place: str, pooled: bool) -> DenseHead:
    config = reading.module_config(place)
    path = config.get("activation_function", "torch.nn.modules.activation.Tanh" if pooled else "torch.nn.Identity")
    name = str(path).rsplit(".", 1)[-1]
    if not str(path).startswith("torch.nn.") or name not in ACTIVATIONS:
        raise UnsupportedModelError(
            f"the activation {path} of {place} is not supported; supported are {', '.join(ACTIVATIONS)}."
        )
    _check_names(config, place, pooled, default=_SENTENCE if pooled else _TOKENS)
    read = {"in_features", "out_features", "bias", "activation_function", "use_residual", *_NAMES}
    reading.unread([key for key in config if key not in read], f"{place}/config.json")
    return DenseHead(
        inputs=_size(config, "in_features", reading.folder / place),
        outputs=_size(config, "out_features", reading.folder / place),
        bias=bool(config.get("bias", True)),
        activation=ACTIVATIONS[name],
        residual=bool(config.get("use_residual", False)),
        folder=place,
    )


def _check_names(config: Mapping[str, Any], place: str, pooled: bool, *, default: str) -> None:
    """Holds what a module reads and writes to the vectors that there are, those of texts where they are `pooled`."""
    wanted = _SENTENCE if pooled else _TOKENS
    for key in _NAMES:
        said = config.get(key) or default
        if said != wanted:
            raise UnsupportedModelError(f"{key} {said!r} of {place} is not supported; only {wanted!r} is.")


def _size(config: Mapping[str, Any], key: str, place: Path) -> int:
    found = whole_number(config, key, place / "config.json")
    if found is None:
        raise CheckpointError(f"{place / 'config.json'} lacks {key!r}.")
    return found


def _described(head: Head) -> str:
    if isinstance(head, DenseHead):
        return f"Dense {head.inputs} to {head.outputs} ({head.activation})"
    return "LayerNorm" if isinstance(head, LayerNormHead) else "Normalize"
