"""One behaviour suite for every back end of attention; the truth is numpy in float64, written as a loop."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxembed.kernels_pallas import Alibi, Choice, RelativeBias, Spans, Target, attention, choose

T = 1024
CELLS = [64, 256, 512, 1024]
BACKENDS = ["reference", "banded"]


def texts(cell: int, rng: np.random.RandomState) -> list[tuple[int, int]]:
    """(start, length) of random texts, none of which crosses a multiple of `cell`, with padding between some."""
    found, place = [], 0
    while place < T:
        length = int(rng.randint(1, cell + 1))
        if place // cell != (place + length - 1) // cell:
            place = (place // cell + 1) * cell
            continue
        found.append((place, length))
        place += length + int(rng.randint(0, 4))
    return found


def spans_of(found: list[tuple[int, int]], window: tuple[int, int] | None, causal: bool) -> Spans:
    start, stop = np.zeros(T, np.int32), np.zeros(T, np.int32)
    for begin, length in found:
        start[begin : begin + length], stop[begin : begin + length] = begin, begin + length
    spans = Spans(jnp.asarray(start), jnp.asarray(stop))
    spans = spans.within(*window) if window else spans
    return spans.within(T, 0) if causal else spans


def truth(q, k, v, spans, scale, softcap, bias=None):
    out = np.zeros(q.shape)
    share = q.shape[1] // k.shape[1]
    for i, (start, stop) in enumerate(zip(np.asarray(spans.start), np.asarray(spans.stop), strict=True)):
        if start < stop:
            for head in range(q.shape[1]):
                scores = k[start:stop, head // share].astype(np.float64) @ q[i, head] * scale
                scores = softcap * np.tanh(scores / softcap) if softcap else scores
                scores += bias(head, np.arange(start, stop) - i) if bias else 0
                weights = np.exp(scores - scores.max())
                out[i, head] = weights @ v[start:stop, head // share].astype(np.float64) / weights.sum()
    return out


def draw(rng, heads=4, key_heads=2, width=32):
    return (
        rng.randn(T, heads, width).astype(np.float32),
        rng.randn(T, key_heads, width).astype(np.float32),
        rng.randn(T, key_heads, width).astype(np.float32),
    )


def run(q, k, v, spans, **options):
    return attention(*map(jnp.asarray, (q, k, v)), spans, **options)


def choice(backend: str) -> Choice:
    return choose("attention", Target("cpu", "test"), force=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("causal", "window", "softcap", "key_heads"),
    [(False, None, None, 4), (True, None, None, 2), (False, (16, 16), None, 1), (True, (40, 0), 20.0, 2)],
)
def test_attention_is_softmax_over_each_span(backend, cell, causal, window, softcap, key_heads):
    rng = np.random.RandomState(cell + key_heads)
    q, k, v = draw(rng, key_heads=key_heads)
    spans = spans_of(texts(cell, rng), window, causal)
    got = run(q, k, v, spans, scale=32**-0.5, softcap=softcap, longest=cell, choice=choice(backend))
    # float32 sums of up to 1,024 products of order one: 2e-6 relative to values of order one.
    np.testing.assert_allclose(got, truth(q, k, v, spans, 32**-0.5, softcap), atol=5e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", [64, 512])
@pytest.mark.parametrize("kind", ["alibi", "relative", "relative beyond the cell"])
@pytest.mark.parametrize(("causal", "softcap", "key_heads"), [(False, None, 2), (True, 20.0, 4)])
def test_a_bias_by_distance_is_added_to_the_scaled_and_capped_score(backend, cell, kind, causal, softcap, key_heads):
    rng = np.random.RandomState(cell)
    q, k, v = draw(rng, key_heads=key_heads)
    spans = spans_of(texts(cell, rng), None, causal)
    if kind == "alibi":
        slopes = 2.0 ** -np.arange(1, 5)
        bias, rule = Alibi(jnp.asarray(slopes, jnp.float32)), lambda head, distance: -slopes[head] * np.abs(distance)
    else:
        reach = 37 if kind == "relative" else 2 * cell
        table = rng.randn(4, 2 * reach + 1).astype(np.float32)
        bias = RelativeBias(jnp.asarray(table))
        rule = lambda head, distance: table[head, np.clip(distance, -reach, reach) + reach]  # noqa: E731
    options = {"scale": 32**-0.5, "softcap": softcap}
    got = run(q, k, v, spans, longest=cell, choice=choice(backend), bias=bias, **options)
    np.testing.assert_allclose(got, truth(q, k, v, spans, bias=rule, **options), atol=5e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_text_never_sees_its_neighbour_not_by_one_bit(backend, cell):
    rng = np.random.RandomState(7)
    found = texts(cell, rng)
    q, k, v = draw(rng)
    spans = spans_of(found, None, False)
    before = np.asarray(run(q, k, v, spans, scale=1.0, longest=cell, choice=choice(backend)))
    begin, length = found[len(found) // 2]
    for array in (q, k, v):
        array[begin : begin + length] = 30 * rng.randn(length, *array.shape[1:])
    after = np.asarray(run(q, k, v, spans, scale=1.0, longest=cell, choice=choice(backend)))
    inside = np.zeros(T, bool)
    inside[begin : begin + length] = True
    assert (before[inside] != after[inside]).any()
    np.testing.assert_array_equal(before[~inside], after[~inside])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", CELLS)
def test_padding_gives_zeros_even_in_a_row_of_nothing_else(backend, cell):
    q, k, v = draw(np.random.RandomState(1))
    empty = Spans(jnp.zeros(T, jnp.int32), jnp.zeros(T, jnp.int32))
    got = np.asarray(run(q, k, v, empty, scale=1.0, longest=cell, choice=choice(backend)))
    np.testing.assert_array_equal(got, np.zeros_like(got))


@pytest.mark.parametrize("backend", BACKENDS)
def test_large_scores_do_not_overflow(backend):
    q, k, v = draw(np.random.RandomState(2))
    spans = spans_of([(0, T)], None, False)
    got = np.asarray(run(100 * q, 100 * k, v, spans, scale=1.0, longest=T, choice=choice(backend)))
    assert np.isfinite(got).all()


@pytest.mark.parametrize("cell", CELLS)
def test_bfloat16_stays_within_its_rounding(cell):
    rng = np.random.RandomState(3)
    q, k, v = (jnp.asarray(x, jnp.bfloat16) for x in draw(rng))
    spans = spans_of(texts(cell, rng), None, True)
    got = run(q, k, v, spans, scale=32**-0.5, longest=cell, choice=choice("banded"))
    expected = truth(*(np.asarray(x, np.float32) for x in (q, k, v)), spans, 32**-0.5, None)
    assert got.dtype == jnp.bfloat16
    error = np.linalg.norm(np.asarray(got, np.float32) - expected) / np.linalg.norm(expected)
    assert error < 1e-2


def test_choose_gives_its_reason_and_refuses_what_does_not_exist():
    taken = choose("attention", Target("gpu", "NVIDIA H200"))
    assert taken.backend == "banded"
    assert "NVIDIA H200" in taken.reason
    with pytest.raises(ValueError, match="no back end 'flash'"):
        choose("attention", Target("cpu", "cpu"), force="flash")
    with pytest.raises(ValueError, match="no operation 'pool'"):
        choose("pool", Target("cpu", "cpu"))
