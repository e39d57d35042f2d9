"""Cohere's `/v2/embed` and `/v1/embed`, for any embedding model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from jaxembed.errors import fields_as
from jaxembed.heads.task import EMBEDDINGS
from jaxembed.server.encoding import cohere_embeddings
from jaxembed.server.errors import HttpError
from jaxembed.server.requests import add_route, gone, is_large, new_id, read, written
from jaxembed.server.schemas.cohere import CohereEmbedRequest, CohereEmbedResponse
from jaxembed.server.service import Asked, Service
from jaxembed.vllm.params import PoolingParams

# Cohere's own input types, and the names under which checkpoints keep the same prompt.
COHERE_TYPES: Mapping[str, tuple[str, ...]] = {
    "search_query": ("query",),
    "search_document": ("document", "passage", "corpus"),
    "classification": ("classification",),
    "clustering": ("clustering",),
    "image": (),
}
_LENIENT = "Start the server without --cohere-input-type strict to accept Cohere's own input types."


@dataclass(frozen=True)
class Prompting:
    """What an `input_type` means. warning: what the client should know, or None."""

    prefix: str
    warning: str | None = None


def add_routes(app: FastAPI, service: Service) -> None:
    """Adds the routes."""

    async def embed_v2(request: Request) -> Response:
        return await embed(service, request, await read(request, CohereEmbedRequest), version="2")

    async def embed_v1(request: Request) -> Response:
        return await embed(service, request, await read(request, CohereEmbedRequest), version="1")

    for path, handler in (("/v2/embed", embed_v2), ("/v1/embed", embed_v1)):
        add_route(
            app,
            path,
            handler,
            face="cohere",
            body=CohereEmbedRequest,
            answer=CohereEmbedResponse,
            summary=f"Vectors of texts (Cohere, version {path[2]})",
            tags=["embeddings"],
        )


async def embed(service: Service, request: Request, body: CohereEmbedRequest, *, version: str) -> Response:
    """Answers `/v2/embed`, and `/v1/embed`, where a request without types gets a plain list of vectors."""
    service.check_model(body.model)
    service.check_task(EMBEDDINGS, "Embeddings API")
    prompting = prompting_for(service, body.input_type)
    limit = min(body.max_tokens or service.max_length, service.max_length)
    cut = body.truncate != "NONE"
    given = "texts" if body.texts else "inputs"
    names = {"prompts": given, "messages": given, "dimensions": "output_dimension", "max_length": "max_tokens"}
    with fields_as(names, truncate="send truncate: END or START"):
        if body.inputs is None or service.template is None:
            prompts, prefix = await service.threads.run(is_large(request), _prompts, service, body, prompting.prefix)
        else:
            prompts, prefix = await service.rendering(_prompts, service, body, prompting.prefix)
        asked = Asked(
            prompts=prompts,
            params=PoolingParams(dimensions=body.output_dimension),
            options={
                "truncate_prompt_tokens": limit if cut else None,
                "truncation_side": "left" if body.truncate == "START" else "right",
            },
            prefix=prefix,
            max_tokens=None if cut else body.max_tokens,
            cut=cut,
            priority=body.priority,
            gone=gone(request),
        )
        answer = await service.run(asked)
    by_type = version == "2" or body.embedding_types is not None
    made = await service.threads.run(answer.is_large, cohere_embeddings, answer.results, body.embedding_types or ["float"])
    meta: dict[str, Any] = {
        "api_version": {"version": version},
        "billed_units": {"input_tokens": answer.tokens, "image_tokens": 0},
    }
    if prompting.warning is not None:
        meta["warnings"] = [prompting.warning]
    whole = {
        "id": new_id(request, "embd"),
        "embeddings": made if by_type else made["float"],
        "texts": body.texts,
        "meta": meta,
        "response_type": "embeddings_by_type" if by_type else "embeddings_floats",
    }
    return await written(request, whole, large=answer.is_large)


def prompting_for(service: Service, input_type: str | None) -> Prompting:
    """Returns the prompt that an `input_type` means. Raises a 400 for one that the model does not have.

    The table is `task_instructions` of `config.json`, else the prompts of `config_sentence_transformers.json`.
    """
    table = service.recipe.task_instructions or service.recipe.prompts
    if input_type is None:
        return Prompting("")
    if input_type in table:
        return Prompting(table[input_type])
    if service.settings.cohere_input_type == "lenient" and input_type in COHERE_TYPES:
        for name in COHERE_TYPES[input_type]:
            if name in table:
                return Prompting(table[name])
        return Prompting("", f"This model has no prompt for input_type {input_type!r}; the texts were embedded as they are.")
    if not table:
        why = "This model does not define any input_type task instructions."
    else:
        why = f"Supported values: {', '.join(sorted(table))}"
    advice = f" {_LENIENT}" if input_type in COHERE_TYPES else ""
    raise HttpError(400, f"Unsupported input_type {input_type!r}. {why}{advice}", field="input_type")


def _prompts(service: Service, body: CohereEmbedRequest, prefix: str) -> tuple[list[str], str]:
    """Returns the texts to embed, and what is still to be put before each."""
    given = [each for each in (body.texts, body.images, body.inputs) if each is not None]
    if len(given) != 1 or not given[0]:
        raise HttpError(400, "Exactly one of texts, images, or inputs must be provided, and it must be non-empty")
    service.check_count("texts" if body.texts else "inputs", len(given[0]))
    parts = [part for each in body.inputs or () for part in each.content]
    if body.images or any(part.type == "image_url" for part in parts):
        raise HttpError(400, "Images cannot be embedded: the model that is served takes text only.")
    if body.texts:
        return body.texts, prefix
    template = service.template
    texts = [[part.text or "" for part in each.content] for each in body.inputs or ()]
    if template is None:
        return ["\n".join(each) for each in texts], prefix
    system = [{"role": "system", "content": prefix}] if prefix else []
    return [template.render([*system, {"role": "user", "content": list(each)}]) for each in texts], ""
