"""Late interaction for TPUs: the kernel of lexical weights, with the tokens of all queries for words."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.backend import Backend, Tiles, misses
from jaxembed.kernels_pallas.lexical.mosaic_tpu import mosaic_tpu as lexical
from jaxembed.kernels_pallas.shapes import MaxsimShape


def mosaic_tpu(
    queries: Float[Array, "q i d"],
    documents: Float[Array, "t d"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    tiles: Tiles,
) -> Float[Array, "q s"]:
    """Computes `maxsim`; the second tile divides t."""
    q, i, d = queries.shape
    best = lexical(documents, queries.reshape(q * i, d), jnp.zeros(q * i), starts, lengths, tiles=(tiles[1], 512))
    return best.reshape(-1, q, i).sum(2).T


def unmet(shape: MaxsimShape, tiles: Tiles) -> list[str]:
    """What is missing before the kernel can serve `shape` with `tiles` of query tokens and document tokens."""
    _, tokens = tiles
    return misses(
        (shape.t % tokens == 0, f"a row of {shape.t} tokens is not a whole number of tiles of {tokens}"),
        (shape.width % 128 == 0, f"width {shape.width} is not a multiple of 128"),
        (shape.texts <= 4096, f"the maxima of {shape.texts} documents do not fit into vector memory"),
        (shape.dtype in ("bfloat16", "float32"), f"{shape.dtype} is neither bfloat16 nor float32"),
    )


MOSAIC_TPU = Backend("mosaic_tpu", "tpu", mosaic_tpu, unmet)
