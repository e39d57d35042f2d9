"""Which back end serves an operation on a target, decided once from plain values, and the reason in words.

Nothing here looks at a device: the same function answers for hardware that is absent, which is how programs are compiled
ahead of time for it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jaxembed.kernels_pallas.shapes import SHAPES, Shape


@dataclass(frozen=True)
class Target:
    """The hardware that programs are compiled for: `kind` is cpu, gpu or tpu, `name` what the maker calls it."""

    kind: str
    name: str

    @property
    def family(self) -> str | None:
        """The family whose kernels fit this hardware, None where none does. Names are those that jax gives devices."""
        words = {
            "v5e": ("v5 lite", "v5e"),
            "v6e": ("v6 lite", "v6e"),
            "v7x": ("tpu7x", "v7x"),
            # The instructions of compute capability 9.0a, which neither older nor newer chips have.
            "hopper": ("h100", "h200", "h800", "h20", "gh200"),
        }
        if self.kind not in ("gpu", "tpu"):
            return None
        return next((family for family, names in words.items() if any(name in self.name.lower() for name in names)), None)


@dataclass(frozen=True)
class Choice:
    """A back end by name, its tiles, and why it was taken, as a sentence for a person to read.

    tiles: queries and keys for attention, texts and tokens for pool, tokens and words for lexical, query and document tokens
    for maxsim.
    """

    backend: str
    tiles: tuple[int, int]
    reason: str

    def __str__(self) -> str:
        return f"{self.backend} {self.tiles[0]}x{self.tiles[1]} ({self.reason})"


@dataclass(frozen=True)
class Survey(Choice):
    """Stands where a choice is expected and notes what a model asks of an operation, which then computes nothing."""

    backend: str = "survey"
    tiles: tuple[int, int] = (1, 1)
    reason: str = "nothing is computed"
    seen: list[Shape] = field(default_factory=list)


@dataclass(frozen=True)
class Choices:
    """The back ends of one program."""

    attention: Choice
    pool: Choice


# The path that runs everywhere with its tiles, and the kernels by kind of target.
EVERYWHERE = {
    "attention": ("banded", (128, 256)),
    "pool": ("xla", (1, 1)),
    "lexical": ("xla", (1, 2048)),
    "maxsim": ("xla", (1, 1)),
}
KERNELS = {
    "attention": {"tpu": "mosaic_tpu", "gpu": "mosaic_gpu"},
    "pool": {"tpu": "mosaic_tpu", "gpu": "mosaic_gpu"},
    "lexical": {"tpu": "mosaic_tpu", "gpu": "mosaic_gpu"},
    "maxsim": {"tpu": "mosaic_tpu", "gpu": "mosaic_gpu"},
}


@cache
def rows() -> list[dict[str, Any]]:
    """Returns the tuned tiles, each row with its source and date; the first that fits and serves is taken."""
    found: list[dict[str, Any]] = json.loads((Path(__file__).parent / "tiles.json").read_text())
    return found


def choose(operation: str, target: Target, shape: Shape, *, force: str | None = None) -> Choice:
    """Returns the back end for `operation` on `target`; `force` names one that must be used.

    In order: what is forced; the target's kernel, where `tiles.json` has a row for the target and the kernel's requirements are
    met; the path that runs everywhere. Raises `ValueError` for an operation or a forced back end that does not exist, and for
    a forced one that cannot serve, with what it misses.
    """
    if SHAPES.get(operation) is not type(shape):
        raise ValueError(
            f"there is no operation {operation!r} for a {type(shape).__name__}; the operations are: {', '.join(SHAPES)}."
        )
    everywhere, tiles = EVERYWHERE[operation]
    kernel = KERNELS[operation].get(target.kind)
    if force in (everywhere, "reference"):
        return Choice(force, tiles, f"asked for by the caller, on {target.name}")
    if force is not None and force not in KERNELS[operation].values():
        known = ", ".join([*sorted(set(KERNELS[operation].values())), everywhere, "reference"])
        raise ValueError(f"{operation} has no back end {force!r}; it has {known}.")
    if force is not None and force != kernel:
        raise ValueError(f"{force} cannot be used for {operation} on {target.name}: it is made for another kind of hardware.")
    if kernel is None:
        return Choice(everywhere, tiles, f"plain XLA, the path that runs everywhere, on {target.name}")
    missing = [f"no tiles are known for {target.name}"]
    for row in _rows(operation, target.family, shape):
        missing = shape.unmet(kernel, tuple(row["tiles"]))
        if not missing:
            why = "asked for by the caller" if force else f"tiles of {row['date']}: {row['source']}"
            return Choice(kernel, tuple(row["tiles"]), f"{why}, on {target.name}")
    if force is not None:
        raise ValueError(f"{force} cannot be used for {operation} on {target.name}: {'; '.join(missing)}.")
    return Choice(everywhere, tiles, f"{kernel} cannot be used on {target.name}: {'; '.join(missing)}")


def _rows(operation: str, family: str | None, shape: Shape) -> Iterator[dict[str, Any]]:
    """The rows of `tiles.json` whose every bound the shape keeps, the preferred ones first."""
    for row in rows():
        if row["operation"] == operation and family in row["families"]:
            bounds = row.get("up_to", {})
            if all(getattr(shape, name) <= bound for name, bound in bounds.items()):
                yield row
