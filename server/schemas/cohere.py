"""Cohere's bodies: embed and rerank."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictStr, field_validator

from jaxembed.server.schemas.common import Fast, Int64, Request

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]


class ImageUrl(Request):
    """Where an image is."""

    url: str | None = None


class Part(Request):
    """A text or an image."""

    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: ImageUrl | None = None

    def require(self) -> None:
        """Raises `ValueError` if the part lacks what its type promises."""
        if self.type == "text" and self.text is None:
            raise ValueError("CohereEmbedContent with type='text' requires text")
        if self.type == "image_url" and (self.image_url is None or self.image_url.url is None):
            raise ValueError("CohereEmbedContent with type='image_url' requires image_url.url")


class Input(Request):
    """One input of several parts."""

    content: Annotated[list[Part], Field(min_length=1, fail_fast=True)]

    @field_validator("content")
    @classmethod
    def _complete(cls, parts: list[Part]) -> list[Part]:
        for part in parts:
            part.require()
        return parts


class CohereEmbedRequest(Request):
    """Exactly one of `texts`, `images` and `inputs`."""

    model: str | None = None
    input_type: str | None = Field(None, description="the name of one of the model's prompts")
    texts: Annotated[list[StrictStr], Fast] | None = None
    images: Annotated[list[StrictStr], Fast] | None = None
    inputs: Annotated[list[Input], Fast] | None = None
    output_dimension: Int64 | None = None
    embedding_types: Annotated[list[EmbeddingType], Field(min_length=1, max_length=16)] | None = None
    truncate: Literal["NONE", "START", "END"] | None = Field(None, description="END if left out")
    max_tokens: Annotated[Int64, Field(ge=1)] | None = None
    priority: Int64 = 0


class CohereEmbedResponse(BaseModel):
    """The vectors under each of the types that were asked for."""

    id: str
    embeddings: dict[str, Any] | list[list[float]]
    texts: list[str] | None
    meta: dict[str, Any]
    response_type: Literal["embeddings_by_type", "embeddings_floats"]
