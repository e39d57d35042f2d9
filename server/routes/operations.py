"""What operators and clients ask about the server itself: health, models, version, metrics, tokens."""

from enum import Enum
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from jaxembed import __version__
from jaxembed.errors import InputError, fields_as
from jaxembed.inputs.prompts import Tokenization, read_prompts
from jaxembed.server.encoding import json_response, large_json_response
from jaxembed.server.errors import HttpError, Problem
from jaxembed.server.metrics import Metrics
from jaxembed.server.requests import add_route, is_large, read, route
from jaxembed.server.schemas.common import ErrorResponse
from jaxembed.server.schemas.openai import (
    DetokenizeRequest,
    DetokenizeResponse,
    ModelCard,
    ModelList,
    TokenizeRequest,
    TokenizeResponse,
)
from jaxembed.server.schemas.tei import Token
from jaxembed.server.service import Service


def add_routes(app: FastAPI, service: Service, metrics: Metrics) -> None:
    """Adds the routes."""
    scheduler = service.scheduler
    down: dict[int | str, dict[str, Any]] = {503: {"model": ErrorResponse, "description": "it does not"}}

    @route(
        app,
        "/health",
        face="openai",
        response_class=Response,
        tags=["operations"],
        responses=down,
        summary="Whether the engine works",
    )
    async def health() -> Response:
        if scheduler.error is None:
            return Response(status_code=200)
        return Problem(503, f"The engine is not available: {scheduler.error}.", "ServiceUnavailableError").response("openai")

    @route(
        app,
        "/ready",
        face="openai",
        response_class=Response,
        tags=["operations"],
        responses=down,
        summary="Whether requests are taken",
    )
    async def ready() -> Response:
        if scheduler.error is None and scheduler.is_open:
            return Response(status_code=200)
        why = scheduler.error or "it is shutting down"
        return Problem(503, f"The server is not ready: {why}.", "ServiceUnavailableError").response("openai")

    @route(app, "/ping", face="openai", methods=("GET", "HEAD", "POST"), response_class=Response, include_in_schema=False)
    async def ping() -> Response:
        return await health()

    @route(
        app, "/version", face="openai", tags=["operations"], summary="The version of jaxembed", response_model=dict[str, str]
    )
    async def version() -> Response:
        return json_response({"version": __version__})

    @route(app, "/load", face="openai", tags=["operations"], summary="Requests that are open", response_model=dict[str, int])
    async def load() -> Response:
        return json_response({"server_load": scheduler.open_requests})

    @route(
        app, "/metrics", face="openai", response_class=PlainTextResponse, tags=["operations"], summary="Metrics for Prometheus"
    )
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @route(app, "/v1/models", face="openai", tags=["operations"], summary="The model that is served", response_model=ModelList)
    async def models() -> Response:
        return json_response({"object": "list", "data": [card(service, name) for name in service.names]})

    @route(app, "/models/{name:path}", face="openai", include_in_schema=False)
    @route(
        app,
        "/v1/models/{name:path}",
        face="openai",
        tags=["operations"],
        summary="The model that is served, by its name",
        response_model=ModelCard,
        responses={404: {"model": ErrorResponse, "description": "no such model"}},
    )
    async def one_model(name: str) -> Response:
        return json_response(card(service, service.check_model(name)))

    async def tokens(request: Request) -> Response:
        body = await read(request, TokenizeRequest)
        if body.messages is not None:
            return await service.rendering(tokenize, service, body)
        return await service.tokenizing(is_large(request), tokenize, service, body)

    async def text(request: Request) -> Response:
        body = await read(request, DetokenizeRequest)
        service.check_model(body.model)
        return await service.tokenizing(is_large(request), detokenize, service, body.tokens)

    tags: list[str | Enum] = ["tokens"]
    add_route(
        app,
        "/tokenize",
        tokens,
        face="openai",
        body=TokenizeRequest,
        answer=TokenizeResponse | list[list[Token]],
        summary="Token ids of a text",
        tags=tags,
    )
    add_route(
        app,
        "/detokenize",
        text,
        face="openai",
        body=DetokenizeRequest,
        answer=DetokenizeResponse,
        summary="The text of ids",
        tags=tags,
    )
    if service.settings.tokenizer_info:

        @route(
            app,
            "/tokenizer_info",
            face="openai",
            tags=tags,
            summary="What the tokenizer's files say",
            response_model=dict[str, Any],
        )
        async def tokenizer_info() -> Response:
            return json_response({**service.tokenizer.config, "chat_template": service.tokenizer.chat_template})


def card(service: Service, name: str) -> dict[str, Any]:
    """Returns one entry of `/v1/models`."""
    recipe, model = service.recipe, service.model
    permission = {
        "id": f"modelperm-{name}",
        "object": "model_permission",
        "created": service.started_at,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    return {
        "id": name,
        "object": "model",
        "created": service.started_at,
        "owned_by": "jaxembed",
        "root": model.name,
        "parent": None,
        "max_model_len": service.max_length,
        "permission": [permission],
        "task": service.task.name,
        "dimension": model.width,
        "pooling": list(recipe.modes),
        "normalized": recipe.normalize is not False,
        "prompts": dict(recipe.prompts),
        "matryoshka_dimensions": None if recipe.matryoshka is None else list(recipe.matryoshka),
    }


def detokenize(service: Service, tokens: list[int]) -> Response:
    """Answers `/detokenize`."""
    return json_response({"prompt": service.decode(tokens)})


def tokenize(service: Service, body: TokenizeRequest) -> Response:
    """Answers `/tokenize` in vLLM's words, and in those of text-embeddings-inference for a body with `inputs`."""
    service.check_model(body.model)
    if body.inputs is not None:
        return _tokenize_inputs(service, body)
    if body.messages is not None:
        template = service.chat_template(body.chat_template)
        text = template.render(
            body.messages,
            add_generation_prompt=body.add_generation_prompt,
            continue_final_message=body.continue_final_message,
            arguments=body.chat_template_kwargs,
        )
        special = bool(body.add_special_tokens)
    elif body.prompt is not None:
        text, special = body.prompt, body.add_special_tokens is not False
    else:
        raise HttpError(400, "a 'prompt' or 'messages' is needed.", field="prompt")
    values = 2 if body.return_token_strs else 1
    with fields_as({"prompts": "prompt" if body.messages is None else "messages"}):
        (ids,) = service.encode([text], Tokenization(add_special_tokens=special), values_per_token=values)
    strings = [service.tokenizer.token(int(id_)) for id_ in ids] if body.return_token_strs else None
    return json_response(
        {"count": len(ids), "max_model_len": service.max_length, "tokens": ids.tolist(), "token_strs": strings}
    )


def _tokenize_inputs(service: Service, body: TokenizeRequest) -> Response:
    with fields_as({"prompts": "inputs"}):
        prompts = read_prompts(body.inputs)
        service.check_count("inputs", len(prompts))
        if not all(isinstance(prompt, str) for prompt in prompts):
            raise InputError("inputs must be a text or a list of texts.", field="inputs")
        tokenization = Tokenization(add_special_tokens=body.add_special_tokens is not False)
        found = service.encode(prompts, tokenization, values_per_token=3)
    special = service.tokenizer.special_ids

    def written(ids: list[int]) -> orjson.Fragment:
        # A token as an object takes ten times what it takes as JSON, so only those of one text are objects at a time.
        shown = [{"id": i, "text": service.tokenizer.token(i), "special": i in special} for i in ids]
        return orjson.Fragment(orjson.dumps(shown))

    return large_json_response([written(ids.tolist()) for ids in found])
