"""The FastAPI application: routes, errors and documentation put together. No jax, no queue, no model in here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jaxembed import __version__
from jaxembed.errors import JaxEmbedError
from jaxembed.server.door import Door
from jaxembed.server.errors import Problem
from jaxembed.server.faces import Faces
from jaxembed.server.gate import Gate
from jaxembed.server.metrics import Metrics
from jaxembed.server.routes import cohere, infinity, ollama, openai, operations, pages, scoring, tei
from jaxembed.server.service import Service
from jaxembed.server.tracing import Tracing

_REF = "#/components/schemas/{model}"


def create_app(service: Service, *, tracing: Tracing | None = None) -> FastAPI:
    """Returns the application that serves a model; its lifespan starts and stops the service.

    Its `state` holds what is looked up: the settings, the threads, the door, and by path the schema of the body and the face.

    Args:
        service: the model that is served.
        tracing: where spans go, by default where the settings say.

    Raises:
        InputError: the settings name a place for spans and the packages are missing, or more connections than can be.
    """
    settings = service.settings
    if tracing is None and settings.otlp_traces_endpoint:
        tracing = Tracing(settings.otlp_traces_endpoint)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()
        if tracing is not None:
            tracing.close()

    app = FastAPI(
        title="jaxembed",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.docs else None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings, app.state.threads = settings, service.threads
    app.state.bodies, app.state.faces = {}, Faces()
    for own in app.routes:
        assert isinstance(own, Route), "FastAPI's own, the documentation"
        app.state.faces.add(own.path, "openai")
    app.state.door = Door(settings)
    metrics = Metrics(service, app.state.door)
    for routes in (openai, cohere, scoring, tei, infinity, ollama):
        routes.add_routes(app, service)
    operations.add_routes(app, service, metrics)
    pages.add_routes(app, docs=settings.docs)
    for error in (JaxEmbedError, ValidationError, HTTPException, OverflowError):
        app.add_exception_handler(error, _answer)
    app.add_middleware(Gate, settings=settings, faces=app.state.faces, metrics=metrics, tracing=tracing)
    if settings.allowed_origins:
        # Outside the gate: a page may read why it was refused.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.allowed_origins),
            allow_methods=list(settings.allowed_methods),
            allow_headers=list(settings.allowed_headers),
            allow_credentials=settings.allow_credentials,
        )
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


async def _answer(request: Request, error: Exception) -> Response:
    if isinstance(error, OverflowError):
        error = HTTPException(400, "a number in the request is too large.")
    return Problem.of(error).response(request.app.state.faces.of(request.scope))


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Returns FastAPI's description, with the bodies that handlers read themselves."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        bodies: dict[str, type[BaseModel]] = app.state.bodies
        for path, operations_ in schema["paths"].items():
            if path in bodies:
                ref = {"$ref": _REF.format(model=bodies[path].__name__)}
                operations_["post"]["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref}}}
        wanted: list[tuple[type[BaseModel], Literal["validation"]]] = [
            (body, "validation") for body in dict.fromkeys(bodies.values())
        ]
        _, made = models_json_schema(wanted, ref_template=_REF)
        schema.setdefault("components", {}).setdefault("schemas", {}).update(made.get("$defs", {}))
        app.openapi_schema = schema
    return app.openapi_schema
