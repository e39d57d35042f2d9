"""Ollama's bodies."""

from typing import Annotated, Any

from pydantic import BaseModel, StrictBool, StrictStr

from jaxembed.server.schemas.common import Fast, Int64, Request


class OllamaEmbedRequest(Request):
    """Texts. `options` and `keep_alive` are for models that come and go, and without effect."""

    model: StrictStr | None = None
    input: StrictStr | Annotated[list[StrictStr], Fast] | None = None
    truncate: StrictBool = True
    dimensions: Int64 | None = None
    options: dict[str, Any] | None = None
    keep_alive: Any = None


class OllamaEmbedResponse(BaseModel):
    """Their vectors; times are nanoseconds."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class OllamaEmbeddingsRequest(Request):
    """One text, in Ollama's older form."""

    model: StrictStr | None = None
    prompt: StrictStr = ""
    truncate: StrictBool = True
    options: dict[str, Any] | None = None
    keep_alive: Any = None


class OllamaEmbeddingsResponse(BaseModel):
    """Its vector."""

    embedding: list[float]


class OllamaError(BaseModel):
    """An error as Ollama's clients read it."""

    error: str
