"""From the hidden states of a packed row to one vector for each of its texts, in one pass and in float32."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxembed.kernels_pallas.backend import Backend, Kernel, Operation
from jaxembed.kernels_pallas.choice import Choice
from jaxembed.kernels_pallas.finite import any_between, set_aside
from jaxembed.kernels_pallas.pool.parts import Dense, finish, unit
from jaxembed.kernels_pallas.pool.reference import REFERENCE
from jaxembed.kernels_pallas.pool.xla import XLA
from jaxembed.kernels_pallas.shapes import PoolShape

__all__ = ["POOL", "Dense", "finish", "pool", "pool_shape", "unit"]


def pool(
    hidden: Float[Array, "t d"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    skip: Int[Array, " s"],
    dims: Int[Array, " s"] | None,
    normalize: Bool[Array, " s"] | None,
    dense: Dense | None = None,
    *,
    modes: tuple[str, ...],
    choice: Choice,
) -> Float[Array, "s e"]:
    """Returns one vector for each text, float32: the results of `modes` side by side, through `dense`, then as each text asked.

    Definitions follow sentence-transformers 6.2, `sentence_transformer/modules/pooling.py`.

    Args:
        hidden: the states of a row of t tokens.
        starts: where each text begins, in tokens of the row and in its order; unused places, all at the end, have start t.
        lengths: each text's tokens; 0 for unused places.
        skip: leading tokens of each text that do not count. Where that leaves none, cls reads the first token and all other
            modes give zeros.
        dims: what lies behind the first dims[i] outputs of text i becomes 0.
        normalize: whether text i then gets unit length. None for both leaves the vectors as they are.
        dense: a head behind the pooling; e is its outputs, or d for each mode where there is none.
        modes: cls, lasttoken, mean, max, mean_sqrt_len_tokens (sum / √n), weightedmean (weights 1, 2, 3, ... from the text's
            beginning).
        choice: the back end that `choose` took for these shapes.

    Returns:
        A vector for each place. Places without a text give finite values that nobody reads. A text of which one token that is
        read is not finite gets NaN, and no other text does.
    """
    states, broken = set_aside(hidden)
    vectors = choice.backend.run(states, starts, lengths, skip, dims, normalize, dense, modes=modes, tiles=choice.tiles)
    reads = [any_between(broken, *_read(mode, starts, lengths, skip)) for mode in modes]
    return jnp.where(jnp.stack(reads).any(0)[:, None], jnp.nan, vectors)


def _read(
    mode: str, starts: Int[Array, " s"], lengths: Int[Array, " s"], skip: Int[Array, " s"]
) -> tuple[Int[Array, " s"], Int[Array, " s"]]:
    """Returns the first token that a mode reads of each text, and the one behind the last."""
    first, end = starts + skip, starts + lengths
    if mode == "cls":
        first = jnp.where((lengths > 0) & (first >= end), starts, first)
        end = jnp.where(lengths > 0, first + 1, end)
    if mode == "lasttoken":
        first = jnp.maximum(first, end - 1)
    return first, end


def pool_shape(hidden: Float[Array, "t d"], starts: Int[Array, " s"], dense: Dense | None, modes: tuple[str, ...]) -> PoolShape:
    """Returns what `pool` is asked by these arguments, to choose a back end by; `longest` is the row, for want of cells."""
    (t, d), s = hidden.shape, starts.shape[0]
    outputs, activation = (None, "linear") if dense is None else (dense.w.shape[1], dense.activation)
    return PoolShape(t, t, s, d, modes, hidden.dtype.name, outputs, activation)


def _mosaic_gpu() -> Backend[PoolShape]:
    from jaxembed.kernels_pallas.pool.mosaic_gpu import MOSAIC_GPU

    return MOSAIC_GPU


def _mosaic_tpu() -> Backend[PoolShape]:
    from jaxembed.kernels_pallas.pool.mosaic_tpu import MOSAIC_TPU

    return MOSAIC_TPU


POOL = Operation(
    "pool",
    PoolShape,
    reference=REFERENCE,
    everywhere=XLA,
    kernels=(Kernel("mosaic_gpu", "gpu", _mosaic_gpu), Kernel("mosaic_tpu", "tpu", _mosaic_tpu)),
)
