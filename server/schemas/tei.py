"""The bodies of text-embeddings-inference."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool

from jaxembed.server.schemas.common import Fast, Ids, Int64, Prompts, Request

Cut = Annotated[
    StrictBool | None, Field(description="whether texts that are too long are cut; as the server is set if left out")
]
Direction = Literal["left", "right", "Left", "Right"]
# Said of a text that is too long.
HOW_TO_TRUNCATE = "send truncate: true, or start the server with --truncate"


class EmbedRequest(Request):
    """Texts, and what is asked of their vectors."""

    inputs: Prompts
    normalize: StrictBool | None = True
    truncate: Cut = None
    truncation_direction: Direction = "right"
    prompt_name: str | None = None
    dimensions: Int64 | None = None


class SimilarityInputs(Request):
    """A sentence and those to compare it with."""

    source_sentence: str
    sentences: Annotated[list[str], Fast]


class SimilarityParameters(Request):
    """How the sentences become tokens."""

    truncate: Cut = None
    truncation_direction: Direction = "right"
    prompt_name: str | None = None


class SimilarityRequest(Request):
    """How near sentences are to one."""

    inputs: SimilarityInputs
    parameters: SimilarityParameters | None = None


class DecodeRequest(Request):
    """Token ids of one text or of several."""

    ids: Ids | Annotated[list[Ids], Fast]
    skip_special_tokens: StrictBool = True


class Info(BaseModel):
    """What is served."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    model_type: dict[str, Any]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None


class Rank(BaseModel):
    """One text and how near it is to the query."""

    index: int
    score: float
    text: str | None = None


class Token(BaseModel):
    """One token of a text."""

    id: int
    text: str
    special: bool
