"""What can be set about the server, as plain values; the command line and the environment fill it."""

from dataclasses import dataclass
from typing import Literal

from jaxembed.inputs.chat import ContentFormat

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that the server itself needs to know; what concerns the model is the engine's.

    Attributes:
        served_model_names: names that requests may use; the first is shown.
        api_keys: requests must bring one of them, if there are any.
        guard_metrics: whether `/metrics` asks for a key too.
        allowed_origins, allowed_methods, allowed_headers, allow_credentials: CORS, off without origins.
        max_items: texts in one request.
        max_body_bytes: of one request.
        max_open_bytes: received of all open requests together.
        max_request_values: JSON values in one body.
        max_answer_values: numbers in the vectors of one answer.
        max_queue_tokens: tokens that may wait.
        max_wait_seconds: a longer predicted wait is refused.
        max_bulk_wait_seconds: the same for requests of more than a row.
        request_timeout_seconds: the deadline of a request, and of its body.
        body_timeout_seconds: how long the next part of a body may take.
        head_timeout_seconds: how long the head of a request may take, and a new connection to begin one.
        keep_alive_seconds: how long an idle connection is kept open after an answer.
        max_connections: further ones are refused; None for half as many as the system lets the process open files.
        drain_seconds: how long shutting down waits for open requests.
        stall_seconds: a device that is silent for so long counts as failed.
        truncate: whether texts that are too long are cut where a request does not say; each API has its own way to say so.
        max_embed_tokens: tokens of the longest text, if those that the model does not take whole are embedded in windows.
        cohere_input_type: "lenient" takes Cohere's own input types on every model, "strict" the names of its prompts only.
        token_ids: whether requests may carry ids; None refuses them from clients that send those of another tokenizer.
        chat_template: Jinja source, instead of the checkpoint's.
        chat_template_content_format: how the template wants a message's content.
        trust_request_chat_template: whether requests may bring templates of their own.
        request_id_headers: whether answers carry `X-Request-Id`.
        access_log: whether each request is logged.
        docs: whether there are `/docs` and `/openapi.json`.
        tokenizer_info: whether there is `/tokenizer_info`.
        root_path: the path under which a proxy shows the server.
        otlp_traces_endpoint: where spans are sent, None for nowhere.
    """

    served_model_names: tuple[str, ...] = ()
    api_keys: tuple[str, ...] = ()
    guard_metrics: bool = False
    allowed_origins: tuple[str, ...] = ()
    allowed_methods: tuple[str, ...] = ("*",)
    allowed_headers: tuple[str, ...] = ("*",)
    allow_credentials: bool = False
    max_items: int = 2048
    max_body_bytes: int = 64 * MIB
    max_open_bytes: int = 512 * MIB
    max_request_values: int = 1 << 20
    max_answer_values: int = 1 << 24
    max_queue_tokens: int = 1 << 20
    max_wait_seconds: float = 5.0
    max_bulk_wait_seconds: float = 30.0
    request_timeout_seconds: float = 120.0
    body_timeout_seconds: float = 10.0
    head_timeout_seconds: float = 10.0
    keep_alive_seconds: float = 75.0
    max_connections: int | None = None
    drain_seconds: float = 30.0
    stall_seconds: float = 120.0
    truncate: bool = False
    max_embed_tokens: int | None = None
    cohere_input_type: Literal["strict", "lenient"] = "lenient"
    token_ids: bool | None = None
    chat_template: str | None = None
    chat_template_content_format: ContentFormat = "auto"
    trust_request_chat_template: bool = False
    request_id_headers: bool = True
    access_log: bool = True
    docs: bool = True
    tokenizer_info: bool = False
    root_path: str = ""
    otlp_traces_endpoint: str | None = None
