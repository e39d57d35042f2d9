"""What a converted checkpoint says of itself, in `manifest.json`: where it came from, how it was made, what it must give.

It tells a converted folder from any other. It is written last, and holds nothing that depends on the time, so that converting
twice gives the same file.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from jaxembed.convert.formats.json_files import read_json, replacing
from jaxembed.convert.formats.tensors import DTYPES
from jaxembed.convert.mapping import rules
from jaxembed.errors import CheckpointError

NAME = "manifest.json"
# The folder with the Orbax checkpoint.
ARRAYS = "arrays"
_FAMILY = "jaxembed/"
FORMAT = f"{_FAMILY}2"
# No model has as many; each is read by itself.
_MOST_LAYERS = 10_000

_PACKAGES = ("jaxembed", "jax", "flax", "orbax-checkpoint", "numpy")


@dataclass(frozen=True)
class StoredArray:
    """One array of the Orbax checkpoint.

    axes: a letter for each, `l` first where layers are stacked. xxh3: `writing.digest_of` its layers, or the whole.
    """

    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str, ...]
    stacked: bool
    xxh3: str

    @property
    def layers(self) -> Sequence[int | None]:
        """What to read one after the other: the layers, or None for the whole."""
        return range(self.shape[0]) if self.stacked else (None,)


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    source: its name, its revision (None for a folder), and the sha256 of each of its files. rules: a digest of the family's
    weight rules. layout: which of them the source's names followed. dtype: what was asked for. config: the source's own
    config.json, without overrides, None if it has none. fingerprint: of all arrays. vectors: what the source gives in float32
    for fixed texts. cost: what the dtype costs on those texts, None where nothing was rounded. parity: figures against the
    reference library, where they were asked for. adapter: which folder of the source has the adapter that is merged into the
    weights, "" for none. left_out: the source's tensors that the vectors do not need.
    """

    source: Mapping[str, Any]
    family: str
    rules: str
    layout: int
    dtype: str
    versions: Mapping[str, str]
    config: Mapping[str, Any] | None
    arrays: Mapping[str, StoredArray]
    fingerprint: str
    vectors: Mapping[str, Any]
    cost: Mapping[str, float] | None = None
    parity: Mapping[str, Any] | None = None
    adapter: str = ""
    left_out: Sequence[str] = ()

    def write(self, folder: Path) -> None:
        """Writes `manifest.json`; one that is there already is replaced whole."""
        content = {"format": FORMAT, **asdict(self)}
        with replacing(folder / NAME) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def recorded(self) -> tuple[list[str], np.ndarray]:
        """Returns the fixed texts and the float32 vectors [n, e] that the source gives for them.

        Raises `CheckpointError` if there is not one vector for each text.
        """
        texts = list(self.vectors["texts"])
        numbers = np.frombuffer(base64.b64decode(self.vectors["float32"]), "<f4")
        if not texts or not numbers.size or numbers.size % len(texts):
            what = f"{numbers.size} numbers are no vectors of {len(texts)} texts"
            raise CheckpointError(f"{NAME} is damaged ({what}); convert the checkpoint again.")
        return texts, numbers.reshape(len(texts), -1)

    def with_parity(self, figures: Mapping[str, Any]) -> "Manifest":
        """Returns this manifest with the figures of a comparison."""
        return replace(self, parity=dict(figures))


def read_manifest(folder: Path) -> Manifest | None:
    """Returns the manifest of a converted checkpoint, None for any other folder.

    Raises `CheckpointError` for one that is damaged or that another version of jaxembed wrote.
    """
    path = folder / NAME
    content = read_json(path) if (folder / ARRAYS).is_dir() else None
    if content is None:
        return None
    try:
        form = content.pop("format", None)
        if not str(form).startswith(_FAMILY):
            # Other software has manifests too.
            return None
        if form != FORMAT:
            raise CheckpointError(f"{path} has the format {form!r}, and {FORMAT!r} is read; convert the checkpoint again.")
        arrays = {name: StoredArray(**_tuples(entry)) for name, entry in content.pop("arrays").items()}
        found = Manifest(arrays=arrays, **content)
        _check(found)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        if isinstance(error, CheckpointError):
            raise
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{path} is damaged ({what}); convert the checkpoint again.") from None
    return found


def _check(found: Manifest) -> None:
    """Raises what Python raises for a value of the wrong kind among those that are read later."""
    name, revision, files = found.source["name"], found.source["revision"], found.source["files"]
    expected: list[tuple[str, Any, Any]] = [
        ("source", [name, revision or "", *files, *files.values()], str),
        ("family, rules, dtype and adapter", [found.family, found.rules, found.dtype, found.fingerprint, found.adapter], str),
        ("texts", found.vectors["texts"], str),
        ("layout", [found.layout], int),
        ("config", [found.config or {}], dict),
        ("shape", [size for array in found.arrays.values() for size in array.shape], int),
    ]
    for what, values, type_ in expected:
        if not all(isinstance(value, type_) for value in values):
            raise TypeError(f"{what} should hold {type_.__name__} only")
    for path, array in found.arrays.items():
        if Path(path).name != path:
            raise ValueError(f"{path} is no name of an array")
        if array.dtype not in DTYPES:
            raise ValueError(f"{path} has the type {array.dtype}")
        if any(size < 0 for size in array.shape) or (array.stacked and not 0 < array.shape[0] <= _MOST_LAYERS):
            raise ValueError(f"{path} has no shape of an array")
    np.frombuffer(base64.b64decode(found.vectors["float32"]), "<f4")


def versions() -> dict[str, str]:
    """Returns the versions of the packages that make a checkpoint what it is."""
    return {name: version(name) for name in _PACKAGES}


def digest_of_rules(tables: Sequence[rules.Table]) -> str:
    """Returns a digest of how a family's tensors become parameters; it changes with the rules, and with nothing else."""
    lines = [f"{number} {rule!r}" for number, table in enumerate(tables) for rule in sorted(table.rules, key=repr)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def fingerprint(arrays: Mapping[str, StoredArray]) -> str:
    """Returns a digest of the content of all arrays, whatever order they are in."""
    lines = [f"{name} {array.dtype} {array.shape} {array.xxh3}" for name, array in sorted(arrays.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def encoded(texts: Sequence[str], vectors: np.ndarray) -> dict[str, Any]:
    """Returns what `Manifest.vectors` holds for these texts and their vectors [n, e]."""
    return {"texts": list(texts), "float32": base64.b64encode(vectors.astype("<f4").tobytes()).decode()}


def _tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
