"""Which back end serves an operation on a target, decided once from plain values, and the reason in words.

Nothing here looks at a device: the same function answers for hardware that is absent, which is how programs are compiled
ahead of time for it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """The hardware that programs are compiled for: `kind` is cpu, gpu or tpu, `name` what the maker calls it."""

    kind: str
    name: str


@dataclass(frozen=True)
class Choice:
    """A back end by name, its tile of queries, and why it was taken, as a sentence for a person to read."""

    backend: str
    block: int
    reason: str


# Query tiles of the XLA path. 128 fills a TPU's lanes; on CPU see benchmarks/results for what was measured.
BLOCKS = {"cpu": 128, "gpu": 128, "tpu": 128}


def choose(operation: str, target: Target, *, force: str | None = None) -> Choice:
    """Returns the back end for `operation` on `target`; `force` names one that must be used.

    Raises `ValueError` for an operation or a forced back end that does not exist.
    """
    if operation != "attention":
        raise ValueError(f"there is no operation {operation!r}; the operations are: attention.")
    if force is not None:
        if force not in ("banded", "reference"):
            raise ValueError(f"attention has no back end {force!r}; it has banded and reference.")
        return Choice(force, BLOCKS[target.kind], f"asked for by the caller on {target.name}")
    return Choice("banded", BLOCKS[target.kind], f"plain XLA over cells, the path that runs everywhere ({target.name})")
