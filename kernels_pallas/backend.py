"""What a back end is: a function that computes an operation, and what it needs before it can.

Each back end's file declares it beside the function; the `__init__.py` of an operation's folder lists them in an `Operation`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Array

from jaxembed.kernels_pallas.shapes import Shape

# Queries and keys for attention, texts and tokens for pool, tokens and words for lexical, query and document tokens for maxsim.
Tiles = tuple[int, int]

# What a kernel may hold: the shared memory of a Hopper block; three quarters of the smallest vector memory, that of a TPU v7x.
SHARED_MEMORY = 232_448
VECTOR_MEMORY = 48 << 20

# What Hopper's tensor cores multiply without rounding.
HALVES = ("bfloat16", "float16")


def nothing(shape: Shape, tiles: Tiles) -> list[str]:
    """What is missing where every shape is served."""
    return []


@dataclass(frozen=True)
class Backend[S: Shape]:
    """One way to compute an operation that is asked in shapes of type S.

    Attributes:
        name: the function's and its file's; what a caller forces it by.
        platform: the kind of target that it is made for, "tpu" or "gpu"; None for one that runs everywhere.
        run: computes the operation. It takes what the public function takes, `tiles` in place of `choice`, and no default.
        unmet: gives what is missing before it can serve a shape with some tiles, in phrases that complete "it cannot be used
            because ..."; empty where it serves.
        tiles: for one that runs everywhere. Those of kernels are tuned: rows of `tiles.json`.
    """

    name: str
    platform: str | None
    run: Callable[..., Array]
    unmet: Callable[[S, Tiles], list[str]]
    tiles: Tiles = (1, 1)


@dataclass(frozen=True)
class Kernel[S: Shape]:
    """A back end for one platform, known by name until it is needed: `load` imports it.

    Pallas for a GPU takes 0.27 s to import, for a TPU 0.1 s (two CPU cores, jax 0.12), and `choose` names kernels on hardware
    that has no use for them.
    """

    name: str
    platform: str
    load: Callable[[], Backend[S]]


@dataclass(frozen=True)
class Operation[S: Shape]:
    """An operation and its back ends.

    Attributes:
        name: the public function's.
        shape: the type of what it is asked.
        reference: says what it means, whatever that costs.
        everywhere: plain XLA, the path for any device.
        kernels: at most one for each platform, sorted by name.
    """

    name: str
    shape: type[S]
    reference: Backend[S]
    everywhere: Backend[S]
    kernels: tuple[Kernel[S], ...]

    def backends(self) -> dict[str, Backend[S]]:
        """Returns all back ends by name. Imports every kernel."""
        found = [self.reference, self.everywhere, *(kernel.load() for kernel in self.kernels)]
        return {backend.name: backend for backend in found}


def misses(*needs: tuple[bool, str]) -> list[str]:
    """Returns the phrases of those needs that are not met; each is whether it is, and what to say if not."""
    return [phrase for met, phrase in needs if not met]
