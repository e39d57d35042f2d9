"""One behavior suite for every back end of pooling; the truth is numpy in float64, one text at a time."""

import jax.numpy as jnp
import numpy as np
import pytest
from interpreters import interpreted

from jaxembed.kernels_pallas import Choice
from jaxembed.kernels_pallas.pool import POOL, pool
from jaxembed.kernels_pallas.pool.parts import Dense

T, WIDTH, PLACES = 256, 128, 32
TILES = {"reference": (1, 1), "xla": (1, 1), "mosaic_tpu": (16, 128), "mosaic_gpu": (1, 16)}
MODES = ["cls", "lasttoken", "mean", "max", "mean_sqrt_len_tokens", "weightedmean"]
# One token, none that count, ends before, at and behind a tile of 128; enough texts for two tiles of 16.
LENGTHS = [1, 5, 60, 61, 1, 1, 63, 2, 1, 1, 1, 1, 2, 1, 1, 1, 20, 3]
SKIP = [0, 5, 3, 0, 1, 0, 60, 2, 0, 0, 0, 0, 1, 0, 0, 0, 7, 1]


def row(rng):
    """Arguments of `pool` before the dense head, as numpy arrays."""
    starts, lengths, skip = np.full(PLACES, T, np.int32), np.zeros(PLACES, np.int32), np.zeros(PLACES, np.int32)
    place = 2
    for i, (length, prompt) in enumerate(zip(LENGTHS, SKIP, strict=True)):
        starts[i], lengths[i], skip[i] = place, length, prompt
        place += length + i % 2
    assert place <= T
    dims = np.where(rng.rand(PLACES) < 0.5, WIDTH, rng.randint(1, WIDTH + 1, PLACES)).astype(np.int32)
    return rng.randn(T, WIDTH).astype(np.float32), starts, lengths, skip, dims, rng.rand(PLACES) < 0.5


def truth(hidden, starts, lengths, skip, dims, normalize, modes, dense=None):
    out = []
    for start, length, prompt, dim, unit in zip(starts, lengths, skip, dims, normalize, strict=True):
        rows = hidden[start + prompt : start + length].astype(np.float64)
        n, vectors = len(rows), []
        for mode in modes:
            weights = np.arange(prompt + 1, prompt + n + 1)[:, None]
            vectors.append(
                {
                    "cls": lambda rows=rows, start=start: rows[0] if len(rows) else hidden[min(start, T - 1)],
                    "lasttoken": lambda rows=rows: rows[-1] if len(rows) else 0 * hidden[0],
                    "mean": lambda rows=rows, n=n: rows.sum(0) / max(n, 1),
                    "max": lambda rows=rows: rows.max(0) if len(rows) else 0 * hidden[0],
                    "mean_sqrt_len_tokens": lambda rows=rows, n=n: rows.sum(0) / max(n, 1) ** 0.5,
                    "weightedmean": lambda rows=rows, w=weights: (w * rows).sum(0) / max(w.sum(), 1),
                }[mode]()
            )
        vector = np.concatenate(vectors)
        if dense is not None:
            vector = np.tanh(vector @ dense[0] + dense[1])
        vector[dim:] = 0
        out.append(vector / max(np.linalg.norm(vector), 1e-12) if unit else vector)
    return np.array(out)[: len(LENGTHS)]


def run(backend, arrays, modes, dense=None):
    vectors = unchecked(backend, arrays, modes, dense)
    assert np.isfinite(vectors).all()
    return vectors[: len(LENGTHS)]


def unchecked(backend, arrays, modes, dense=None):
    dense = None if dense is None else Dense(*map(jnp.asarray, dense), "tanh")
    choice = Choice(POOL.backends()[backend], TILES[backend], "under test")
    with interpreted(backend):
        return np.asarray(pool(*map(jnp.asarray, arrays), dense, modes=tuple(modes), choice=choice))


@pytest.mark.parametrize("backend", TILES)
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_what_a_loop_over_texts_computes(backend, mode):
    arrays = row(np.random.RandomState(0))
    # float32 sums of up to 61 values of order one.
    np.testing.assert_allclose(run(backend, arrays, [mode]), truth(*arrays, [mode]), atol=4e-6)


@pytest.mark.parametrize("backend", TILES)
@pytest.mark.parametrize("mode", ["mean", "lasttoken"])
def test_a_dense_head_stands_between_pooling_and_what_a_text_asked(backend, mode):
    rng = np.random.RandomState(1)
    arrays = row(rng)
    dense = (rng.randn(WIDTH, WIDTH).astype(np.float32) / WIDTH**0.5, rng.randn(WIDTH).astype(np.float32))
    np.testing.assert_allclose(run(backend, arrays, [mode], dense), truth(*arrays, [mode], dense), atol=4e-6)


@pytest.mark.parametrize("backend", ["reference", "xla"])
def test_several_modes_lie_side_by_side(backend):
    arrays = row(np.random.RandomState(2))
    arrays = (*arrays[:4], np.full(PLACES, WIDTH * len(MODES), np.int32), arrays[5])
    np.testing.assert_allclose(run(backend, arrays, MODES), truth(*arrays, MODES), atol=4e-6)


@pytest.mark.parametrize("backend", TILES)
@pytest.mark.parametrize("mode", ["mean", "max", "lasttoken"])
def test_bfloat16_states_are_summed_in_float32(backend, mode):
    hidden, *others = row(np.random.RandomState(3))
    hidden = jnp.asarray(hidden, jnp.bfloat16)
    expected = truth(np.asarray(hidden, np.float32), *others, [mode])
    np.testing.assert_allclose(run(backend, (hidden, *others), [mode]), expected, atol=4e-6)


@pytest.mark.parametrize("backend", TILES)
@pytest.mark.parametrize("mode", ["mean", "max"])
def test_a_texts_vector_does_not_depend_on_its_neighbor_by_one_bit(backend, mode):
    rng = np.random.RandomState(4)
    hidden, starts, lengths, *others = row(rng)
    before = run(backend, (hidden, starts, lengths, *others), [mode])
    changed = hidden.copy()
    begin, length = starts[3], lengths[3]
    changed[begin : begin + length] = 1e4 * rng.randn(length, WIDTH)
    after = run(backend, (changed, starts, lengths, *others), [mode])
    kept = np.arange(len(LENGTHS)) != 3
    assert (before[3] != after[3]).any()
    np.testing.assert_array_equal(before[kept], after[kept])


@pytest.mark.parametrize("backend", TILES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [np.nan, -np.inf])
def test_what_is_not_finite_comes_back_for_the_texts_that_read_it_alone(backend, mode, kind):
    hidden, starts, lengths, *others = row(np.random.RandomState(7))
    before = unchecked(backend, (hidden, starts, lengths, *others), [mode])
    broken = hidden.copy()
    inside = np.zeros(T, bool)
    for start, length in zip(starts, lengths, strict=True):
        inside[start : start + length] = True
    broken[~inside] = kind  # all padding, one number of a middle token, of a last one, and of a prompt's
    broken[starts[3] + 30, 5] = broken[starts[4], 0] = broken[starts[16], 7] = kind
    after = unchecked(backend, (broken, starts, lengths, *others), [mode])
    read = {"cls": [4], "lasttoken": []}.get(mode, [3])  # text 4 is one token of a prompt: the one that cls falls back to
    kept = np.setdiff1d(np.arange(len(LENGTHS)), read)
    np.testing.assert_array_equal(before[kept], after[kept])
    assert np.isnan(after[read]).all()


@pytest.mark.parametrize("backend", TILES)
def test_a_row_without_texts_gives_finite_vectors(backend):
    hidden, starts, lengths, *others = row(np.random.RandomState(5))
    run(backend, (hidden, np.full_like(starts, T), np.zeros_like(lengths), *others), ["mean"])


@pytest.mark.parametrize("backend", TILES)
def test_one_text_may_fill_the_row(backend):
    hidden, starts, lengths, skip, *others = row(np.random.RandomState(6))
    starts[:], lengths[:], skip[:] = T, 0, 0
    starts[0], lengths[0] = 0, T
    arrays = (hidden, starts, lengths, skip, *others)
    np.testing.assert_allclose(run(backend, arrays, ["mean"])[0], truth(*arrays, ["mean"])[0], atol=4e-6)
