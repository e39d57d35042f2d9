"""What `jaxembed doctor` computes twice, by the chosen back end and by the reference, where texts end at the worst places."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxembed.kernels_pallas import (
    OPERATIONS,
    AttentionShape,
    Choice,
    LexicalShape,
    MaxsimShape,
    PoolShape,
    Shape,
    Spans,
    Target,
    attention,
    lexical,
    maxsim,
    pool,
)

# Texts that end one token before, at, and one token behind every tile of 64, 128 and 256, in cells of 256.
ROW = 1024
LENGTHS = [127, 1, 128, 129, 127, 255, 1, 63, 65, 64]


@dataclass(frozen=True)
class Check:
    """One operation on one shape. compute: gives its result for any choice."""

    shape: Shape
    compute: Callable[[Choice], jax.Array]

    def run(self, choice: Choice) -> float:
        """Returns the largest difference from the reference, in units of the largest value; NaN if there is one."""
        reference = OPERATIONS[self.shape.operation].reference
        truth = Choice(reference, reference.tiles, "to compare with")
        got, expected = (np.asarray(self.compute(one), np.float32) for one in (choice, truth))
        finite = np.isfinite(expected)
        if (np.isfinite(got) != finite).any():
            return float("nan")
        return float(np.abs(got[finite] - expected[finite]).max() / np.abs(expected[finite]).max())

    def limit(self, target: Target) -> float:
        """float32 on a CPU; accelerators may compute in bfloat16."""
        return 1e-5 if target.platform == "cpu" else 2e-2


def _dtype() -> Any:
    return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16


def _drawn(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.RandomState(seed).randn(*shape), _dtype())


def _texts() -> tuple[np.ndarray, np.ndarray]:
    """Where the texts lie: behind each other, each moved to the next cell where it would cross into it."""
    starts, place = [], 0
    for length in LENGTHS:
        if place // 256 != (place + length - 1) // 256:
            place = (place // 256 + 1) * 256
        starts.append(place)
        place += length
    assert place <= ROW
    unused = 128 - len(LENGTHS)
    return np.array(starts + [ROW] * unused, np.int32), np.array(LENGTHS + [0] * unused, np.int32)


def _attention(choice: Choice) -> jax.Array:
    q, k, v = (_drawn(seed, ROW, heads, 64) for seed, heads in enumerate((4, 2, 2)))
    start, stop = np.zeros(ROW, np.int32), np.zeros(ROW, np.int32)
    for begin, length in zip(*_texts(), strict=True):
        start[begin : begin + length], stop[begin : begin + length] = begin, begin + length
    spans = Spans(jnp.asarray(start), jnp.asarray(stop))
    plain = attention(q, k, v, spans, scale=0.125, longest=256, choice=choice)
    capped = attention(q, k, v, spans.within(ROW, 0), scale=0.125, longest=256, choice=choice, softcap=20.0)
    return jnp.stack([plain, capped])


def _pool(choice: Choice) -> jax.Array:
    starts, lengths = map(jnp.asarray, _texts())
    skip = jnp.asarray(np.arange(len(starts)) % 3, jnp.int32)
    dims = jnp.asarray(256 - np.arange(len(starts)) % 2 * 100, jnp.int32)
    normalize = jnp.asarray(np.arange(len(starts)) % 4 < 2)
    vectors = pool(_drawn(3, ROW, 256), starts, lengths, skip, dims, normalize, modes=("mean",), choice=choice)
    return vectors[: len(LENGTHS)]


def _lexical(choice: Choice) -> jax.Array:
    starts, lengths = map(jnp.asarray, _texts())
    return lexical(_drawn(4, ROW, 256), _drawn(5, 1000, 256), jnp.zeros(1000), starts, lengths, choice=choice)


def _maxsim(choice: Choice) -> jax.Array:
    starts, lengths = map(jnp.asarray, _texts())
    return maxsim(_drawn(6, 2, 32, 128), _drawn(7, ROW, 128), starts, lengths, choice=choice)


def checks() -> dict[str, Check]:
    """Returns a check for every operation."""
    dtype = jnp.dtype(_dtype()).name
    return {
        "attention": Check(AttentionShape(ROW, 256, 4, 2, 64, dtype), _attention),
        "pool": Check(PoolShape(ROW, 256, 128, 256, ("mean",), dtype), _pool),
        "lexical": Check(LexicalShape(ROW, 128, 256, 1000, dtype), _lexical),
        "maxsim": Check(MaxsimShape(2, 32, ROW, 128, 128, dtype), _maxsim),
    }
