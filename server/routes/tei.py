"""The routes of text-embeddings-inference, and the doors that take any API's body: `POST /` and `/invocations`."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from jaxembed import __version__
from jaxembed.errors import InputError, fields_as
from jaxembed.heads.task import Task
from jaxembed.heads.tokens import TOKEN_EMBED
from jaxembed.heads.vectors import EMBED
from jaxembed.inputs.prompts import read_prompts
from jaxembed.server.encoding import json_response
from jaxembed.server.errors import HttpError
from jaxembed.server.requests import add_route, checked, gone, is_large, read, read_object, route, written
from jaxembed.server.routes import cohere, openai, scoring
from jaxembed.server.schemas.cohere import CohereEmbedRequest
from jaxembed.server.schemas.openai import EmbeddingRequest, PoolingRequest
from jaxembed.server.schemas.scoring import RerankRequest, ScoreRequest
from jaxembed.server.schemas.tei import (
    HOW_TO_TRUNCATE,
    DecodeRequest,
    EmbedRequest,
    Info,
    SimilarityParameters,
    SimilarityRequest,
)
from jaxembed.server.service import Answer, Asked, Service
from jaxembed.vllm.params import PoolingParams


def add_routes(app: FastAPI, service: Service) -> None:
    """Adds the routes."""

    async def embeddings(request: Request) -> Response:
        return await embed(service, request, await read(request, EmbedRequest), EMBED)

    async def all_embeddings(request: Request) -> Response:
        return await embed(service, request, await read(request, EmbedRequest), TOKEN_EMBED)

    async def similarities(request: Request) -> Response:
        return await similarity(service, request, await read(request, SimilarityRequest))

    async def texts(request: Request) -> Response:
        body = await read(request, DecodeRequest)
        return await service.tokenizing(is_large(request), decode, service, body)

    async def anything(request: Request) -> Response:
        return await dispatch(service, request, await read_object(request))

    vectors, tokens = list[list[float]], list[list[list[float]]]
    for paths, handler, schema, answer, summary in (
        (("/embed", "/"), embeddings, EmbedRequest, vectors, "Vectors of texts (TEI)"),
        ("/embed_all", all_embeddings, EmbedRequest, tokens, "Vectors of all tokens (TEI)"),
        ("/similarity", similarities, SimilarityRequest, list[float], "How near sentences are to one (TEI)"),
        ("/decode", texts, DecodeRequest, list[str], "Texts of token ids (TEI)"),
    ):
        if isinstance(paths, tuple):
            any_body = f"{summary}, or any body"
            add_route(app, paths[1], anything, face="tei", body=schema, answer=answer, summary=any_body, tags=["TEI"])
            paths = paths[0]
        add_route(app, paths, handler, face="tei", body=schema, answer=answer, summary=summary, tags=["TEI"])
    # TEI's one path that is not served here is answered in its shape all the same.
    app.state.faces.add("/embed_sparse", "tei")
    add_route(
        app,
        "/invocations",
        anything,
        face="openai",
        body=EmbeddingRequest,
        answer=Any,
        summary="The body of any route, told apart by its fields (SageMaker)",
        tags=["operations"],
        raw=True,
    )

    @route(app, "/info", face="tei", tags=["TEI"], summary="What is served (TEI)", response_model=Info)
    async def info() -> Response:
        return json_response(_info(service))


async def embed(service: Service, request: Request, body: EmbedRequest, task: Task) -> Response:
    """Answers `/embed` and `/embed_all`: a bare list, also for one text."""
    begin = time.perf_counter()
    with fields_as({"prompts": "inputs"}, truncate=HOW_TO_TRUNCATE):
        prompts = await service.threads.run(is_large(request), read_prompts, body.inputs)
        service.check_count("inputs", len(prompts))
        service.check_ids(prompts, request.headers.get("user-agent", ""))
        asked = Asked(
            prompts=prompts,
            params=PoolingParams(use_activation=body.normalize is not False, dimensions=body.dimensions),
            task=task,
            options={"truncation_side": body.truncation_direction.lower()},
            cut=body.truncate,
            prefix=service.prompt(body.prompt_name),
            gone=gone(request),
        )
        answer = await service.run(asked)
    response = await written(request, answer.results, large=answer.is_large)
    characters = sum(len(prompt) for prompt in prompts if isinstance(prompt, str))
    response.headers.update(_headers(service, answer, characters, time.perf_counter() - begin))
    return response


async def similarity(service: Service, request: Request, body: SimilarityRequest) -> Response:
    """Answers `/similarity`: the cosine of each sentence with the source."""
    options = body.parameters or SimilarityParameters()
    sentences = [body.inputs.source_sentence, *body.inputs.sentences]
    if len(sentences) == 1:
        raise HttpError(400, "`inputs.sentences` cannot be empty", field="inputs.sentences")
    service.check_count("sentences", len(body.inputs.sentences))
    names = {"prompts": "inputs", "prompt_name": "parameters.prompt_name"}
    how = "send parameters.truncate: true, or start the server with --truncate"
    with fields_as(names, truncate=how), _in_sentences():
        asked = Asked(
            prompts=sentences,
            params=PoolingParams(use_activation=True),
            options={"truncation_side": options.truncation_direction.lower()},
            cut=options.truncate,
            prefix=service.prompt(options.prompt_name),
            gone=gone(request),
        )
        answer = await service.run(asked)
    source, *others = answer.results
    return json_response((np.stack(others) @ source).tolist())


@contextmanager
def _in_sentences() -> Iterator[None]:
    """Gives errors about one of the texts to compare the place where the body has it; the source comes first."""
    try:
        yield
    except InputError as error:
        if error.index is not None:
            error.field = "inputs.source_sentence" if error.index == 0 else "inputs.sentences"
            error.index = error.index - 1 if error.index else None
        raise


def decode(service: Service, body: DecodeRequest) -> Response:
    """Answers `/decode`."""
    many: Sequence[Any] = body.ids if body.ids and isinstance(body.ids[0], list) else [body.ids]
    return json_response([service.decode(ids, skip_special_tokens=body.skip_special_tokens) for ids in many])


async def dispatch(service: Service, request: Request, value: dict[str, Any]) -> Response:
    """Answers the body of any route, told apart by its fields."""
    if "inputs" in value:
        inputs = value["inputs"]
        if isinstance(inputs, dict):
            return await similarity(service, request, await checked(request, SimilarityRequest, value))
        if not (isinstance(inputs, list) and inputs and isinstance(inputs[0], dict)):
            return await embed(service, request, await checked(request, EmbedRequest, value), service.task)
    if ("texts" in value and "query" in value) or ("documents" in value and "query" in value):
        return await scoring.rerank(service, request, await checked(request, RerankRequest, value))
    if {"texts", "images", "inputs"} & set(value):
        return await cohere.embed(service, request, await checked(request, CohereEmbedRequest, value), version="2")
    if {"queries", "data_1", "text_1"} & set(value):
        return await scoring.score(service, request, await checked(request, ScoreRequest, value))
    if "task" in value or "data" in value:
        return await openai.pool(service, request, await checked(request, PoolingRequest, value))
    return await openai.embed(service, request, await checked(request, EmbeddingRequest, value))


def _headers(service: Service, answer: Answer, characters: int, seconds: float) -> dict[str, str]:
    """TEI's headers, as far as they can be known. Times are milliseconds."""
    return {
        "x-compute-type": service.llm.engine.target.platform,
        "x-compute-characters": str(characters),
        "x-compute-tokens": str(answer.tokens),
        "x-total-time": str(round(seconds * 1000)),
    }


def _info(service: Service) -> dict[str, Any]:
    settings, model = service.settings, service.model
    return {
        "model_id": service.names[0],
        "model_sha": None,
        "model_dtype": getattr(model.dtype, "__name__", str(model.dtype)),
        "model_type": {"embedding": {"pooling": " + ".join(model.recipe.modes)}},
        "max_concurrent_requests": settings.max_queue_tokens,
        "max_input_length": service.max_length,
        "max_batch_tokens": service.llm.engine.table.row,
        "max_batch_requests": None,
        "max_client_batch_size": settings.max_items,
        "auto_truncate": settings.truncate,
        "tokenization_workers": min(4, os.cpu_count() or 1),
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }
