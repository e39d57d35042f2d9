"""The operations there are, and which back end serves one on a target, decided once from plain values, with a reason in words.

Nothing here looks at a device: the same function answers for hardware that is absent, which is how programs are compiled
ahead of time for it.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jaxembed.kernels_pallas.attention import ATTENTION
from jaxembed.kernels_pallas.backend import Operation
from jaxembed.kernels_pallas.choice import Choice, Target
from jaxembed.kernels_pallas.lexical import LEXICAL
from jaxembed.kernels_pallas.maxsim import MAXSIM
from jaxembed.kernels_pallas.pool import POOL
from jaxembed.kernels_pallas.shapes import Shape

OPERATIONS: dict[str, Operation] = {one.name: one for one in (ATTENTION, POOL, LEXICAL, MAXSIM)}


@cache
def rows() -> list[dict[str, Any]]:
    """Returns the tuned tiles, each row with its source and date; the first that fits and serves is taken."""
    found: list[dict[str, Any]] = json.loads((Path(__file__).parent / "tiles.json").read_text())
    return found


def choose(operation: str, target: Target, shape: Shape, *, force: str | None = None) -> Choice:
    """Returns the back end for an operation on a target.

    In order: what is forced; the target's kernel, where `tiles.json` has a row for the target and the kernel's requirements are
    met; the path that runs everywhere.

    Args:
        operation: a name in `OPERATIONS`.
        target: the hardware, here or absent.
        shape: what the operation is asked, of the operation's own type.
        force: the name of a back end that must be used.

    Returns:
        The back end with its tiles, and why it was taken and no other.

    Raises:
        ValueError: the operation does not exist or is not asked in such shapes; the forced back end does not exist, or cannot
            serve, with what it misses.
    """
    found = OPERATIONS.get(operation)
    if found is None or found.shape is not type(shape):
        raise ValueError(
            f"there is no operation {operation!r} for a {type(shape).__name__}; the operations are: {', '.join(OPERATIONS)}."
        )
    everywhere = found.everywhere
    for plain in (everywhere, found.reference):
        if force == plain.name:
            return Choice(plain, everywhere.tiles, f"asked for by the caller, on {target.name}")
    names = [*(kernel.name for kernel in found.kernels), everywhere.name, found.reference.name]
    if force is not None and force not in names:
        raise ValueError(f"{operation} has no back end {force!r}; it has {', '.join(names)}.")
    kernel = next((kernel for kernel in found.kernels if kernel.platform == target.platform), None)
    if force is not None and (kernel is None or force != kernel.name):
        raise ValueError(f"{force} cannot be used for {operation} on {target.name}: it is made for another kind of hardware.")
    if kernel is None:
        return Choice(everywhere, everywhere.tiles, f"plain XLA, the path that runs everywhere, on {target.name}")
    missing = [f"no tiles are known for {target.name}"]
    for row in _rows(operation, target.family, shape):
        backend, tiles = kernel.load(), (row["tiles"][0], row["tiles"][1])
        missing = backend.unmet(shape, tiles)
        if not missing:
            why = "asked for by the caller" if force else f"tiles of {row['date']}: {row['source']}"
            return Choice(backend, tiles, f"{why}, on {target.name}")
    if force is not None:
        raise ValueError(f"{force} cannot be used for {operation} on {target.name}: {'; '.join(missing)}.")
    return Choice(everywhere, everywhere.tiles, f"{kernel.name} cannot be used on {target.name}: {'; '.join(missing)}")


def _rows(operation: str, family: str | None, shape: Shape) -> Iterator[dict[str, Any]]:
    """The rows of `tiles.json` whose every bound the shape keeps, the preferred ones first."""
    for row in rows():
        if row["operation"] == operation and family in row["families"]:
            bounds = row.get("up_to", {})
            if all(getattr(shape, name) <= bound for name, bound in bounds.items()):
                yield row
