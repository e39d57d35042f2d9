"""`jaxembed verify`: whether a model gives the vectors that it should."""

import argparse
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jaxembed
from jaxembed.cli.options import add_model_arguments, program
from jaxembed.errors import InputError

if TYPE_CHECKING:
    from jaxembed.convert.orbax.manifest import Manifest
    from jaxembed.convert.tool.verification import Comparison

# Where `make parity` puts the reference libraries, beside the source of jaxembed. Never the folder one happens to be in, which
# may be a checkpoint's: nothing that lies there is executed.
REFERENCE = Path(jaxembed.__file__).parents[1] / ".venv-reference/bin/python"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    add_model_arguments(parser, positional=True)
    parser.add_argument(
        "--reference",
        metavar="PYTHON",
        type=program,
        help="one that has sentence-transformers (default: what `make parity` set up beside jaxembed's source, else this one)",
    )
    parser.add_argument(
        "--dtype", default="float32", help="what to run the model in: float32, bfloat16 or float16 (default: float32)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Compares and prints the figures. Raises `ParityError` if they are worse than the weights explain."""
    from jaxembed.convert.orbax.manifest import read_manifest
    from jaxembed.loading import load_engine

    where = {"revision": arguments.revision, "hf_overrides": arguments.hf_overrides, "token": os.environ.get("HF_TOKEN")}
    engine = load_engine(
        arguments.model, dtype=arguments.dtype, max_model_len=arguments.max_model_len, without_head=False, **where
    )
    folder = engine.model.folder
    manifest = read_manifest(folder)
    if manifest is not None:
        from jaxembed.convert.orbax.restoring import check_arrays

        check_arrays(folder, manifest)
        print(f"arrays     {len(manifest.arrays)}, all as they were written (fingerprint {manifest.fingerprint[:16]})")
    show(compared(engine, folder, manifest, arguments.reference))


def compared(engine: Any, folder: Path, manifest: "Manifest | None", python: Path | None) -> "Comparison":
    """Returns the comparison with the reference if there is one and it has something to read, else with the record.

    Raises `InputError` if there is neither.
    """
    from jaxembed.convert.tool.verification import against_record, against_reference, check_source

    source: Path | None = folder
    if manifest is not None:
        source = _source(manifest)
        source = source if source is not None and check_source(source, manifest) else None
    chosen = python or _default_reference()
    if chosen is not None and source is not None:
        return against_reference(engine, source, chosen)
    if python is not None:
        raise InputError(
            f"the checkpoint that {folder} was converted from is not to be found as it was; leave out --reference.",
            field="--reference",
        )
    if manifest is None:
        raise InputError(
            "there is nothing to compare with: no Python with sentence-transformers (name one with --reference), and no "
            "vectors that a conversion recorded.",
            field="--reference",
        )
    return against_record(engine, manifest)


def show(comparison: "Comparison") -> None:
    """Prints a comparison, and raises `ParityError` if it failed."""
    from jaxembed.convert.tool.parity import described
    from jaxembed.convert.tool.verification import DEPARTS, WHOLE

    print(f"against    {comparison.against}")
    print(f"vectors    {comparison.texts} texts, {comparison.precision} weights: {described(comparison.figures)}")
    for name, difference in comparison.layers:
        print(f"           {name:<16} differs by {difference:.1e} of its norm")
    if any(name != WHOLE for name, _ in comparison.layers):
        first, limit = comparison.first_departure, DEPARTS[comparison.precision]
        print(f"layers     {f'{first} is the first that departs' if first else 'none departs'} (more than {limit:.0e})")
    comparison.check()


def _default_reference() -> Path | None:
    import sys

    if REFERENCE.is_file():
        return REFERENCE
    return Path(sys.executable) if find_spec("sentence_transformers") and find_spec("torch") else None


def _source(manifest: "Manifest") -> Path | None:
    """Returns the folder that a conversion read, if it is on this machine; nothing is fetched."""
    from jaxembed.convert.checkpoint.hub import find_model
    from jaxembed.errors import ModelNotFoundError

    try:
        return find_model(manifest.source["name"], revision=manifest.source["revision"], local_files_only=True)
    except ModelNotFoundError:
        return None
