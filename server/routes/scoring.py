"""Scores and reranking by an embedding model: cosine, or late interaction where the model is served for token embeddings."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from jaxembed.errors import InputError, NonFiniteError, fields_as
from jaxembed.inputs.chat import plain
from jaxembed.packing.text import Text
from jaxembed.server.encoding import json_response
from jaxembed.server.errors import HttpError
from jaxembed.server.requests import add_route, gone, is_large, new_id, read
from jaxembed.server.schemas import common, tei
from jaxembed.server.schemas.common import ModelRequest, usage
from jaxembed.server.schemas.scoring import RerankRequest, RerankResponse, ScoreRequest, ScoreResponse
from jaxembed.server.schemas.tei import Rank
from jaxembed.server.service import Answer, Asked, Service
from jaxembed.vllm.params import PoolingParams

_PAIRS = (("queries", "documents"), ("queries", "items"), ("data_1", "data_2"), ("text_1", "text_2"))


def add_routes(app: FastAPI, service: Service) -> None:
    """Adds the routes."""

    async def scores(request: Request) -> Response:
        return await score(service, request, await read(request, ScoreRequest))

    async def reranked(request: Request) -> Response:
        return await rerank(service, request, await read(request, RerankRequest))

    async def reranked_by_cohere(request: Request) -> Response:
        # Cohere cuts documents that are too long; its clients have no field to ask for it.
        return await rerank(service, request, await read(request, RerankRequest), cut=True)

    add_route(
        app,
        ("/score", "/v1/score"),
        scores,
        face="openai",
        body=ScoreRequest,
        answer=ScoreResponse,
        summary="How similar pairs of texts are (vLLM)",
        tags=["scores"],
    )
    for paths, handler, whose in (
        (("/rerank", "/v1/rerank"), reranked, "Jina, vLLM"),
        ("/v2/rerank", reranked_by_cohere, "Cohere"),
    ):
        add_route(
            app,
            paths,
            handler,
            face="openai",
            body=RerankRequest,
            answer=RerankResponse | list[Rank],
            summary=f"Documents in order of their similarity with a query ({whose})",
            tags=["scores"],
        )


async def score(service: Service, request: Request, body: ScoreRequest) -> Response:
    """Answers `/score`."""
    name = service.check_model(body.model)
    given = {field for pair in _PAIRS for field in pair if getattr(body, field) is not None}
    names = next((pair for pair in _PAIRS if set(pair) == given), None)
    if names is None:
        known = ", ".join(f"{one} and {other}" for one, other in _PAIRS)
        raise HttpError(400, f"give the two sides as one of these pairs: {known}.")
    large = is_large(request)
    left, right = [await service.threads.run(large, texts_of_side, getattr(body, field), field) for field in names]
    if len(left) not in (1, len(right)):
        raise InputError("Input lengths must be either 1:1, 1:N or N:N")
    found, tokens = await _scores(service, request, body, left, right, names)
    data = [{"index": index, "object": "score", "score": value} for index, value in enumerate(found)]
    head = {"id": new_id(request, "score", body.request_id), "object": "list", "created": int(time.time()), "model": name}
    return json_response({**head, "data": data, "usage": usage(tokens)})


async def rerank(
    service: Service, request: Request, body: RerankRequest, *, cut: bool | None = None, as_strings: bool = False
) -> Response:
    """Answers `/rerank`; a body with `texts` as text-embeddings-inference does.

    Args:
        service: what serves the model.
        request: whose body it is.
        body: what it says.
        cut: whether texts that are too long are cut where the body does not say; None as the server is set.
        as_strings: whether documents stand in the answer as infinity has them, as strings and not as objects.
    """
    name = service.check_model(body.model)
    name_of_texts = "documents" if body.texts is None else "texts"
    documents = getattr(body, name_of_texts)
    if body.query is None or documents is None:
        raise HttpError(400, "a 'query' and 'documents' are needed.", field="query" if body.query is None else "documents")
    query = await service.threads.run(is_large(request), texts_of_side, body.query, "query")
    texts = await service.threads.run(is_large(request), texts_of_side, documents, "documents")
    if len(query) != 1:
        raise HttpError(400, "the query must be one text.", field="query")
    found, tokens = await _scores(service, request, body, query, texts, ("query", name_of_texts), cut=cut)
    order = np.argsort(-np.array(found), kind="stable").tolist()
    if body.texts is not None:
        shown = [{"text": text} if body.return_text else {} for text in texts]
        return json_response([{"index": index, **shown[index], "score": found[index]} for index in order])
    order = order[: body.top_n] if body.top_n and body.top_n > 0 else order
    # infinity leaves documents out unless they are asked for, everybody else the other way round.
    with_documents = bool(body.return_documents) if as_strings else body.return_documents is not False
    results = [
        {
            "index": index,
            **({"document": texts[index] if as_strings else {"text": texts[index]}} if with_documents else {}),
            "relevance_score": found[index],
        }
        for index in order
    ]
    counts = {"prompt_tokens": tokens, "total_tokens": tokens}
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    head = {"id": new_id(request, "rerank", body.request_id), "model": name, "usage": counts}
    return json_response({**head, "results": results, "meta": meta})


async def _scores(
    service: Service,
    request: Request,
    body: ScoreRequest | RerankRequest,
    left: list[str],
    right: list[str],
    names: tuple[str, str],
    *,
    cut: bool | None = None,
) -> tuple[list[float], int]:
    """Returns the similarity of each pair, and how many tokens all pairs have. A lone left text is paired with all.

    Args:
        service: what serves the model.
        request: whose body it is.
        body: what else it says.
        left: the texts of one side.
        right: those of the other.
        names: the fields of the body that hold them.
        cut: whether texts that are too long are cut where the body does not say.
    """
    service.check_count("documents", max(len(left), len(right)))
    params = PoolingParams(use_activation=body.use_activation)
    ones = await _tokenized(service, body, left, names[0], "max_tokens_per_query", params, cut)
    others = await _tokenized(service, body, right, names[1], "max_tokens_per_doc", params, cut)
    both = [*ones, *others]
    with _items_of(len(ones), names):
        vectors = await service.vectors(both, task=service.task, priority=body.priority, gone=gone(request))
    pairs = [(0 if len(ones) == 1 else index, len(ones) + index) for index in range(len(others))]
    compare, large = service.task.compare, Answer(vectors, []).is_large
    assert compare is not None, "a task that a model is served for compares"
    found = await service.threads.run(large, lambda: [compare(vectors[a], vectors[b]) for a, b in pairs])
    return found, sum(len(both[a].ids) + len(both[b].ids) for a, b in pairs)


@contextmanager
def _items_of(count: int, names: tuple[str, str]) -> Iterator[None]:
    """Gives texts that are not finite their place in their own field: the first has so many, the second the rest."""
    try:
        yield
    except NonFiniteError as error:
        ones, others = [item for item in error.items if item < count], [item - count for item in error.items if item >= count]
        raise NonFiniteError(ones or others, field=names[0] if ones else names[1]) from None


async def _tokenized(
    service: Service,
    body: ModelRequest,
    texts: list[str],
    name: str,
    limited_by: str,
    params: PoolingParams,
    cut: bool | None,
) -> list[Text]:
    limit = getattr(body, limited_by) or 0
    if limit >= service.max_length:
        what = f"{limited_by} ({limit})"
        raise HttpError(400, f"{what} must be less than max_model_len ({service.max_length}).", field=limited_by)
    options = body.tokenization()
    how = common.HOW_TO_TRUNCATE
    if limit:
        options["truncate_prompt_tokens"] = limit
    elif isinstance(body, RerankRequest) and (body.texts is not None or body.truncate is not None):
        cut, how = body.truncate, tei.HOW_TO_TRUNCATE
        options["truncation_side"] = body.truncation_direction.lower()
    with fields_as({"prompts": name, "max_length": limited_by if limit else "truncate_prompt_tokens"}, truncate=how):
        return await service.texts(Asked(prompts=texts, params=params, task=service.task, options=options, cut=cut))


def texts_of_side(value: Any, name: str) -> list[str]:
    """Returns the texts of one side: a text, {"content": [parts]}, {"text": ...}, or a list of those."""
    if not isinstance(value, list):
        return [_text(value, name)]
    if not value:
        what = "text_pair" if name in ("documents", "items", "data_2", "text_2") else "text"
        raise InputError(f"At least one {what} element must be given", field=name)
    return [_text(each, name, index if len(value) > 1 else None) for index, each in enumerate(value)]


def _text(value: Any, name: str, index: int | None = None) -> str:
    if isinstance(value, dict) and value.get("content") == []:
        raise InputError("'content' needs at least one part.", field=name, index=index)
    try:
        text = plain(value)
    except InputError as error:
        error.field, error.index = name, index
        raise
    if not isinstance(text, str):
        raise InputError(f"{name} must hold texts, or objects with 'content' or 'text'.", field=name, index=index)
    return text
