"""A bias on attention scores by the distance of key and query, from a table that is learned."""

import math

import numpy as np
from jaxtyping import Array, Float

from jaxembed.kernels_pallas import RelativeBias


def distance_bias(buckets: Float[Array, "b n"], *, far: int = 128) -> RelativeBias:
    """Returns the bias of T5 (arXiv 1910.10683) and MPNet, whose table has a row for each bucket of distances.

    Half of the buckets are for keys at or before the query, half for those after it; in each half the first half are one
    distance each, the rest grow with the logarithm up to `far`, beyond which nothing changes.
    """
    half = buckets.shape[0] // 2
    exact = half // 2
    distances = np.arange(-far, far + 1)
    away = np.abs(distances)
    # In float32, as the references compute it: distances at the edge of a bucket depend on it.
    logarithm = np.log(np.maximum(away, 1).astype(np.float32) / np.float32(exact)) / np.float32(math.log(far / exact))
    growing = exact + (logarithm * np.float32(half - exact)).astype(np.int32)
    bucket = np.where(away < exact, away, np.minimum(growing, half - 1)) + np.where(distances > 0, half, 0)
    return RelativeBias(buckets[bucket].T)
