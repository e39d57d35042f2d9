"""OpenAI's `/v1/embeddings` with vLLM's extensions, and vLLM's `/pooling`."""

import time
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from jaxembed.errors import InputError, fields_as
from jaxembed.heads.task import EMBEDDINGS, POOLING, Task
from jaxembed.heads.tasks import TASKS, asked_by
from jaxembed.inputs.prompts import Prompt, read_prompts
from jaxembed.server.encoding import vectors_response
from jaxembed.server.errors import HttpError
from jaxembed.server.requests import add_route, gone, is_large, new_id, read, route
from jaxembed.server.schemas.common import HOW_TO_TRUNCATE, VectorRequest, usage
from jaxembed.server.schemas.openai import EmbeddingRequest, EmbeddingResponse, PoolingRequest, PoolingResponse
from jaxembed.server.service import Answer, Asked, Service


def add_routes(app: FastAPI, service: Service) -> None:
    """Adds the routes."""

    async def embeddings(request: Request) -> Response:
        return await embed(service, request, await read(request, EmbeddingRequest))

    async def pooling(request: Request) -> Response:
        return await pool(service, request, await read(request, PoolingRequest))

    add_route(
        app,
        ("/v1/embeddings", "/embeddings"),
        embeddings,
        face="openai",
        body=EmbeddingRequest,
        answer=EmbeddingResponse,
        summary="Vectors of texts (OpenAI)",
        tags=["embeddings"],
        raw=True,
    )

    @route(app, "/classify", face="openai", methods=("POST",), include_in_schema=False)
    async def classify() -> Response:
        raise HttpError(501, "The model does not support Classification API")

    add_route(
        app,
        "/pooling",
        pooling,
        face="openai",
        body=PoolingRequest,
        answer=PoolingResponse,
        summary="Vectors of texts or of all their tokens (vLLM)",
        tags=["embeddings"],
        raw=True,
    )


async def embed(service: Service, request: Request, body: EmbeddingRequest) -> Response:
    """Answers `/v1/embeddings`."""
    name = service.check_model(body.model)
    service.check_task(EMBEDDINGS, "Embeddings API")
    answer = await _run(service, request, body, service.task)
    return await _respond(service, request, body, answer, name, prefix="embd", item="embedding", field="embedding")


async def pool(service: Service, request: Request, body: PoolingRequest) -> Response:
    """Answers `/pooling`."""
    name = service.check_model(body.model)
    name_of_task = body.task or service.task.name
    if body.data is not None:
        raise InputError(
            "No IOProcessor plugin installed. Please refer to the documentation and to the "
            "'prithvi_geospatial_mae_io_processor' offline inference example for more details.",
            field="data",
        )
    if name_of_task not in asked_by(POOLING):
        raise HttpError(400, f"Unsupported task: {name_of_task!r} Supported tasks: {asked_by(POOLING)}", field="task")
    if body.dimensions is not None:
        raise HttpError(400, "dimensions is currently not supported", field="dimensions")
    answer = await _run(service, request, body, TASKS[name_of_task])
    return await _respond(service, request, body, answer, name, prefix="pooling", item="pooling", field="data")


async def _run(service: Service, request: Request, body: VectorRequest, task: Task) -> Answer:
    given = "input" if body.messages is None else "messages"
    names = {"prompts": given, "messages": given, "max_length": "truncate_prompt_tokens"}
    with fields_as(names, truncate=HOW_TO_TRUNCATE):
        if _conversations(body.messages if body.messages is not None else body.input) is None:
            prompts, is_chat = await service.threads.run(is_large(request), prompts_of, service, body)
        else:
            prompts, is_chat = await service.rendering(prompts_of, service, body)
        service.check_count("input", len(prompts))
        service.check_ids(prompts, request.headers.get("user-agent", ""))
        special = body.add_special_tokens if body.add_special_tokens is not None else not is_chat
        asked = Asked(
            prompts=prompts,
            params=body.params,
            task=task,
            options=body.tokenization(add_special_tokens=special),
            prefix=service.prompt(body.prompt_name),
            priority=body.priority,
            gone=gone(request),
        )
        return await service.run(asked)


def prompts_of(service: Service, body: VectorRequest) -> tuple[list[Prompt], bool]:
    """Returns the prompts of a request, and whether they are rendered conversations."""
    found = body.input
    if body.messages is not None:
        if found is not None:
            raise InputError("give either 'input' or 'messages', not both.", field="messages")
        found = body.messages
    if found is None:
        raise HttpError(400, "1 validation error:\n  {'type': 'missing', 'loc': ('body', 'input'), 'msg': 'Field required'}",
                        field="body.input", type_="Bad Request")  # fmt: skip
    conversations = _conversations(found)
    if conversations is None:
        if body.messages is not None:
            raise InputError(
                "'messages' must be a list of messages, each an object with a role and a content.", field="messages"
            )
        return read_prompts(found), False
    service.check_count("messages", len(conversations))
    template = service.chat_template(body.chat_template)
    return [
        template.render(
            messages,
            add_generation_prompt=body.add_generation_prompt,
            continue_final_message=body.continue_final_message,
            arguments=body.chat_template_kwargs,
        )
        for messages in conversations
    ], True


def _conversations(found: Any) -> list[list[dict[str, Any]]] | None:
    """Reads a conversation or a list of them; None if it is something else."""
    if not isinstance(found, list) or not found:
        return None
    if all(isinstance(each, dict) and "role" in each for each in found):
        return [found]
    if all(isinstance(each, list) and each and all(isinstance(one, dict) for one in each) for each in found):
        return found
    return None


async def _respond(
    service: Service, request: Request, body: VectorRequest, answer: Answer, name: str, *, prefix: str, item: str, field: str
) -> Response:
    large = answer.is_large
    head = {"id": new_id(request, prefix, body.request_id), "object": "list", "created": int(time.time()), "model": name}
    return await service.threads.run(
        large,
        vectors_response,
        head,
        answer.results,
        usage(answer.tokens),
        name=item,
        field=field,
        encoding=body.encoding_format,
        dtype=body.embed_dtype,
        endianness=body.endianness,
        in_thread=large,
    )
