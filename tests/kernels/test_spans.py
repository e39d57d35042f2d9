from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxembed.kernels_pallas import Spans
from jaxembed.packing.packed import Packed
from jaxembed.packing.text import Options

LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=8)


def packed(lengths: list[int], gaps: list[int], t: int, s: int) -> Packed:
    """Texts of `lengths` with `gaps` free tokens before each, in a row of t with room for s."""
    starts = np.cumsum([gap + before for gap, before in zip(gaps, [0, *lengths[:-1]], strict=True)])
    unused = s - len(lengths)
    return Packed(
        tokens=jnp.zeros(t, jnp.int32),
        starts=jnp.array([*starts, *[t] * unused], jnp.int32),
        lengths=jnp.array([*lengths, *[0] * unused], jnp.int32),
        options=Options.arrays([], s),
    )


def dense(spans: Spans) -> np.ndarray:
    place = np.arange(spans.start.shape[0])
    return (place >= np.asarray(spans.start)[:, None]) & (place < np.asarray(spans.stop)[:, None])


@settings(deadline=None, max_examples=60)
@given(LENGTHS, st.data(), st.booleans(), st.one_of(st.none(), st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_spans_are_the_mask_that_a_loop_over_texts_draws(lengths, data, causal, window):
    gaps = data.draw(st.lists(st.integers(0, 5), min_size=len(lengths), max_size=len(lengths)))
    t, s = 256, 10
    row = packed(lengths, gaps, t, s)
    spans = row.spans(causal=causal)
    if window:
        spans = spans.within(*window)
    expected = np.zeros((t, t), bool)
    positions = np.zeros(t, int)
    begin = 0
    for length, gap in zip(lengths, gaps, strict=True):
        begin += gap
        for i in range(length):
            positions[begin + i] = i
            for j in range(length):
                seen = (j <= i or not causal) and (window is None or i - window[0] <= j <= i + window[1])
                expected[begin + i, begin + j] = seen
        begin += length
    np.testing.assert_array_equal(dense(spans), expected)
    np.testing.assert_array_equal(row.positions(), positions)


def test_positions_without_padding_count_other_tokens_of_the_same_text():
    row = packed([3, 4], [1, 2], 16, 4)
    tokens = np.array([0, 5, 1, 6, 0, 0, 1, 7, 7, 1, 0, 0, 0, 0, 0, 0], np.int32)
    expected = [0, 1, 0, 2, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(replace(row, tokens=tokens).positions_without(1), expected)


@settings(deadline=None, max_examples=40)
@given(LENGTHS, st.sampled_from([(16, 16), (16, 32), (32, 16)]))
def test_tiles_cover_exactly_the_tiles_that_hold_a_seen_key(lengths, blocks):
    block_q, block_k = blocks
    spans = packed(lengths, [3] * len(lengths), 256, 8).spans(causal=False)
    first, last = (np.asarray(x) for x in spans.tiles(block_q, block_k))
    mask = dense(spans)
    for i, (low, high) in enumerate(zip(first, last, strict=True)):
        keys = np.flatnonzero(mask[i * block_q : (i + 1) * block_q].any(0))
        if keys.size:
            assert (low, high) == (keys[0] // block_k, keys[-1] // block_k + 1)
        else:
            assert low >= high
