"""From a Hugging Face checkpoint to a folder that loads by itself: arrays, the small files, and a manifest.

The folder is built beside its place and renamed into it at the end, so that whatever is at that place is whole. A few
tensors are in memory at a time, however large the checkpoint.
"""

import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from jaxembed.batching import Text
from jaxembed.convert import manifest, store
from jaxembed.convert.adapters import merged_config
from jaxembed.convert.manifest import ARRAYS, Manifest, StoredArray, read_manifest
from jaxembed.convert.parameters import Parameter, declare, layouts, open_parameters
from jaxembed.convert.parity import TEXTS, figures
from jaxembed.convert.streamed import ReadAhead, streamed_vectors
from jaxembed.convert.weights import scale_axes
from jaxembed.convert.writing import Outline, Writer
from jaxembed.errors import CheckpointError, InputError, JaxEmbedError
from jaxembed.files import read_json
from jaxembed.loading import Description, describe
from jaxembed.quantised import Quantised

DTYPES = ("auto", "float32", "bfloat16", "int8")
# Files beside the weights that loading reads, in any folder of the checkpoint.
_SMALL = ("*.json", "*.txt", "*.model", "*.jinja")
# What is read at once for a digest; small enough to stay in a processor's cache.
_BLOCK = 1 << 18
_SKIPPED = ("onnx", "openvino", "coreml", ARRAYS)


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
    with beside(out) as folder, _digesting(found.folder, [*small, *opened.files]) as digests:
        arrays, exact = _write_arrays(folder / ARRAYS, found, graph, state, opened.parameters, dtype, progress)
        for path in small:
            copy_file(path, folder / path.relative_to(found.folder))
        config = merged_config(found.config_json, found.config)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        made = Manifest(
            source={"name": found.name, "revision": _revision(found.folder), "files": digests.result()},
            family=found.family.name,
            rules=manifest.digest_of_rules(layouts(found.family)),
            layout=opened.layout,
            dtype=dtype,
            versions=manifest.versions(),
            config=own_config(found),
            arrays=arrays,
            fingerprint=manifest.fingerprint(arrays),
            vectors=manifest.encoded(TEXTS, exact),
            cost=_cost(found, graph, state, opened.parameters, dtype, exact),
        )
        made.write(folder)
    return made


def own_config(found: Description) -> dict[str, Any] | None:
    """Returns a checkpoint's own config.json, without overrides but with its adapter told as merged; None if it has none."""
    own = read_json(found.folder / "config.json")
    return None if own is None else merged_config(own, found.config)


def stored_type(parameter: Parameter, dtype: str) -> np.dtype:
    """Returns the type in which a parameter that is not quantised is stored."""
    own = parameter.dtype
    if dtype == "auto" or not parameter.in_backbone:
        # fp8 without a scale is exact in bfloat16, and JAX has no float64 by default.
        return np.dtype({"float64": "float32", "float8_e4m3fn": "bfloat16", "float8_e5m2": "bfloat16"}.get(own.name, own.name))
    return np.dtype("float32" if dtype == "float32" else "bfloat16")


def _write_arrays(
    folder: Path,
    found: Description,
    graph: Any,
    state: Any,
    listed: Sequence[Parameter],
    dtype: str,
    progress: Callable[[int], Any] | None,
) -> tuple[dict[str, StoredArray], np.ndarray]:
    """Writes all parameters and returns them with the vectors of the fixed texts in float32, from one reading of the source.

    A quantised parameter becomes two arrays, `path.q` and `path.scale`.
    """
    stored = {path: each for parameter in listed for path, each in _outlines(parameter, dtype).items()}
    outlines = {path: outline for path, (outline, _) in stored.items()}
    total = sum(outline.nbytes for outline in outlines.values())
    _check_room(folder.parent, total)
    store.create(folder, outlines)
    with (
        nullcontext(lambda count: None) if progress is None else progress(total) as tick,
        Writer(folder, outlines, tick) as writer,
    ):

        def read(parameter: Parameter, index: int) -> Any:
            value = parameter.value(index)
            piece = parameter.rounded(value, stored_type(parameter, dtype), int8=dtype == "int8")
            for path, part in _parts(parameter.path, piece).items():
                writer.put(path, index, part)
            return value

        with ReadAhead(listed, read, Parameter.value) as pieces:
            vectors = streamed_vectors(graph, state, listed, pieces.take, _texts(found), found.width)
            pieces.rest()
    arrays = {
        path: StoredArray(outline.shape, outline.dtype.name, axes, outline.stacked, writer.digest(path))
        for path, (outline, axes) in stored.items()
    }
    return arrays, vectors


def _outlines(parameter: Parameter, dtype: str) -> dict[str, tuple[Outline, tuple[str, ...]]]:
    """Returns the arrays that a parameter is stored as, with a letter for each of their axes."""
    if dtype != "int8" or parameter.summed is None:
        return {parameter.path: (Outline(parameter.shape, stored_type(parameter, dtype), parameter.stacked), parameter.axes)}
    shape = (*parameter.shape[:1], *parameter.shape[1 + parameter.summed :])
    return {
        f"{parameter.path}.q": (Outline(parameter.shape, np.dtype(np.int8), parameter.stacked), parameter.axes),
        f"{parameter.path}.scale": (
            Outline(shape, np.dtype(np.float32), parameter.stacked),
            scale_axes(parameter.axes, parameter.summed),
        ),
    }


def _parts(path: str, piece: np.ndarray | Quantised) -> dict[str, np.ndarray]:
    """Returns the pieces of arrays that a parameter's piece is stored as."""
    return {f"{path}.q": piece.q, f"{path}.scale": piece.scale} if isinstance(piece, Quantised) else {path: piece}


def _texts(found: Description) -> list[Text]:
    ids = found.tokenizer.encode(list(TEXTS), max_length=found.max_length)
    return [Text(one, normalise=bool(found.recipe.normalise)) for one in ids]


def _cost(
    found: Description, graph: Any, state: Any, listed: Sequence[Parameter], dtype: str, exact: np.ndarray
) -> dict[str, float] | None:
    """Returns what rounding to `dtype` changes in the exact vectors of the fixed texts; None where nothing is rounded."""
    if dtype in ("auto", "float32"):
        return None

    def take(parameter: Parameter, index: int) -> Any:
        kind = np.dtype("bfloat16") if parameter.in_backbone else np.dtype("float32")
        return parameter.piece(index, kind, int8=dtype == "int8")

    return figures(streamed_vectors(graph, state, listed, take, _texts(found), found.width), exact)


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
            if isinstance(error, JaxEmbedError):
                raise
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


@contextmanager
def _digesting(folder: Path, files: Sequence[Path]) -> Iterator["Future[dict[str, str]]"]:
    """Computes the sha256 of files, by their names within the folder, beside what the block does; stops when it ends."""
    stop = threading.Event()

    def digests() -> dict[str, str]:
        found = {path.relative_to(folder).as_posix(): _digest(path, stop) for path in files}
        return dict(sorted(found.items()))

    with ThreadPoolExecutor(1, thread_name_prefix="jaxembed-digest") as digester:
        try:
            yield digester.submit(digests)
        finally:
            stop.set()


def _digest(path: Path, stop: threading.Event) -> str:
    digest = hashlib.sha256()
    block = bytearray(_BLOCK)
    try:
        with path.open("rb", buffering=0) as file:
            while not stop.is_set() and (count := file.readinto(block)):
                digest.update(memoryview(block)[:count])
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    return digest.hexdigest()


def _revision(folder: Path) -> str | None:
    """Returns the commit that a hub's cache names the folder by, None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None
