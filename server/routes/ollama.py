"""Ollama's `/api/embed`, `/api/embeddings` and what its clients ask beside them."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from jaxembed import __version__
from jaxembed.errors import InputError, fields_as
from jaxembed.heads.task import EMBEDDINGS
from jaxembed.server.encoding import json_response
from jaxembed.server.requests import add_route, gone, read, route, written
from jaxembed.server.schemas.ollama import (
    OllamaEmbeddingsRequest,
    OllamaEmbeddingsResponse,
    OllamaEmbedRequest,
    OllamaEmbedResponse,
)
from jaxembed.server.service import Answer, Asked, Service
from jaxembed.vllm.params import PoolingParams

_LATEST = ":latest"
_HOW_TO_TRUNCATE = "send truncate: true"
# Of `options`, what would change a vector; the rest is about memory, threads and text that is generated.
_LENGTH = "num_ctx"


def add_routes(app: FastAPI, service: Service) -> None:
    """Adds the routes."""

    async def texts(request: Request) -> Response:
        return await embed(service, request, await read(request, OllamaEmbedRequest))

    async def text(request: Request) -> Response:
        return await embed_one(service, request, await read(request, OllamaEmbeddingsRequest))

    add_route(
        app,
        "/api/embed",
        texts,
        face="ollama",
        body=OllamaEmbedRequest,
        answer=OllamaEmbedResponse,
        summary="Vectors of texts (Ollama)",
        tags=["Ollama"],
    )
    add_route(
        app,
        "/api/embeddings",
        text,
        face="ollama",
        body=OllamaEmbeddingsRequest,
        answer=OllamaEmbeddingsResponse,
        summary="The vector of one text (Ollama)",
        tags=["Ollama"],
    )

    @route(app, "/api/tags", face="ollama", include_in_schema=False)
    async def tags() -> Response:
        return json_response({"models": [_tag(service, name) for name in service.names]})

    @route(app, "/api/version", face="ollama", include_in_schema=False)
    async def version() -> Response:
        return json_response({"version": __version__})


async def embed(service: Service, request: Request, body: OllamaEmbedRequest) -> Response:
    """Answers `/api/embed`: a vector for each text, none for an empty input, as Ollama has it."""
    begin = time.perf_counter_ns()
    name = _check_model(service, body.model)
    if body.input is None:
        raise InputError("an 'input' is needed: a text or a list of texts.", field="input")
    prompts = [body.input] if isinstance(body.input, str) else body.input
    answer = Answer([], [])
    if prompts and body.input:
        answer = await _run(service, request, prompts, "input", body.truncate, body.options, body.dimensions)
    whole = {
        "model": name,
        "embeddings": answer.results,
        "total_duration": time.perf_counter_ns() - begin,
        "load_duration": 0,
        "prompt_eval_count": answer.tokens,
    }
    return await written(request, whole, large=answer.is_large)


async def embed_one(service: Service, request: Request, body: OllamaEmbeddingsRequest) -> Response:
    """Answers `/api/embeddings`; an empty prompt has an empty vector."""
    _check_model(service, body.model)
    if not body.prompt:
        return json_response({"embedding": []})
    answer = await _run(service, request, [body.prompt], "prompt", body.truncate, body.options, None)
    return json_response({"embedding": answer.results[0]})


async def _run(
    service: Service,
    request: Request,
    prompts: Sequence[str],
    field: str,
    truncate: bool,
    options: Mapping[str, Any] | None,
    dimensions: int | None,
) -> Answer:
    service.check_task(EMBEDDINGS, "Embeddings API")
    service.check_count(field, len(prompts))
    with fields_as({"prompts": field, "truncate_prompt_tokens": f"options.{_LENGTH}"}, truncate=_HOW_TO_TRUNCATE):
        limit = _limit(service, options, truncate)
        asked = Asked(
            prompts=prompts,
            params=PoolingParams(dimensions=dimensions),
            options={"truncate_prompt_tokens": limit},
            cut=truncate,
            gone=gone(request),
        )
        return await service.run(asked)


def _limit(service: Service, options: Mapping[str, Any] | None, truncate: bool) -> int | None:
    """Returns the length that texts are cut to where `options` ask for a shorter one than the model's, else None."""
    length = (options or {}).get(_LENGTH)
    if length is None:
        return None
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise InputError(f"options.{_LENGTH} must be an int above 0, not {length!r}.", field=f"options.{_LENGTH}")
    if length >= service.max_length:
        return None
    if not truncate:
        raise InputError(
            f"options.{_LENGTH} is below the model's {service.max_length} tokens, which needs truncate: true.",
            field=f"options.{_LENGTH}",
        )
    return length


def _check_model(service: Service, name: str | None) -> str:
    """Returns the model's name as it was asked for; Ollama's clients put `:latest` behind it."""
    service.check_model(name.removesuffix(_LATEST) if name else name)
    return name or service.names[0]


def _tag(service: Service, name: str) -> dict[str, Any]:
    family = service.model.family
    return {
        "name": name,
        "model": name,
        "modified_at": datetime.fromtimestamp(service.started_at, UTC).isoformat(),
        "size": 0,
        "digest": "",
        "details": {"format": "safetensors", "family": family, "families": [family]},
    }
