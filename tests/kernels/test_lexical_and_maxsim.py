"""One behavior suite for every back end of lexical weights and late interaction; the truth is numpy in float64."""

import jax.numpy as jnp
import numpy as np
import pytest
from interpreters import interpreted

from jaxembed.kernels_pallas import OPERATIONS, Choice, lexical, maxsim

T, WIDTH, PLACES, VOCABULARY = 128, 128, 8, 150
# Ends at, before and behind a tile of 64; one token; free tokens between.
STARTS, LENGTHS = [1, 2, 64, 66, 100], [1, 62, 1, 30, 28]
LEXICAL = {"reference": (1, 1), "xla": (1, 64), "mosaic_tpu": (64, 128), "mosaic_gpu": (64, 128)}
MAXSIM = {"reference": (1, 1), "xla": (1, 1), "mosaic_tpu": (1, 64), "mosaic_gpu": (64, 64)}


def row(rng, backend):
    """Hidden states (or documents), and where the texts lie; bfloat16 for the kernel that takes nothing else."""
    starts, lengths = np.full(PLACES, T, np.int32), np.zeros(PLACES, np.int32)
    starts[: len(STARTS)], lengths[: len(LENGTHS)] = STARTS, LENGTHS
    return drawn(rng, backend, T, WIDTH), jnp.asarray(starts), jnp.asarray(lengths)


def drawn(rng, backend, *shape):
    return jnp.asarray(rng.randn(*shape), jnp.bfloat16 if backend == "mosaic_gpu" else jnp.float32)


def weights(backend, hidden, vocabulary, bias, starts, lengths):
    choice = Choice(OPERATIONS["lexical"].backends()[backend], LEXICAL[backend], "under test")
    with interpreted(backend):
        return np.asarray(lexical(hidden, vocabulary, bias, starts, lengths, choice=choice))


def scores(backend, queries, documents, starts, lengths):
    choice = Choice(OPERATIONS["maxsim"].backends()[backend], MAXSIM[backend], "under test")
    with interpreted(backend):
        return np.asarray(maxsim(queries, documents, starts, lengths, choice=choice))


def inside(x, i):
    return np.asarray(x, np.float64)[STARTS[i] : STARTS[i] + LENGTHS[i]]


@pytest.mark.parametrize("backend", LEXICAL)
def test_lexical_weights_are_each_texts_highest_logits(backend):
    rng = np.random.RandomState(0)
    hidden, *places = row(rng, backend)
    vocabulary, bias = drawn(rng, backend, VOCABULARY, WIDTH), jnp.asarray(rng.randn(VOCABULARY), jnp.float32)
    got = weights(backend, hidden, vocabulary, bias, *places)
    assert got.shape == (PLACES, VOCABULARY)
    for i in range(len(STARTS)):
        expected = (inside(hidden, i) @ np.asarray(vocabulary, np.float64).T + np.asarray(bias)).max(0)
        # float32 sums of 128 products of order one.
        np.testing.assert_allclose(got[i], expected, atol=3e-5)
    assert (got[len(STARTS) :] == -np.inf).all()


@pytest.mark.parametrize("backend", LEXICAL)
def test_lexical_weights_do_not_depend_on_a_neighbor_by_one_bit(backend):
    rng = np.random.RandomState(1)
    hidden, *places = row(rng, backend)
    vocabulary, bias = drawn(rng, backend, VOCABULARY, WIDTH), jnp.zeros(VOCABULARY)
    before = weights(backend, hidden, vocabulary, bias, *places)
    changed = hidden.at[STARTS[3] : STARTS[3] + LENGTHS[3]].set(100 * drawn(rng, backend, LENGTHS[3], WIDTH))
    after = weights(backend, changed, vocabulary, bias, *places)
    kept = np.arange(PLACES) != 3
    assert (before[3] != after[3]).any()
    np.testing.assert_array_equal(before[kept], after[kept])


@pytest.mark.parametrize("backend", MAXSIM)
@pytest.mark.parametrize("length", [20, 70])
def test_late_interaction_sums_the_best_match_of_each_query_token(backend, length):
    rng = np.random.RandomState(2)
    documents, *places = row(rng, backend)
    queries = drawn(rng, backend, 2, length, WIDTH)
    queries = queries.at[1, length // 2 :].set(0)  # a shorter query ends in zeros
    got = scores(backend, queries, documents, *places)
    for q in range(2):
        for i in range(len(STARTS)):
            expected = (np.asarray(queries[q], np.float64) @ inside(documents, i).T).max(1).sum()
            assert got[q, i] == pytest.approx(expected, rel=1e-5, abs=1e-3)
    assert (got[:, len(STARTS) :] == -np.inf).all()


@pytest.mark.parametrize("backend", MAXSIM)
def test_a_documents_score_does_not_depend_on_its_neighbor_by_one_bit(backend):
    rng = np.random.RandomState(3)
    documents, *places = row(rng, backend)
    queries = drawn(rng, backend, 1, 20, WIDTH)
    before = scores(backend, queries, documents, *places)
    changed = documents.at[STARTS[1] : STARTS[1] + LENGTHS[1]].set(100 * drawn(rng, backend, LENGTHS[1], WIDTH))
    after = scores(backend, queries, changed, *places)
    kept = np.arange(PLACES) != 1
    assert before[0, 1] != after[0, 1]
    np.testing.assert_array_equal(before[:, kept], after[:, kept])


@pytest.mark.parametrize("backend", LEXICAL)
@pytest.mark.parametrize("kind", [np.nan, np.inf])
def test_lexical_weights_of_a_broken_text_are_nan_and_no_others(backend, kind):
    rng = np.random.RandomState(4)
    hidden, *places = row(rng, backend)
    vocabulary, bias = drawn(rng, backend, VOCABULARY, WIDTH), jnp.zeros(VOCABULARY)
    before = weights(backend, hidden, vocabulary, bias, *places)
    after = weights(backend, broken(hidden, 3, kind), vocabulary, bias, *places)
    kept = np.arange(PLACES) != 3
    assert np.isnan(after[3]).all()
    np.testing.assert_array_equal(before[kept], after[kept])


@pytest.mark.parametrize("backend", MAXSIM)
@pytest.mark.parametrize("kind", [np.nan, np.inf])
def test_a_broken_document_or_query_has_scores_of_nan_and_no_other_has(backend, kind):
    rng = np.random.RandomState(5)
    documents, *places = row(rng, backend)
    queries = drawn(rng, backend, 2, 20, WIDTH)
    before = scores(backend, queries, documents, *places)
    after = scores(backend, queries.at[1, 7, 3].set(kind), broken(documents, 1, kind), *places)
    kept = np.arange(PLACES) != 1
    assert np.isnan(after[0, 1])
    np.testing.assert_array_equal(before[0, kept], after[0, kept])
    assert np.isnan(after[1, : len(STARTS)]).all()
    assert (after[1, len(STARTS) :] == -np.inf).all()


def broken(x, text, kind):
    """x with one number of a text's last token, and all padding, set to `kind`."""
    outside = np.ones(T, bool)
    for start, length in zip(STARTS, LENGTHS, strict=True):
        outside[start : start + length] = False
    return x.at[outside].set(kind).at[STARTS[text] + LENGTHS[text] - 1, 2].set(kind)
