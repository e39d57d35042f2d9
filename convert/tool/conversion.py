"""From a Hugging Face checkpoint to a folder that loads by itself: arrays, the small files, and a manifest.

A few tensors are in memory at a time, however large the checkpoint.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from jaxembed.convert.checkpoint.loading import Description, Overrides, describe, misfit_of_words
from jaxembed.convert.formats.json_files import read_json, transformer_place
from jaxembed.convert.orbax import manifest, store
from jaxembed.convert.orbax.manifest import ARRAYS, Manifest, StoredArray, read_manifest
from jaxembed.convert.orbax.writing import Outline, Writer
from jaxembed.convert.tool.new_folder import check_room, check_target, new_folder
from jaxembed.convert.tool.parity import TEXTS, figures
from jaxembed.convert.tool.small_files import copy_files, small_files
from jaxembed.convert.tool.streamed import ReadAhead, streamed_vectors
from jaxembed.convert.weights.filling import scale_axes
from jaxembed.convert.weights.parameters import Declared, Parameter, declare, layouts, open_parameters
from jaxembed.errors import CheckpointError, InputError
from jaxembed.layers.int8 import Quantized
from jaxembed.packing.text import Text

DTYPES = ("auto", "float32", "bfloat16", "int8")
# What is read at once for a digest; small enough to stay in a processor's cache.
_BLOCK = 1 << 18


def convert(
    source: str | None,
    out: Path,
    *,
    dtype: str = "auto",
    progress: Callable[[int], Any] | None = None,
    hf_overrides: Overrides | None = None,
    **hub: Any,
) -> Manifest:
    """Converts a checkpoint into the new folder `out` and returns its manifest.

    Args:
        source: a folder or a hub name.
        out: must not exist yet.
        dtype: "auto" keeps each tensor's own type, "float32" and "bfloat16" turn all of the backbone, "int8" quantizes the
            matrices of its layers and turns the rest into bfloat16.
        progress: given the number of bytes there are to write, returns a context manager that gives a function to call with
            bytes written.
        hf_overrides: as in `load`; they stay in the new folder's `config.json`.
        **hub: as in `find_model`.

    Raises:
        InputError: the place cannot be written.
        CheckpointError: the vectors of the weights are not finite; the tokenizer is not the model's; and what loading raises.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}.", field="dtype")
    check_target(out)
    found = describe(source, hf_overrides=hf_overrides, **hub)
    if read_manifest(found.folder) is not None:
        raise InputError(
            f"{found.folder} is converted already; --export-hf turns it back into a Hugging Face checkpoint.", field="source"
        )
    strange = misfit_of_words(found.encoder.tokenizer, found.config)
    if strange is not None:
        raise CheckpointError(f"{found.folder} is not converted: {strange}; put the files of the model's tokenizer into it.")
    model = declare(found.family, found.config, found.recipe)
    opened = open_parameters(model, found.folder)
    small = small_files(found.folder)
    read = [*(found.folder / name for name in small), *opened.files]
    with new_folder(out) as folder, _digesting(found.folder, read) as digests:
        copy_files(small, found.folder, folder)
        config = Path(transformer_place(found.folder)) / "config.json"
        (folder / config).write_text(json.dumps(found.config_json, indent=2) + "\n", encoding="utf-8")
        check_same(found, folder)
        arrays, exact = _write_arrays(folder / ARRAYS, found, model, opened.parameters, dtype, progress)
        made = Manifest(
            source={"name": found.name, "revision": _revision(found.folder), "files": digests.result()},
            family=found.family.name,
            rules=manifest.digest_of_rules(layouts(found.family)),
            layout=opened.layout,
            dtype=dtype,
            versions=manifest.versions(),
            config=read_json(found.folder / config),
            arrays=arrays,
            fingerprint=manifest.fingerprint(arrays),
            vectors=manifest.encoded(TEXTS, exact),
            cost=_cost(found, model, opened.parameters, dtype, exact),
            adapter=found.config.adapter,
            left_out=opened.left_out,
        )
        made.write(folder)
    return made


def check_same(found: Description, folder: Path) -> None:
    """Raises `CheckpointError` if the small files in a new folder do not say what those of their source said."""
    again = describe(str(folder))
    if (again.config, again.recipe, again.max_length) != (found.config, found.recipe, found.max_length):
        raise CheckpointError(f"the files of {found.folder} were changed while they were read; run it again.")


def stored_type(parameter: Parameter, dtype: str) -> np.dtype:
    """Returns the type in which a parameter that is not quantized is stored."""
    own = parameter.dtype
    if dtype == "auto" or not parameter.in_backbone:
        # fp8 without a scale is exact in bfloat16, and JAX has no float64 by default.
        return np.dtype({"float64": "float32", "float8_e4m3fn": "bfloat16", "float8_e5m2": "bfloat16"}.get(own.name, own.name))
    return np.dtype("float32" if dtype == "float32" else "bfloat16")


def _write_arrays(
    folder: Path,
    found: Description,
    model: Declared,
    listed: Sequence[Parameter],
    dtype: str,
    progress: Callable[[int], Any] | None,
) -> tuple[dict[str, StoredArray], np.ndarray]:
    """Writes all parameters and returns them with the vectors of the fixed texts in float32, from one reading of the source.

    A quantized parameter becomes two arrays, `path.q` and `path.scale`.
    """
    stored = {path: each for parameter in listed for path, each in _outlines(parameter, dtype).items()}
    outlines = {path: outline for path, (outline, _) in stored.items()}
    total = sum(outline.nbytes for outline in outlines.values())
    check_room(folder.parent, total)
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
            vectors = _finite(streamed_vectors(model, listed, pieces.take, _texts(found), found.width), found)
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


def _parts(path: str, piece: np.ndarray | Quantized) -> dict[str, np.ndarray]:
    """Returns the pieces of arrays that a parameter's piece is stored as."""
    return {f"{path}.q": piece.q, f"{path}.scale": piece.scale} if isinstance(piece, Quantized) else {path: piece}


def _texts(found: Description) -> list[Text]:
    return list(found.encoder.texts(list(TEXTS), found.options, tokenization=found.encoder.cut()))


def _cost(
    found: Description, model: Declared, listed: Sequence[Parameter], dtype: str, exact: np.ndarray
) -> dict[str, float] | None:
    """Returns what rounding to `dtype` changes in the exact vectors of the fixed texts; None where nothing is rounded."""
    if dtype in ("auto", "float32"):
        return None

    def take(parameter: Parameter, index: int) -> Any:
        wanted = np.dtype("bfloat16") if parameter.in_backbone else np.dtype("float32")
        return parameter.piece(index, wanted, int8=dtype == "int8")

    rounded = streamed_vectors(model, listed, take, _texts(found), found.width)
    return figures(_finite(rounded, found, f", rounded to {dtype},"), exact)


def _finite(vectors: np.ndarray, found: Description, how: str = "") -> np.ndarray:
    if not np.isfinite(vectors).all():
        raise CheckpointError(
            f"the weights of {found.folder}{how} give vectors with NaN or infinite values; nothing is converted."
        )
    return vectors


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
