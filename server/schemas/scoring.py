"""vLLM's, Jina's and Cohere's bodies for scores and reranking."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool, WithJsonSchema

from jaxembed.server.schemas.common import Fast, Int64, ModelRequest, Usage
from jaxembed.server.schemas.tei import Cut

_TEXT = {"anyOf": [{"type": "string"}, {"type": "object"}]}
# A text, {"content": [parts]}, Cohere's {"text": ...}, or a list of those; read by `scoring.texts_of_side`.
Side = Annotated[Any, WithJsonSchema({"anyOf": [*_TEXT["anyOf"], {"type": "array", "items": _TEXT}]})]
Limit = Annotated[Int64, Field(ge=0, description="tokens a text is cut to, 0 for no cut")]


class ScoreRequest(ModelRequest):
    """Two sides under any one pair of names: one with one, one with many, many with as many."""

    queries: Side = None
    documents: Side = None
    items: Side = None
    data_1: Side = None
    data_2: Side = None
    text_1: Side = None
    text_2: Side = None
    max_tokens_per_query: Limit | None = None
    max_tokens_per_doc: Limit | None = None


class ScoreItem(BaseModel):
    """The similarity of one pair."""

    index: int
    object: Literal["score"]
    score: float


class ScoreResponse(BaseModel):
    """One score for each pair."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[ScoreItem]
    usage: Usage


class RerankRequest(ModelRequest):
    """A query, and documents to be put in order. `texts` instead of `documents` is text-embeddings-inference's form."""

    query: Side = None
    documents: Side = None
    texts: Annotated[list[str], Fast] | None = None
    top_n: Annotated[Int64, Field(ge=0)] | None = Field(None, description="how many to return, 0 or nothing for all")
    max_tokens_per_query: Limit | None = None
    max_tokens_per_doc: Limit | None = None
    return_documents: StrictBool | None = Field(None, description="false leaves the documents out of the answer")
    return_text: StrictBool = False
    raw_scores: StrictBool = False
    truncate: Cut = None
    truncation_direction: Literal["left", "right", "Left", "Right"] = "right"


class RerankResult(BaseModel):
    """One document and how near it is to the query."""

    index: int
    document: dict[str, Any] | None = None
    relevance_score: float


class InfinityResult(RerankResult):
    """The same, with the document as a string."""

    document: str | None = None  # type: ignore[assignment]


class RerankResponse(BaseModel):
    """The nearest documents first."""

    id: str
    model: str
    usage: Usage
    results: list[RerankResult]
    meta: dict[str, Any]


class InfinityRerankResponse(RerankResponse):
    """The same, with documents as strings."""

    results: list[InfinityResult]  # type: ignore[assignment]
