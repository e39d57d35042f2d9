"""`jaxembed convert`: a checkpoint into Orbax arrays with all that belongs to them."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxembed.cli.options import add_checkpoint_arguments, program
from jaxembed.cli.progress import byte_progress
from jaxembed.errors import InputError

if TYPE_CHECKING:
    from jaxembed.convert.orbax.manifest import Manifest

# Names of tensors that a line has room for.
_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("source", metavar="SOURCE", help="a folder or a hub name; all-MiniLM-L6-v2 is the embedded model")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to make; it must not exist")
    add_checkpoint_arguments(parser)
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=["auto", "float32", "bfloat16", "int8"],
        help="auto keeps each tensor's own; int8 quantizes the layers' matrices, turns the rest into bfloat16, and prints "
        "what that costs (default: auto)",
    )
    parser.add_argument("--verify", action="store_true", help="compare the result as `jaxembed verify` does, and record it")
    parser.add_argument("--reference", metavar="PYTHON", type=program, help="for --verify: one that has sentence-transformers")
    parser.add_argument("--export-hf", action="store_true", help="write a Hugging Face checkpoint instead, from either kind")


def run(arguments: argparse.Namespace) -> None:
    """Converts, and says what came of it. Raises `InputError` for options that would do nothing."""
    from jaxembed.convert.tool.conversion import convert

    _check(arguments)
    where = {
        "revision": arguments.revision,
        "hf_overrides": arguments.hf_overrides,
        "token": os.environ.get("HF_TOKEN"),
        "without_head": False,
    }
    if arguments.export_hf:
        _export(arguments.source, arguments.out, where)
        return
    made = convert(arguments.source, arguments.out, dtype=arguments.dtype, progress=byte_progress, **where)
    print(f"{arguments.out}: {made.family}, {len(made.arrays)} arrays, fingerprint {made.fingerprint[:16]}")
    if made.cost is not None:
        from jaxembed.convert.tool.parity import described

        print(f"what {made.dtype} costs, against float32: {described(made.cost)}")
    if arguments.verify:
        _verify(arguments.out, made, arguments.reference)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.export_hf and arguments.dtype != "auto":
        raise InputError("--export-hf writes tensors in the type in which they are stored; leave out --dtype.", field="--dtype")
    if arguments.export_hf and arguments.verify:
        raise InputError(
            "--export-hf compares nothing; leave out --verify, and run `jaxembed verify` on what it wrote.", field="--verify"
        )
    if arguments.reference and not arguments.verify:
        raise InputError("--reference says what --verify compares with; add --verify, or leave it out.", field="--reference")
    if arguments.revision and Path(arguments.source).expanduser().is_dir():
        raise InputError(f"--revision is of a hub model, and {arguments.source} is a folder; leave it out.", field="--revision")


def _export(source: str, out: Path, where: dict[str, Any]) -> None:
    from jaxembed.convert.tool.export import export

    done = export(source, out, progress=byte_progress, **where)
    print(f"{out}: {done.tensors} tensors")
    if done.left_out:
        names = ", ".join(done.left_out[:_SHOWN]) + (", ..." if len(done.left_out) > _SHOWN else "")
        print(f"left out, for the vectors do not need them: {len(done.left_out)} tensors of the source ({names})")


def _verify(out: Path, made: "Manifest", python: Path | None) -> None:
    """Compares the new folder and records the figures in its manifest."""
    from jaxembed.cli.verify import compared, show
    from jaxembed.loading import load_engine

    comparison = compared(load_engine(str(out), dtype="float32"), out, made, python)
    made.with_parity({"against": comparison.against, **comparison.figures}).write(out)
    show(comparison)
