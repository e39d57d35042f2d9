"""Search among vectors that fit into memory, exact and in chunks."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jaxembed.sentence_transformers import similarity
from jaxembed.sentence_transformers.util.similarity import cos_sim
from jaxembed.tensors import array, tensor

Score = Callable[[Any, Any], Any]


def semantic_search(
    query_embeddings: Any,
    corpus_embeddings: Any,
    query_chunk_size: int = 100,
    corpus_chunk_size: int = 500_000,
    top_k: int = 10,
    score_function: Score = cos_sim,
) -> list[list[dict[str, Any]]]:
    """Returns for each query [n, d] the vectors of a corpus [m, d] that are most like it, the best first.

    Args:
        query_embeddings: a vector is one query.
        corpus_embeddings: what is searched.
        query_chunk_size, corpus_chunk_size: how many are compared at once; what comes out is the same.
        top_k: how many are found for each, fewer if the corpus has fewer.
        score_function: gives the scores [n, m] of queries and corpus; larger is better.

    Returns:
        A list for each query of {"corpus_id": int, "score": float}.
    """
    queries, corpus = (np.atleast_2d(array(one)) for one in (query_embeddings, corpus_embeddings))
    found = []
    for _, scores, ids in _best(queries, corpus, query_chunk_size, corpus_chunk_size, top_k, score_function):
        found += [
            [{"corpus_id": int(one), "score": float(score)} for score, one in zip(*row, strict=True)]
            for row in zip(scores, ids, strict=True)
        ]
    return found


information_retrieval = semantic_search


def paraphrase_mining(
    model: Any,
    sentences: list[str],
    show_progress_bar: bool = False,
    batch_size: int = 32,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100_000,
    max_pairs: int = 500_000,
    top_k: int = 100,
    score_function: Score = cos_sim,
    truncate_dim: int | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
) -> list[list[Any]]:
    """Returns the pairs of texts that are most alike: `paraphrase_mining_embeddings` of what `model.encode` gives."""
    embeddings = model.encode(
        sentences,
        show_progress_bar=show_progress_bar,
        batch_size=batch_size,
        truncate_dim=truncate_dim,
        prompt_name=prompt_name,
        prompt=prompt,
    )
    return paraphrase_mining_embeddings(embeddings, query_chunk_size, corpus_chunk_size, max_pairs, top_k, score_function)


def paraphrase_mining_embeddings(
    embeddings: Any,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100_000,
    max_pairs: int = 500_000,
    top_k: int = 100,
    score_function: Score = cos_sim,
) -> list[list[Any]]:
    """Returns the pairs of vectors [n, d] that are most alike, the best first.

    Args:
        embeddings: compared with each other.
        query_chunk_size, corpus_chunk_size: how many are compared at once; what comes out is the same.
        max_pairs: as many are kept.
        top_k: as many neighbors are looked at for each vector.
        score_function: gives the scores [n, m]; larger is better.

    Returns:
        Lists of score, index and larger index, each pair once.
    """
    vectors = array(embeddings)
    kept: dict[tuple[int, int], float] = {}
    # One more, for the best neighbor of a vector is itself.
    for start, scores, ids in _best(vectors, vectors, query_chunk_size, corpus_chunk_size, top_k + 1, score_function):
        for number, (row, neighbors) in enumerate(zip(scores.tolist(), ids.tolist(), strict=True), start):
            others = [(one, score) for one, score in zip(neighbors, row, strict=True) if one != number][:top_k]
            for one, score in others:
                kept.setdefault((min(number, one), max(number, one)), score)
        if len(kept) > 2 * max_pairs:
            kept = dict(sorted(kept.items(), key=lambda pair: -pair[1])[:max_pairs])
    best = sorted(kept.items(), key=lambda pair: -pair[1])[:max_pairs]
    return [[score, first, second] for (first, second), score in best]


def community_detection(
    embeddings: Any,
    threshold: float = 0.75,
    min_community_size: int = 10,
    batch_size: int = 1024,
    show_progress_bar: bool = False,
) -> list[list[int]]:
    """Returns groups of vectors [n, d] whose cosine with the group's first is at least a threshold.

    Args:
        embeddings: what is grouped.
        threshold: the smallest cosine.
        min_community_size: smaller groups are left out.
        batch_size: how many are compared with all others at once.
        show_progress_bar: whether a bar shows how far it is.

    Returns:
        The indices of each group, the one in the middle first; no index is in two groups, and larger groups come first.
    """
    from tqdm.auto import trange

    vectors = similarity.unit(np.asarray(array(embeddings), np.float32))
    groups = []
    for start in trange(0, len(vectors), batch_size, desc="Finding clusters", disable=not show_progress_bar):
        for center, scores in enumerate(vectors[start : start + batch_size] @ vectors.T, start):
            near = np.flatnonzero(scores >= threshold)
            if len(near) >= min_community_size:
                order = near[np.argsort(-scores[near], kind="stable")].tolist()
                groups.append([center, *(one for one in order if one != center)])
    groups.sort(key=len, reverse=True)
    taken: set[int] = set()
    found = []
    for group in groups:
        free = [one for one in group if one not in taken]
        if group[0] not in taken and len(free) >= min_community_size:
            found.append(free)
            taken |= set(free)
    return sorted(found, key=len, reverse=True)


def _best(
    queries: np.ndarray, corpus: np.ndarray, chunk: int, corpus_chunk: int, count: int, score: Score
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields for each chunk of queries its beginning, the best scores [n, count] and the places in the corpus."""
    for start in range(0, len(queries), chunk):
        some = tensor(queries[start : start + chunk])
        best, ids = np.zeros((len(some), 0), np.float32), np.zeros((len(some), 0), np.int64)
        for at in range(0, len(corpus), corpus_chunk):
            scores = array(score(some, tensor(corpus[at : at + corpus_chunk])))
            places = _largest(scores, count)
            best = np.concatenate([best, np.take_along_axis(scores, places, 1)], axis=1)
            ids = np.concatenate([ids, places + at], axis=1)
        order = _largest(best, count)
        yield start, np.take_along_axis(best, order, 1), np.take_along_axis(ids, order, 1)


def _largest(scores: np.ndarray, count: int) -> np.ndarray:
    """Returns where the largest scores of each row [n, m] stand, the largest first: int [n, min(count, m)]."""
    count = min(count, scores.shape[1])
    if count < scores.shape[1]:
        places = np.argpartition(-scores, count - 1, axis=1)[:, :count] if count else np.zeros((len(scores), 0), np.int64)
    else:
        places = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, places, 1), axis=1, kind="stable")
    return np.take_along_axis(places, order, 1)
