"""`jaxembed convert`: a checkpoint into Orbax arrays with all that belongs to them."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from jaxembed.cli.options import add_model_arguments, program
from jaxembed.cli.progress import byte_progress
from jaxembed.errors import InputError

if TYPE_CHECKING:
    from jaxembed.convert.manifest import Manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    add_model_arguments(parser, positional=True)
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to make; it must not exist")
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=["auto", "float32", "bfloat16", "int8"],
        help="auto keeps each tensor's own; int8 quantises the layers' matrices and prints what it costs (default: auto)",
    )
    parser.add_argument("--verify", action="store_true", help="compare the result as `jaxembed verify` does, and record it")
    parser.add_argument("--reference", metavar="PYTHON", type=program, help="for --verify: one that has sentence-transformers")
    parser.add_argument("--export-hf", action="store_true", help="write a Hugging Face checkpoint instead, from either kind")


def run(arguments: argparse.Namespace) -> None:
    """Converts, and says what came of it."""
    from jaxembed.convert.conversion import convert
    from jaxembed.convert.export import export
    from jaxembed.convert.parity import described

    where = {
        "revision": arguments.revision,
        "hf_overrides": arguments.hf_overrides,
        "max_model_len": arguments.max_model_len,
        "token": os.environ.get("HF_TOKEN"),
    }
    if arguments.export_hf:
        if arguments.dtype != "auto":
            raise InputError("--export-hf writes tensors in the type in which they are stored; leave out --dtype.")
        count = export(arguments.model, arguments.out, progress=byte_progress, **where)
        print(f"{arguments.out}: {count} tensors")
        return
    made = convert(arguments.model, arguments.out, dtype=arguments.dtype, progress=byte_progress, **where)
    print(f"{arguments.out}: {made.family}, {len(made.arrays)} arrays, fingerprint {made.fingerprint[:16]}")
    if made.cost is not None:
        print(f"what {made.dtype} costs, against float32: {described(made.cost)}")
    if arguments.verify:
        _verify(arguments.out, made, arguments.reference)


def _verify(out: Path, made: "Manifest", python: Path | None) -> None:
    """Compares the new folder and records the figures in its manifest."""
    from jaxembed.cli.verify import compared, show
    from jaxembed.engine import Engine

    comparison = compared(Engine.load(str(out), dtype="float32"), out, made, python)
    made.with_parity({"against": comparison.against, **comparison.figures}).write(out)
    show(comparison)
