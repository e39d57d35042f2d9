"""What requests of several APIs share."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StrictBool,
    StrictInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from jaxembed.server.encoding import EmbedDtype, EncodingFormat, Endianness
from jaxembed.vllm.params import PoolingParams

# One wrong value is told of; a list of a million wrong ones would take seconds to tell.
Fast: Any = Field(fail_fast=True)
INT64 = 2**63 - 1
Int64 = Annotated[StrictInt, Field(ge=-INT64 - 1, le=INT64)]
Ids = Annotated[list[Int64], Fast]

_MESSAGE = {
    "type": "object",
    "properties": {"role": {"type": "string"}, "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {}}]}},
    "required": ["role"],
}
_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}}
# Read by `prompts.read_prompts`, which says better what is wrong than a union of five shapes would.
Prompts = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}},
                _IDS,
                {"type": "array", "items": _IDS},
                {"type": "array", "items": _MESSAGE},
            ],
            "description": "a text, several texts, token ids of one text or of several, or messages",
        }
    ),
]
Messages = Annotated[list[Any], WithJsonSchema({"type": "array", "items": _MESSAGE})]


# Said of a text that is too long.
HOW_TO_TRUNCATE = "send truncate_prompt_tokens: -1, or start the server with --truncate"


class Request(BaseModel):
    """A body. Unknown fields are ignored, as every other server does."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, value: Any) -> Any:
        """Null means what leaving the field out means: clients that are generated from a schema write it for every option."""
        return {key: each for key, each in value.items() if each is not None} if isinstance(value, dict) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Says so in the documentation."""
        made = handler.resolve_ref_schema(handler(schema))
        for name, field in made.get("properties", {}).items():
            if "default" in field and "anyOf" not in field:
                kept = {key: field.pop(key) for key in ("title", "description", "default") if key in field}
                made["properties"][name] = {"anyOf": [field, {"type": "null"}], **kept}
        return made


class ModelRequest(Request):
    """A body that may name the model and says how its texts become tokens."""

    model: str | None = Field(None, description="a served name; the served model if left out")
    user: Annotated[Any, WithJsonSchema({"type": "string"})] = Field(None, description="without effect")
    truncate_prompt_tokens: Annotated[Int64, Field(ge=-1)] | None = Field(
        None, description="cut longer texts to so many tokens, -1 for the model's length; without it they are an error"
    )
    truncation_side: Literal["left", "right"] | None = None
    padding: Literal["max_length", "do_not_pad"] | None = Field(None, description="without effect: texts are packed")
    request_id: str | None = None
    priority: Int64 = Field(0, description="below 0 before others, above 0 behind them; 0 goes by size")
    cache_salt: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(None, description="without effect")
    mm_processor_kwargs: dict[str, Any] | None = None
    use_activation: StrictBool | None = Field(None, description="whether vectors get unit length")

    def tokenization(self, *, add_special_tokens: bool = True) -> dict[str, Any]:
        """Returns vLLM's `tokenization_kwargs` for this request."""
        return {
            "truncate_prompt_tokens": self.truncate_prompt_tokens,
            "truncation_side": self.truncation_side,
            "add_special_tokens": add_special_tokens,
        }


class VectorRequest(ModelRequest):
    """A body that asks for vectors of texts or conversations, in vLLM's words."""

    input: Prompts = None
    messages: Messages | None = None
    prompt_name: str | None = Field(None, description="a prompt of the checkpoint, put before every text")
    encoding_format: EncodingFormat = "float"
    embed_dtype: EmbedDtype = "float32"
    endianness: Endianness = "native"
    dimensions: Int64 | None = Field(None, description="how many leading dimensions to keep, for matryoshka models")
    add_special_tokens: StrictBool | None = Field(None, description="true for texts, false for messages if left out")
    add_generation_prompt: StrictBool = False
    continue_final_message: StrictBool = False
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    media_io_kwargs: dict[str, Any] | None = None
    normalize: Annotated[Any, WithJsonSchema({"type": "null"})] = Field(None, description="was removed")

    @field_validator("normalize")
    @classmethod
    def _removed(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("Parameter `normalize` was removed; use `use_activation` instead.")
        return value

    @property
    def params(self) -> PoolingParams:
        """What each text asks of its vector."""
        return PoolingParams(use_activation=self.use_activation, dimensions=self.dimensions)


class Usage(BaseModel):
    """How many tokens were embedded, special ones included."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: None = None


def usage(tokens: int) -> dict[str, Any]:
    """Returns the `usage` of an answer."""
    return {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0, "prompt_tokens_details": None}


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: int


class ErrorResponse(ErrorDetail):
    """An error, flat for older clients and nested for newer ones."""

    object: Literal["error"]
    error: ErrorDetail


class CohereError(BaseModel):
    """An error as Cohere's clients read it, and as vLLM's do."""

    message: str
    error: ErrorDetail


class TeiError(BaseModel):
    """An error as the clients of text-embeddings-inference read it."""

    error: str
    error_type: str
