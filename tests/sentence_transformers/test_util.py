"""`sentence_transformers.util`, compared with slow and obvious versions."""

import logging

import numpy as np
import pytest
from refusals import refused

import jaxembed.sentence_transformers as st
from jaxembed.sentence_transformers import SimilarityFunction, quantize_embeddings, util
from jaxembed.sentence_transformers.util.quantization import semantic_search_faiss, semantic_search_usearch
from jaxembed.tensors import tensor

RNG = np.random.default_rng(7)
A, B = RNG.normal(size=(40, 8)).astype(np.float32), RNG.normal(size=(5, 8)).astype(np.float32)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


# What each function says of two vectors; the Euclidean and the Manhattan distance get a minus.
SLOW = {
    "cos_sim": cosine,
    "dot_score": lambda a, b: a @ b,
    "euclidean_sim": lambda a, b: -np.sqrt(((a - b) ** 2).sum()),
    "manhattan_sim": lambda a, b: -np.abs(a - b).sum(),
}


@pytest.mark.parametrize("name", SLOW)
def test_all_pairs_and_partners_are_scored(name):
    np.testing.assert_allclose(getattr(util, name)(A, B), [[SLOW[name](a, b) for b in B] for a in A], atol=1e-5)
    partners = getattr(util, f"pairwise_{name}")(A[:5], B)
    np.testing.assert_allclose(partners, [SLOW[name](a, b) for a, b in zip(A, B, strict=False)], atol=1e-5)
    assert getattr(util, name)(A[0], B[0]).shape == (1, 1)
    assert getattr(util, name)([[1, 2]], [[3, 4], [5, 6]]).shape == (1, 2)


def test_the_angle_is_that_of_complex_numbers():
    z, w = A[:5, :4] + 1j * A[:5, 4:], B[:, :4] + 1j * B[:, 4:]
    quotient = z * w.conj() / (np.abs(w) ** 2).sum(1, keepdims=True)
    scale = np.linalg.norm(A[:5], axis=1) / np.linalg.norm(B, axis=1)
    expected = np.abs((quotient.real + quotient.imag).sum(1)) / scale
    np.testing.assert_allclose(util.pairwise_angle_sim(A[:5], B), expected, atol=1e-5)


def test_a_search_finds_what_sorting_all_scores_finds():
    scores = np.array([[cosine(b, a) for a in A] for b in B])
    order = np.argsort(-scores, axis=1)
    for options in ({}, {"corpus_chunk_size": 7, "query_chunk_size": 2}, {"top_k": 100}, {"top_k": 1}):
        found = util.semantic_search(B, A, **options)
        count = min(options.get("top_k", 10), len(A))
        assert [[one["corpus_id"] for one in row] for row in found] == order[:, :count].tolist()
        np.testing.assert_allclose(
            [[one["score"] for one in row] for row in found], -np.sort(-scores, axis=1)[:, :count], atol=1e-6
        )
    (one,) = util.semantic_search(tensor(B[0]), tensor(A), top_k=3, score_function=util.dot_score)
    assert [each["corpus_id"] for each in one] == np.argsort(-(A @ B[0]))[:3].tolist()
    assert type(one[0]["corpus_id"]) is int
    assert type(one[0]["score"]) is float


@pytest.mark.parametrize("chunks", [{}, {"query_chunk_size": 7, "corpus_chunk_size": 11}])
def test_paraphrases_are_the_pairs_of_the_highest_scores(chunks):
    pairs = sorted(((cosine(A[i], A[j]), i, j) for i in range(len(A)) for j in range(i)), reverse=True)
    found = util.paraphrase_mining_embeddings(A, max_pairs=25, top_k=39, **chunks)
    assert [sorted(one[1:]) for one in found] == [sorted(one[1:]) for one in pairs[:25]]
    np.testing.assert_allclose([one[0] for one in found], [one[0] for one in pairs[:25]], atol=1e-6)
    assert len(util.paraphrase_mining_embeddings(A[:3], top_k=1)) <= 3


def test_paraphrases_of_texts_are_those_of_their_vectors():
    class Model:
        def encode(self, texts, **options):
            assert options["prompt"] == "p"
            return A[: len(texts)]

    assert util.paraphrase_mining(Model(), ["x"] * 6, prompt="p") == util.paraphrase_mining_embeddings(A[:6])


def test_communities_are_disjoint_and_near_their_middle():
    centers = np.eye(4, dtype=np.float32)
    vectors = np.concatenate([centers[[0] * 5], centers[[1] * 3], centers[[2]], centers[[0] * 2]])
    assert util.community_detection(vectors, min_community_size=2, batch_size=4) == [[0, 1, 2, 3, 4, 9, 10], [5, 6, 7]]
    assert util.community_detection(vectors, min_community_size=8) == []
    assert util.community_detection(vectors[:0], min_community_size=1) == []


def test_vectors_are_scaled_and_cut():
    np.testing.assert_allclose(np.linalg.norm(util.normalize_embeddings(A), axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(util.truncate_embeddings(A, 3), A[:, :3])
    np.testing.assert_array_equal(util.truncate_embeddings(A, None), A)


def test_similarity_functions_have_their_names():
    assert SimilarityFunction("dot") is SimilarityFunction.DOT is SimilarityFunction.DOT_PRODUCT
    assert SimilarityFunction.possible_values() == ["cosine", "dot", "euclidean", "manhattan"]
    assert SimilarityFunction.to_similarity_fn("dot") is util.dot_score
    assert SimilarityFunction.to_similarity_pairwise_fn(SimilarityFunction.COSINE) is util.pairwise_cos_sim
    with refused("similarity_function", "angle"):
        SimilarityFunction.to_similarity_fn("angle")


class Faiss:
    """An exact index by dot product or by differing bits, as faiss has it, in numpy."""

    METRIC_INNER_PRODUCT = 0

    class IndexFlatIP:
        def __init__(self, width):
            self.d = width

        def add(self, vectors):
            self.vectors = vectors

        def scores(self, queries):
            return queries @ self.vectors.T

        def search(self, queries, count):
            scores = self.scores(queries)
            order = np.argsort(-scores, axis=1)[:, :count]
            pad = ((0, 0), (0, count - order.shape[1]))
            return np.pad(np.take_along_axis(scores, order, 1), pad), np.pad(order, pad, constant_values=-1)

        def reconstruct(self, index):
            return self.vectors[index]

    class IndexBinaryFlat(IndexFlatIP):
        def scores(self, queries):
            bits = np.unpackbits(queries[:, None] ^ self.vectors[None], axis=-1)
            return -bits.sum(-1).astype(np.float32)


@pytest.fixture
def faiss(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "faiss", Faiss)


RANGES = np.stack([A.min(0), A.max(0)])


@pytest.mark.parametrize("precision", ["float32", "uint8", "ubinary"])
def test_a_search_of_quantized_vectors_scores_its_candidates_again(faiss, precision, caplog):
    corpus = quantize_embeddings(A, precision, ranges=RANGES)
    options = {"corpus_precision": precision, "top_k": 3, "ranges": RANGES, "rescore": precision != "float32"}
    with caplog.at_level(logging.WARNING):
        found, seconds, index = semantic_search_faiss(B, corpus, output_index=True, rescore_multiplier=40, **options)
    assert (seconds >= 0, caplog.text) == (True, "")
    values = {
        "float32": A,
        "uint8": RANGES[0] + corpus.astype(np.float64) * (RANGES[1] - RANGES[0]) / 255 if precision == "uint8" else None,
        "ubinary": (A > 0).astype(np.float64),
    }[precision]
    scores = B @ values.T
    assert [[one["corpus_id"] for one in row] for row in found] == np.argsort(-scores, axis=1, kind="stable")[:, :3].tolist()
    np.testing.assert_allclose([[one["score"] for one in row] for row in found], -np.sort(-scores, axis=1)[:, :3], rtol=1e-5)
    again, _ = semantic_search_faiss(B, corpus_index=index, rescore_multiplier=40, **options)
    assert again == found


def test_a_search_refuses_what_it_cannot_do(faiss, monkeypatch):
    import sys
    from types import SimpleNamespace

    with refused("corpus_embeddings"):
        semantic_search_faiss(B)
    with refused("corpus_index"):
        semantic_search_faiss(B, A, corpus_index=object())
    with refused("corpus_precision", "int4"):
        semantic_search_faiss(B, A, corpus_precision="int4")
    monkeypatch.setitem(sys.modules, "usearch", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "usearch.index", SimpleNamespace(Index=None))
    with refused("corpus_precision", "uint8"):
        semantic_search_usearch(B, A, corpus_precision="uint8")


def test_small_things_are_there():
    assert util.fullname(SimilarityFunction.DOT) == "jaxembed.sentence_transformers.util.similarity.SimilarityFunction"
    assert util.fullname("x") == "str"
    assert util.import_from_string("collections.abc.Mapping").__name__ == "Mapping"
    assert util.get_device_name() == "cpu"
    assert util.batch_to_device({"a": tensor(A), "b": "text"}, "cpu")["b"] == "text"
    assert not util.is_training_available()
    assert not util.is_sentence_transformer_model("./nowhere")
    assert st.util is util
    with util.disable_logging():
        assert not logging.getLogger().isEnabledFor(logging.CRITICAL)
