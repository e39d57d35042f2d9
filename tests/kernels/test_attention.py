"""One behavior suite for every back end of attention; the truth is numpy in float64, written as a loop."""

import jax.numpy as jnp
import numpy as np
import pytest
from interpreters import interpreted

from jaxembed.kernels_pallas import Alibi, Choice, RelativeBias, Spans
from jaxembed.kernels_pallas.attention import ATTENTION, attention

# Tiles smaller than any cell but the first, so that every kind of boundary comes up; float32 where a back end takes it.
TILES = {"reference": (1, 1), "banded": (64, 128), "mosaic_tpu": (256, 128), "mosaic_gpu": (128, 64)}
BACKENDS = list(TILES)
# Interpreters are slow, so kernels get half a row and two heads.
ROWS = {"reference": 512, "banded": 512, "mosaic_tpu": 256, "mosaic_gpu": 256}
CASES = [(backend, cell) for backend in BACKENDS for cell in (64, 256, 512) if cell <= ROWS[backend]]


def texts(t: int, cell: int, rng: np.random.RandomState) -> list[tuple[int, int]]:
    """(start, length) of random texts, none of which crosses a multiple of `cell`, with padding between some."""
    found, place = [], 0
    while place < t:
        length = int(rng.randint(1, cell + 1))
        if place // cell != (place + length - 1) // cell:
            place = (place // cell + 1) * cell
            continue
        found.append((place, length))
        place += length + int(rng.randint(0, 4))
    return found


def spans_of(t: int, found: list[tuple[int, int]], window: tuple[int, int] | None, causal: bool) -> Spans:
    start, stop = np.zeros(t, np.int32), np.zeros(t, np.int32)
    for begin, length in found:
        start[begin : begin + length], stop[begin : begin + length] = begin, begin + length
    spans = Spans(jnp.asarray(start), jnp.asarray(stop))
    spans = spans.within(*window) if window else spans
    return spans.within(t, 0) if causal else spans


def truth(q, k, v, spans, scale, softcap, bias=None):
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    out = np.zeros(q.shape)
    share = q.shape[1] // k.shape[1]
    for i, (start, stop) in enumerate(zip(np.asarray(spans.start), np.asarray(spans.stop), strict=True)):
        if start < stop:
            for head in range(q.shape[1]):
                scores = k[start:stop, head // share] @ q[i, head] * scale
                scores = softcap * np.tanh(scores / softcap) if softcap else scores
                scores += bias(head, np.arange(start, stop) - i) if bias else 0
                weights = np.exp(scores - scores.max())
                out[i, head] = weights @ v[start:stop, head // share] / weights.sum()
    return out


def draw(rng, backend, share=2, width=32):
    """q, k and v, where `share` query heads read one key head."""
    dtype = jnp.bfloat16 if backend == "mosaic_gpu" else jnp.float32
    heads = 4 if ROWS[backend] == 512 else 2
    key_heads = max(1, heads // share)
    return [jnp.asarray(rng.randn(ROWS[backend], n, width), dtype) for n in (heads, key_heads, key_heads)]


def run(backend, q, k, v, spans, tiles=None, **options):
    choice = Choice(ATTENTION.backends()[backend], tiles or TILES[backend], "under test")
    with interpreted(backend):
        return np.asarray(attention(q, k, v, spans, choice=choice, **options).astype(jnp.float32))


def agree(got, expected, backend):
    if backend == "mosaic_gpu":
        # Weights and results are rounded to bfloat16, 2^-9 each.
        assert np.linalg.norm(got - expected) < 5e-3 * np.linalg.norm(expected)
    else:
        # float32 sums of up to 512 products of order one: 2e-6 relative to values of order one.
        np.testing.assert_allclose(got, expected, atol=5e-6)


@pytest.mark.parametrize(("backend", "cell"), CASES)
@pytest.mark.parametrize(
    ("causal", "window", "softcap", "share"),
    [(False, None, None, 1), (True, None, None, 2), (False, (16, 16), None, 4), (True, (40, 0), 20.0, 2)],
)
def test_attention_is_softmax_over_each_span(backend, cell, causal, window, softcap, share):
    rng = np.random.RandomState(cell + share)
    q, k, v = draw(rng, backend, share)
    spans = spans_of(len(q), texts(len(q), cell, rng), window, causal)
    got = run(backend, q, k, v, spans, scale=32**-0.5, softcap=softcap, longest=cell)
    agree(got, truth(q, k, v, spans, 32**-0.5, softcap), backend)


@pytest.mark.parametrize(("backend", "tiles"), [("mosaic_tpu", (128, 256)), ("mosaic_gpu", (128, 128))])
@pytest.mark.parametrize("width", [64, 128, 256])
def test_other_tiles_and_wider_heads_change_nothing(backend, tiles, width):
    rng = np.random.RandomState(width)
    q, k, v = draw(rng, backend, width=width)
    spans = spans_of(len(q), texts(len(q), 256, rng), None, False)
    got = run(backend, q, k, v, spans, tiles, scale=width**-0.5, longest=256)
    agree(got, truth(q, k, v, spans, width**-0.5, None), backend)


@pytest.mark.parametrize(("backend", "cell"), CASES)
@pytest.mark.parametrize(
    ("kind", "causal", "softcap", "share"),
    [("alibi", False, None, 1), ("near", True, 20.0, 2), ("far", False, None, 2)],
)
def test_a_bias_by_distance_is_added_to_the_scaled_and_capped_score(backend, cell, kind, causal, softcap, share):
    rng = np.random.RandomState(cell)
    q, k, v = draw(rng, backend, share)
    spans = spans_of(len(q), texts(len(q), cell, rng), None, causal)
    if kind == "alibi":
        slopes = 2.0 ** -np.arange(1, 5)
        bias, rule = Alibi(jnp.asarray(slopes, jnp.float32)), lambda head, distance: -slopes[head] * np.abs(distance)
    else:
        reach = 37 if kind == "near" else 2 * cell
        table = rng.randn(4, 2 * reach + 1).astype(np.float32)
        bias = RelativeBias(jnp.asarray(table))
        rule = lambda head, distance: table[head, np.clip(distance, -reach, reach) + reach]  # noqa: E731
    options = {"scale": 32**-0.5, "softcap": softcap}
    got = run(backend, q, k, v, spans, longest=cell, bias=bias, **options)
    agree(got, truth(q, k, v, spans, bias=rule, **options), backend)


@pytest.mark.parametrize(("backend", "cell"), CASES)
def test_a_text_never_sees_its_neighbor_not_by_one_bit(backend, cell):
    rng = np.random.RandomState(7)
    arrays = draw(rng, backend)
    found = texts(len(arrays[0]), cell, rng)
    spans = spans_of(len(arrays[0]), found, None, False)
    before = run(backend, *arrays, spans, scale=1.0, longest=cell)
    begin, length = found[len(found) // 2]
    arrays = [x.at[begin : begin + length].set(30 * jnp.asarray(rng.randn(length, *x.shape[1:]), x.dtype)) for x in arrays]
    after = run(backend, *arrays, spans, scale=1.0, longest=cell)
    inside = np.zeros(len(before), bool)
    inside[begin : begin + length] = True
    assert (before[inside] != after[inside]).any()
    np.testing.assert_array_equal(before[~inside], after[~inside])


BROKEN = {"NaN": np.nan, "Inf": np.inf, "3e38": 3e38}


@pytest.mark.parametrize(("backend", "cell"), CASES)
@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, in the interpreter: 3e38 times 3e38
def test_neither_a_broken_text_nor_broken_padding_changes_a_neighbor_by_one_bit(backend, cell, kind):
    rng = np.random.RandomState(8)
    arrays = draw(rng, backend)
    found = texts(len(arrays[0]), cell, rng)
    spans = spans_of(len(arrays[0]), found, None, False)
    before = run(backend, *arrays, spans, scale=1.0, longest=cell)
    begin, length = found[len(found) // 2]
    padding = np.asarray(spans.stop) == 0
    inside = np.zeros(len(before), bool)
    inside[begin : begin + length] = True
    assert padding.any()
    # One token of the text is enough, and only numbers of the first head; padding is broken throughout.
    broken = [x.at[begin, 0, :3].set(BROKEN[kind]).at[padding].set(BROKEN[kind]) for x in arrays]
    after = run(backend, *broken, spans, scale=1.0, longest=cell)
    np.testing.assert_array_equal(before[~inside], after[~inside])
    assert (after[padding] == 0).all()
    if kind != "3e38":  # a number like any other, which may cancel
        assert np.isnan(after[inside][:, 0]).all()


@pytest.mark.parametrize(("backend", "cell"), CASES)
def test_a_value_that_is_not_finite_is_seen_by_those_who_see_its_key_alone(backend, cell):
    rng = np.random.RandomState(9)
    q, k, v = draw(rng, backend)
    spans = spans_of(len(q), [(0, 40)], None, True)
    options = {"scale": 32**-0.5, "longest": cell}
    before = run(backend, q, k, v, spans, **options)
    after = run(backend, q, k, v.at[7, 0, 5].set(jnp.inf), spans, **options)
    share = q.shape[1] // k.shape[1]
    np.testing.assert_array_equal(before[:7], after[:7])
    np.testing.assert_array_equal(before[:, share:], after[:, share:])
    assert np.isnan(after[7:40, :share]).all()


@pytest.mark.parametrize(("backend", "cell"), CASES)
def test_padding_gives_zeros_even_in_a_row_of_nothing_else(backend, cell):
    q, k, v = draw(np.random.RandomState(1), backend)
    empty = Spans(jnp.zeros(len(q), jnp.int32), jnp.zeros(len(q), jnp.int32))
    got = run(backend, q, k, v, empty, scale=1.0, longest=cell)
    np.testing.assert_array_equal(got, np.zeros_like(got))


@pytest.mark.parametrize("backend", BACKENDS)
def test_large_scores_do_not_overflow(backend):
    q, k, v = draw(np.random.RandomState(2), backend)
    spans = spans_of(len(q), [(0, len(q))], None, False)
    got = run(backend, 100 * q, 100 * k, v, spans, scale=1.0, longest=len(q))
    assert np.isfinite(got).all()


@pytest.mark.parametrize(("backend", "cell"), [case for case in CASES if case[0] in ("banded", "mosaic_tpu")])
def test_bfloat16_stays_within_its_rounding(backend, cell):
    rng = np.random.RandomState(3)
    q, k, v = (x.astype(jnp.bfloat16) for x in draw(rng, backend))
    spans = spans_of(len(q), texts(len(q), cell, rng), None, True)
    got = run(backend, q, k, v, spans, scale=32**-0.5, longest=cell)
    expected = truth(*(np.asarray(x, np.float32) for x in (q, k, v)), spans, 32**-0.5, None)
    assert np.linalg.norm(got - expected) < 5e-3 * np.linalg.norm(expected)
