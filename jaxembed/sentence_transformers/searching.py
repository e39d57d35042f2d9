"""Search over quantized vectors with faiss or usearch, where they are installed; the best candidates are scored again."""

import logging
import time
from typing import Any

import numpy as np

from jaxembed.errors import InputError
from jaxembed.sentence_transformers.quantization import quantize_embeddings

logger = logging.getLogger(__name__)

Found = list[list[dict[str, Any]]]


def semantic_search_faiss(
    query_embeddings: np.ndarray,
    corpus_embeddings: np.ndarray | None = None,
    corpus_index: Any = None,
    corpus_precision: str = "float32",
    top_k: int = 10,
    ranges: np.ndarray | None = None,
    calibration_embeddings: np.ndarray | None = None,
    rescore: bool = True,
    rescore_multiplier: int = 2,
    exact: bool = True,
    output_index: bool = False,
) -> tuple[Any, ...]:
    """Returns for each query the vectors of a corpus that are most like it by dot product, and the seconds it took.

    Args:
        query_embeddings: [n, d], floats, or of the corpus's precision.
        corpus_embeddings: [m, d] in `corpus_precision`, or
        corpus_index: the index of an earlier call.
        corpus_precision: float32, uint8 or ubinary.
        top_k: how many are found for each query.
        ranges: minimum and maximum of each dimension [2, d] by which the corpus was quantized to uint8.
        calibration_embeddings: what the ranges are drawn from if they are not given.
        rescore: score the best of a quantized corpus again with the queries as floats.
        rescore_multiplier: so many times `top_k` are scored again.
        exact: compare with all; False uses a graph of neighbors.
        output_index: return the index too, as the third.

    Raises:
        InputError: not one of corpus and index, or a precision that faiss has not.
        ImportError: faiss is not installed.
    """
    import faiss

    _check(corpus_embeddings, corpus_index, corpus_precision, ("float32", "uint8", "ubinary"))
    binary = corpus_precision == "ubinary"
    if corpus_index is None:
        assert corpus_embeddings is not None
        width = corpus_embeddings.shape[1]
        if binary:
            corpus_index = faiss.IndexBinaryFlat(width * 8) if exact else faiss.IndexBinaryHNSW(width * 8, 16)
        else:
            by_graph = () if exact else (16, faiss.METRIC_INNER_PRODUCT)
            corpus_index = (faiss.IndexFlatIP if exact else faiss.IndexHNSWFlat)(width, *by_graph)
        corpus_index.add(corpus_embeddings if binary else corpus_embeddings.astype(np.float32))
    queries, whole = _queries(query_embeddings, corpus_precision, ranges, calibration_embeddings, rescore)
    start = time.perf_counter()
    count = top_k if whole is None else top_k * rescore_multiplier
    scores, ids = corpus_index.search(queries if binary else queries.astype(np.float32), count)
    if whole is not None:
        # Where fewer are found than asked for, faiss pads with -1, which is no place to read from.
        there = np.where(ids < 0, 0, ids)
        vectors = np.array([[corpus_index.reconstruct(int(one)) for one in row] for row in there])
        scores, ids = _rescored(whole, vectors, ids, corpus_precision, ranges, calibration_embeddings, top_k)
    seconds = time.perf_counter() - start
    return (_found(scores, ids), seconds, corpus_index) if output_index else (_found(scores, ids), seconds)


def semantic_search_usearch(
    query_embeddings: np.ndarray,
    corpus_embeddings: np.ndarray | None = None,
    corpus_index: Any = None,
    corpus_precision: str = "float32",
    top_k: int = 10,
    ranges: np.ndarray | None = None,
    calibration_embeddings: np.ndarray | None = None,
    rescore: bool = True,
    rescore_multiplier: int = 2,
    exact: bool = True,
    output_index: bool = False,
) -> tuple[Any, ...]:
    """Returns what `semantic_search_faiss` does, by usearch.

    `corpus_precision` is float32, int8, binary or ubinary; the scores are usearch's distances unless they were made again.

    Raises:
        InputError: not one of corpus and index, or a precision that usearch has not.
        ImportError: usearch is not installed.
    """
    from usearch.index import Index

    _check(corpus_embeddings, corpus_index, corpus_precision, ("float32", "int8", "binary", "ubinary"))
    binary = corpus_precision in ("binary", "ubinary")
    if corpus_index is None:
        assert corpus_embeddings is not None
        metric, dtype = {"float32": ("cos", "f32"), "int8": ("ip", "i8")}.get(corpus_precision, ("hamming", "b1"))
        corpus_index = Index(ndim=corpus_embeddings.shape[1] * (8 if binary else 1), metric=metric, dtype=dtype)
        corpus_index.add(np.arange(len(corpus_embeddings)), _bits(corpus_embeddings, corpus_precision))
    queries, whole = _queries(query_embeddings, corpus_precision, ranges, calibration_embeddings, rescore)
    start = time.perf_counter()
    count = top_k if whole is None else top_k * rescore_multiplier
    matches = corpus_index.search(np.atleast_2d(_bits(queries, corpus_precision)), count, exact=exact)
    keys = np.atleast_2d(matches.keys)
    scores, ids = np.atleast_2d(matches.distances), keys.astype(np.int64)
    if whole is not None:
        vectors = np.array([corpus_index.get(row) for row in keys])
        precision = "ubinary" if binary else corpus_precision
        scores, ids = _rescored(whole, vectors, ids, precision, ranges, calibration_embeddings, top_k)
    seconds = time.perf_counter() - start
    return (_found(scores, ids), seconds, corpus_index) if output_index else (_found(scores, ids), seconds)


def _check(corpus: Any, index: Any, precision: str, known: tuple[str, ...]) -> None:
    if corpus is not None and index is not None:
        raise InputError("Only corpus_embeddings or corpus_index should be used, not both.", field="corpus_index")
    if corpus is None and index is None:
        raise InputError("Either corpus_embeddings or corpus_index should be used.", field="corpus_embeddings")
    if precision not in known:
        raise InputError(f"corpus_precision must be one of {', '.join(known)}, not {precision!r}.", field="corpus_precision")


def _queries(
    given: np.ndarray, precision: str, ranges: Any, calibration: Any, rescore: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the queries as the index takes them, and as floats if their candidates shall be scored again."""
    quantized = given.dtype in (np.uint8, np.int8)
    if rescore and (quantized or precision == "float32"):
        which = "query embeddings are quantized" if quantized else "corpus is not quantized"
        logger.warning("Rescoring is enabled but the %s; it changes nothing.", which)
    if quantized or precision == "float32":
        return given, None
    queries = quantize_embeddings(given, precision, ranges=ranges, calibration_embeddings=calibration)
    return queries, given if rescore else None


def _bits(vectors: np.ndarray, precision: str) -> np.ndarray:
    """Returns binary vectors as the bytes that ubinary has, others as they are."""
    return vectors.view(np.uint8) ^ np.uint8(0x80) if precision == "binary" else vectors


def _rescored(
    queries: np.ndarray, vectors: np.ndarray, ids: np.ndarray, precision: str, ranges: Any, calibration: Any, top_k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the best candidates by the dot product of float queries [q, d] and the quantized vectors [q, k, ...] found."""
    if precision == "ubinary":
        values = np.unpackbits(vectors.astype(np.uint8), axis=-1)[..., : queries.shape[-1]].astype(np.float64)
    else:
        # Without ranges the queries' own, by which they were quantized.
        known = queries if calibration is None else calibration
        low, high = ranges if ranges is not None else (known.min(0), known.max(0))
        steps = np.where(high == low, 1, (high - low) / 255)
        values = low + (vectors.astype(np.float64) + (128 if precision == "int8" else 0)) * steps
    scores = np.einsum("qd,qkd->qk", queries, values)
    scores[ids < 0] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)


def _found(scores: np.ndarray, ids: np.ndarray) -> Found:
    return [
        [{"corpus_id": int(one), "score": float(score)} for score, one in zip(*row, strict=True) if one >= 0]
        for row in zip(scores, ids, strict=True)
    ]
