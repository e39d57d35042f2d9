"""From a Hugging Face checkpoint to a folder that loads by itself: arrays, the small files, and a manifest.

The folder is built beside its place and renamed into it at the end, so that whatever is at that place is whole. A few
tensors are in memory at a time, however large the checkpoint.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxembed.batching import Text
from jaxembed.convert import manifest, store
from jaxembed.convert.manifest import ARRAYS, Manifest, StoredArray, read_manifest
from jaxembed.convert.parameters import Parameter, declare, layouts, open_parameters
from jaxembed.convert.parity import TEXTS, figures
from jaxembed.convert.streamed import streamed_vectors
from jaxembed.convert.weights import each_part
from jaxembed.errors import InputError
from jaxembed.loading import Description, describe
from jaxembed.quantised import Quantised

DTYPES = ("auto", "float32", "bfloat16", "int8")
# Files beside the weights that loading reads, in any folder of the checkpoint.
_SMALL = ("*.json", "*.txt", "*.model", "*.jinja")
_SKIPPED = ("onnx", "openvino", "coreml", ARRAYS)

Progress = Callable[[int], None]


def convert(
    source: str | None,
    out: Path,
    *,
    dtype: str = "auto",
    progress: Callable[[int], Any] | None = None,
    **options: Any,
) -> Manifest:
    """Converts a checkpoint into the new folder `out` and returns its manifest.

    source: a folder or a hub name. dtype: "auto" keeps each tensor's own type, "float32" and "bfloat16" turn all of the
    backbone, "int8" quantises the matrices of its layers and turns the rest into bfloat16. progress: given the number of
    bytes there are to write, returns a context manager that gives a function to call with bytes written. options: those of
    `loading.describe`. Raises `InputError` for a place that cannot be written, and what loading raises.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}.")
    check_target(out)
    found = describe(source, **options)
    if read_manifest(found.folder) is not None:
        raise InputError(f"{found.folder} is converted already; --export-hf turns it back into a Hugging Face checkpoint.")
    recipe = found.recipe
    graph, state, summed = declare(found.family, found.config, recipe.heads, recipe.modes, include_prompt=recipe.include_prompt)
    opened = open_parameters(found.family, found.config, recipe.heads, found.folder, state, summed)
    small = small_files(found.folder)
    with beside(out) as folder, ThreadPoolExecutor(1, thread_name_prefix="jaxembed-digest") as digester:
        digests = digester.submit(_digests, found.folder, [*small, *opened.files])
        arrays = _write_arrays(folder / ARRAYS, opened.parameters, dtype, progress, digests)
        for path in small:
            copy_file(path, folder / path.relative_to(found.folder))
        (folder / "config.json").write_text(json.dumps(found.config_json, indent=2) + "\n", encoding="utf-8")
        vectors, cost = _recorded(found, graph, state, opened.parameters, dtype)
        made = Manifest(
            source={"name": found.name, "revision": _revision(found.folder), "files": digests.result()},
            family=found.family.name,
            rules=manifest.digest_of_rules(layouts(found.family)),
            layout=opened.layout,
            dtype=dtype,
            versions=manifest.versions(),
            arrays=arrays,
            fingerprint=manifest.fingerprint(arrays),
            vectors=manifest.encoded(TEXTS, vectors),
            cost=cost,
        )
        made.write(folder)
    return made


def stored_type(parameter: Parameter, dtype: str) -> np.dtype:
    """Returns the type in which a parameter that is not quantised is stored."""
    own = parameter.dtype
    if dtype == "auto" or not parameter.in_backbone:
        # fp8 without a scale is exact in bfloat16, and JAX has no float64 by default.
        return np.dtype({"float64": "float32", "float8_e4m3fn": "bfloat16", "float8_e5m2": "bfloat16"}.get(own.name, own.name))
    return np.dtype("float32" if dtype == "float32" else "bfloat16")


def _write_arrays(
    folder: Path, listed: Sequence[Parameter], dtype: str, progress: Callable[[int], Any] | None, digests: "Future[Any]"
) -> dict[str, StoredArray]:
    """Writes all parameters; a quantised one becomes two arrays, `path.q` and `path.scale`."""
    total = 0
    arrays: dict[str, store.Pieces] = {}
    axes: dict[str, tuple[str, ...]] = {}
    tick: list[Progress] = [lambda count: None]
    for parameter in listed:
        for path, letters, shape, kind, each in _parts(parameter, dtype):
            arrays[path] = store.Pieces(shape, kind, parameter.stacked, each, lambda count: tick[0](count))
            axes[path] = letters
            total += arrays[path].size * kind.itemsize
    _check_room(folder.parent, total)
    if progress is None:
        store.write(folder, arrays)
    else:
        with progress(total) as tick[0]:
            store.write(folder, arrays)
    return {
        path: StoredArray(pieces.shape, pieces.dtype.name, axes[path], pieces.stacked, pieces.digest)
        for path, pieces in arrays.items()
    }


def _parts(
    parameter: Parameter, dtype: str
) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...], np.dtype, Callable[[], Iterator[np.ndarray]]]]:
    """Yields path, axes, shape, type and pieces of each array that a parameter is stored as."""
    kind = stored_type(parameter, dtype)
    if dtype != "int8" or parameter.summed is None:
        yield parameter.path, parameter.axes, parameter.shape, kind, partial(parameter.pieces, kind, int8=False)  # type: ignore[misc]
        return
    layers = parameter.shape[:1]
    shape = parameter.shape[1:]
    outline = Quantised(np.empty(shape, np.int8), np.empty(shape[parameter.summed :], np.float32))
    letters = each_part(outline, parameter.axes[1:], lambda part, axes: axes)

    def each(name: str) -> Iterator[np.ndarray]:
        return (getattr(piece, name) for piece in parameter.pieces(kind, int8=True))

    for name in ("q", "scale"):
        part = getattr(outline, name)
        yield (
            f"{parameter.path}.{name}",
            ("l", *getattr(letters, name)),
            (*layers, *part.shape),
            part.dtype,
            partial(each, name),
        )


def _recorded(
    found: Description, graph: Any, state: Any, listed: Sequence[Parameter], dtype: str
) -> tuple[np.ndarray, dict[str, float] | None]:
    """Returns the vectors of the fixed texts in float32, and what rounding to `dtype` changes in them."""
    ids = found.tokenizer.encode(list(TEXTS), max_length=found.max_length)
    texts = [Text(one, normalise=bool(found.recipe.normalise)) for one in ids]
    width = found.recipe.width(found.config.width)
    exact = streamed_vectors(graph, state, listed, texts, width, int8=False, dtype=np.float32)
    if dtype in ("auto", "float32"):
        return exact, None
    rounded = streamed_vectors(graph, state, listed, texts, width, int8=dtype == "int8", dtype=np.dtype("bfloat16"))
    return exact, figures(rounded, exact)


def check_target(out: Path) -> None:
    """Raises `InputError` for a place where no new folder can be made."""
    if out.exists() or out.is_symlink():
        raise InputError(f"{out} exists already; remove it, or name another folder.")
    parent = out.absolute().parent
    if not parent.is_dir():
        raise InputError(f"there is no folder {parent} to put {out.name} into.")
    if not os.access(parent, os.W_OK):
        raise InputError(f"{parent} cannot be written: permission denied.")


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """Gives a new folder beside `out` that is renamed to it at the end, or removed if that is not reached.

    What a killed run has left there is removed first; a run that still goes on is an `InputError`.
    """
    folder = out.absolute().parent / f".{out.name}.partial"
    try:
        folder.mkdir(exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another run is writing {out} at this moment.") from None
        try:
            for left in folder.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield folder
            folder.rename(out)
        except OSError as error:
            raise InputError(f"{out} cannot be written: {error.strerror or error}.") from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def small_files(folder: Path) -> list[Path]:
    """Returns the files beside the weights that a checkpoint consists of, in a fixed order."""
    found = {path for pattern in _SMALL for path in folder.rglob(pattern)}
    return sorted(
        path
        for path in found
        if not path.name.endswith(".index.json")
        and not any(part in _SKIPPED or part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def copy_file(source: Path, target: Path) -> None:
    """Copies a file, and makes the folder it goes to."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(f"{folder.parent} has {free / 1e9:,.1f} GB free, and the arrays need {needed / 1e9:,.1f} GB.")


def _digests(folder: Path, files: Sequence[Path]) -> dict[str, str]:
    """Returns the sha256 of each file by its name within the folder."""
    found: dict[str, str] = {}
    for path in files:
        with path.open("rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _revision(folder: Path) -> str | None:
    """Returns the commit that a hub's cache names the folder by, None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None
