"""infinity's forms where they differ from everybody's: under `/infinity`, for its client and what was written for it."""

import time
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from jaxembed.server.encoding import json_response
from jaxembed.server.errors import Problem
from jaxembed.server.requests import add_route, read, route
from jaxembed.server.routes import openai, scoring
from jaxembed.server.routes.operations import card
from jaxembed.server.schemas.openai import EmbeddingRequest, EmbeddingResponse
from jaxembed.server.schemas.scoring import InfinityRerankResponse, RerankRequest
from jaxembed.server.schemas.tei import Rank
from jaxembed.server.service import Service

PREFIX = "/infinity"
HEALTH = f"{PREFIX}/health"


def add_routes(app: FastAPI, service: Service) -> None:
    """Adds the routes. `/models` is at its bare place too: nobody else's clients look there."""

    async def embeddings(request: Request) -> Response:
        return await openai.embed(service, request, await read(request, EmbeddingRequest))

    async def reranked(request: Request) -> Response:
        return await scoring.rerank(service, request, await read(request, RerankRequest), as_strings=True)

    add_route(
        app,
        f"{PREFIX}/embeddings",
        embeddings,
        face="openai",
        body=EmbeddingRequest,
        answer=EmbeddingResponse,
        summary="Vectors of texts (infinity)",
        tags=["infinity"],
    )
    add_route(
        app,
        f"{PREFIX}/rerank",
        reranked,
        face="openai",
        body=RerankRequest,
        answer=InfinityRerankResponse | list[Rank],
        summary="Documents in order of their similarity with a query, as strings (infinity)",
        tags=["infinity"],
    )

    @route(app, HEALTH, face="openai", tags=["infinity"], summary="Whether the engine works", response_model=dict[str, float])
    async def health() -> Response:
        error = service.scheduler.error
        if error is not None:
            return Problem(503, f"The engine is not available: {error}.", "ServiceUnavailableError").response("openai")
        return json_response({"unix": time.time()})

    @route(app, f"{PREFIX}/models", face="openai", tags=["infinity"], summary="The model that is served", response_model=Any)
    @route(app, "/models", face="openai", include_in_schema=False)
    async def models() -> Response:
        own = {"stats": {}, "owned_by": "infinity", "backend": "jax", "capabilities": ["embed", "rerank"]}
        return json_response({"object": "list", "data": [{**card(service, name), **own} for name in service.names]})
