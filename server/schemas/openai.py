"""OpenAI's and vLLM's bodies: embeddings, pooling, models, tokens."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool

from jaxembed.server.schemas.common import Fast, Ids, Messages, ModelRequest, Usage, VectorRequest


class EmbeddingRequest(VectorRequest):
    """`input`, or `messages`, and what is asked of their vectors."""


class PoolingRequest(VectorRequest):
    """As for embeddings; `token_embed` gives one vector for each token."""

    task: str | None = Field(None, description="embed or token_embed; embed if left out")
    data: Any = Field(None, description="for plugins, of which there are none")


class EmbeddingItem(BaseModel):
    """The vector of one text."""

    index: int
    object: Literal["embedding"]
    embedding: list[float] | str


class EmbeddingResponse(BaseModel):
    """One vector for each text, in the order of the input."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[EmbeddingItem]
    usage: Usage


class PoolingItem(BaseModel):
    """The vector of one text, or one for each of its tokens."""

    index: int
    object: Literal["pooling"]
    data: list[float] | list[list[float]] | str


class PoolingResponse(BaseModel):
    """One result for each text, in the order of the input."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[PoolingItem]
    usage: Usage


class TokenizeRequest(ModelRequest):
    """A `prompt` or `messages`, or `inputs` as text-embeddings-inference has it."""

    prompt: str | None = None
    messages: Messages | None = None
    inputs: str | Annotated[list[str], Fast] | None = None
    add_special_tokens: StrictBool | None = None
    return_token_strs: StrictBool = False
    add_generation_prompt: StrictBool = True
    continue_final_message: StrictBool = False
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class TokenizeResponse(BaseModel):
    """The token ids of a text."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class DetokenizeRequest(ModelRequest):
    """Token ids."""

    tokens: Ids


class DetokenizeResponse(BaseModel):
    """The text of token ids."""

    prompt: str


class ModelCard(BaseModel):
    """What a client may want to know of the model before it asks for vectors."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    parent: None
    max_model_len: int
    permission: list[dict[str, Any]]
    task: str
    dimension: int
    pooling: list[str]
    normalized: bool
    prompts: dict[str, str]
    matryoshka_dimensions: list[int] | None = Field(description="allowed dimensions, empty for any, null for none")


class ModelList(BaseModel):
    """The names under which the model is served."""

    object: Literal["list"]
    data: list[ModelCard]
