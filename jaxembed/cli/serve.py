"""`jaxembed serve`: the model over HTTP, with vLLM's flags under vLLM's names."""

import argparse
import ipaddress
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxembed.cli.config_file import read_config
from jaxembed.cli.flags import Flag, json_list, json_object, json_value, positive, read, seconds, some_seconds
from jaxembed.cli.foreign import IDLE_FLAGS, idle
from jaxembed.errors import InputError
from jaxembed.vllm.params import PoolerConfig

if TYPE_CHECKING:
    from jaxembed.server.listen import Listen
    from jaxembed.server.settings import Settings
    from jaxembed.vllm.llm import LLM

_MIB = 1 << 20
# Of vLLM's pooler config, what the server does and the model knows nothing of.
_WINDOWS = ("enable_chunked_processing", "max_embed_len")
_CERTIFICATES = ("0", "1", "2")  # ssl.CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED

CONFIG = Flag("config", "a YAML file of these flags; the command line and the environment win", metavar="FILE")
MODEL = [
    CONFIG,
    Flag("model", "a folder or a hub name, instead of MODEL", metavar="MODEL"),
    Flag("task", "embed is what there is; vLLM's older word for --runner", choices=("auto", "embed", "embedding")),
    Flag("runner", "pooling is what there is", choices=("auto", "pooling", "generate"), default="auto"),
    Flag(
        "convert",
        "embed takes a classifier or reranker without its head",
        choices=("auto", "none", "embed", "classify"),
        default="auto",
    ),
    Flag("pooler-config", "JSON, or field by field as --pooler-config.pooling_type MEAN", json_object, metavar="JSON"),
    *(
        Flag(f"pooler-config.{name}", argparse.SUPPRESS, json_value, metavar="VALUE")
        for name in PoolerConfig.__dataclass_fields__
    ),
    Flag("hf-overrides", "merged into the checkpoint's config.json", json_object, metavar="JSON"),
    Flag("tokenizer", "a folder or hub name for the tokenizer"),
    Flag("revision", "branch, tag or commit of a hub model"),
    Flag("trust-remote-code", "accepted and never needed: no code of a checkpoint is executed", bool, False),
    Flag("dtype", "auto, float32, bfloat16, or float16 (half)", default="auto"),
    Flag("max-model-len", "tokens of the longest text", positive, metavar="N"),
    Flag("download-dir", "where hub models are kept", metavar="FOLDER"),
    Flag("hf-token", "for gated models; `ps` shows it, the variable HF_TOKEN does not", metavar="TOKEN"),
    Flag("quantization", "int8: the matrices of the layers in 8 bits", short="-q", metavar="NAME"),
    Flag("enable-lora", "not supported yet", bool, False),
    Flag("tensor-parallel-size", "1 is what there is", positive, 1, short="-tp", metavar="N"),
    Flag("pipeline-parallel-size", "1 is what there is", positive, 1, short="-pp", metavar="N"),
    Flag("data-parallel-size", "1 is what there is", positive, 1, short="-dp", metavar="N"),
]
NAMES = [
    Flag("served-model-name", "names that requests may use", several=True, metavar="NAME"),
    Flag("chat-template", "a file, or Jinja itself, instead of the checkpoint's", metavar="TEMPLATE"),
    Flag(
        "chat-template-content-format",
        "how the template wants a message's content",
        choices=("auto", "string", "openai"),
        default="auto",
    ),
    Flag("trust-request-chat-template", "let requests bring templates of their own", bool, False),
    Flag(
        "cohere-input-type",
        "lenient: every model takes Cohere's own input types; strict: the names of its prompts only, as in vLLM",
        choices=("strict", "lenient"),
        default="lenient",
    ),
    Flag(
        "token-ids",
        "whether requests may hold token ids; if not said, those of OpenAI's package and langchain are refused, because they "
        "are of another tokenizer",
        bool,
    ),
    Flag(
        "truncate",
        "cut texts that are too long where a request does not say; without it they are an error, but Cohere's and Ollama's "
        "routes cut always",
        bool,
        False,
        aliases=("auto-truncate",),
    ),
]
NETWORK = [
    Flag("host", "the address to listen on; 0.0.0.0 for all", default="127.0.0.1"),
    Flag("port", "the port to listen on", int, 8000),
    Flag("uds", "a Unix socket to listen on instead", metavar="PATH"),
    Flag("forwarded-allow-ips", "proxies whose X-Forwarded-For is believed; none by default", metavar="IPS"),
    Flag("root-path", "the path under which a proxy shows the server", default=""),
    Flag("ssl-keyfile", "TLS: the key", metavar="FILE"),
    Flag("ssl-certfile", "TLS: the certificate", metavar="FILE"),
    Flag("ssl-ca-certs", "TLS: authorities for the clients' certificates", metavar="FILE"),
    Flag("ssl-cert-reqs", "TLS: whether clients need a certificate (0, 1, 2)", choices=_CERTIFICATES, default="0"),
    Flag("api-key", "keys that requests must bring; `ps` shows them, --api-key-file does not", several=True, metavar="KEY"),
    Flag("api-key-file", "a file with one key a line", metavar="FILE"),
    Flag("guard-metrics", "ask for a key at /metrics too", bool, False),
    Flag("allowed-origins", "CORS, off by default", json_list, (), metavar="JSON"),
    Flag("allowed-methods", "CORS", json_list, ("*",), metavar="JSON"),
    Flag("allowed-headers", "CORS", json_list, ("*",), metavar="JSON"),
    Flag("allow-credentials", "CORS", bool, False),
    Flag("enable-request-id-headers", "answer with X-Request-Id", bool, True),
    Flag("disable-uvicorn-access-log", "no line for each request", bool, False),
    Flag("disable-fastapi-docs", "no /docs and no /openapi.json", bool, False),
    Flag("enable-tokenizer-info-endpoint", "GET /tokenizer_info", bool, False),
    Flag("otlp-traces-endpoint", "send OpenTelemetry spans to this URL (needs jaxembed[otel])", metavar="URL"),
    Flag("uvicorn-log-level", "how much is logged", choices=("debug", "info", "warning", "error", "critical"), default="info"),
]
LIMITS = [
    Flag("max-items", "texts in one request", positive, 2048, metavar="N"),
    Flag("max-body-mib", "of one request", positive, 64, metavar="MIB"),
    Flag("max-open-mib", "received of all open requests together", positive, 512, metavar="MIB"),
    Flag("max-request-values", "JSON values in one body", positive, 1 << 20, metavar="N"),
    Flag("max-answer-values", "numbers in the vectors of one answer", positive, 1 << 24, metavar="N"),
    Flag("max-queue-tokens", "tokens that may wait", positive, 1 << 20, metavar="N"),
    Flag("max-wait-seconds", "a longer predicted wait is refused with 429 (default: 5, and 30 for bulk)", seconds, metavar="S"),
    Flag("max-bulk-wait-seconds", "the same for requests of more than a row (default: as above)", seconds, metavar="S"),
    Flag("request-timeout-seconds", "the deadline of a request", seconds, 120.0, metavar="S"),
    Flag("body-timeout-seconds", "how long the next part of a body may take", seconds, 10.0, metavar="S"),
    Flag("head-timeout-seconds", "how long a request's head may take", some_seconds, 10.0, metavar="S"),
    Flag("keep-alive-seconds", "how long an idle connection is kept, longer than proxies do", seconds, 75.0, metavar="S"),
    Flag("max-connections", "more are refused (default: half of ulimit -n)", positive, metavar="N"),
    Flag("drain-seconds", "how long open requests are waited for at the end", seconds, 30.0, metavar="S"),
    Flag("stall-seconds", "a device that is silent for so long counts as failed", seconds, 120.0, metavar="S"),
]
GROUPS = {"the model": MODEL, "names and templates": NAMES, "the network": NETWORK, "limits": LIMITS}
FLAGS = [*MODEL, *NAMES, *NETWORK, *LIMITS, *IDLE_FLAGS]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.epilog = (
        "Every flag is also an environment variable: --max-model-len is JAXEMBED_MAX_MODEL_LEN. Underscores may stand for "
        "dashes, and --hf-overrides.KEY VALUE gives one key. text-embeddings-inference's and infinity's names are known."
    )
    parser.add_argument("model_tag", nargs="?", metavar="MODEL", help="a folder or a hub name (default: all-MiniLM-L6-v2)")
    for title, flags in GROUPS.items():
        group = parser.add_argument_group(title)
        for flag in flags:
            flag.add_to(group)
    for flag in IDLE_FLAGS:  # --help does not list them
        flag.add_to(parser)


def run(arguments: argparse.Namespace) -> None:
    """Serves until it is told to end."""
    file = arguments.config or os.environ.get(CONFIG.variable)
    from_file = read_config(file, FLAGS) if file else {}
    if arguments.model_tag:
        from_file.pop("model", None)
    values = read(FLAGS, arguments, os.environ, file=from_file)
    if arguments.model_tag and values["model"] and arguments.model_tag != values["model"]:
        raise InputError(
            f"two models are named, {arguments.model_tag!r} and {values['model']!r}; one server has one.", field="MODEL"
        )
    values["model"] = arguments.model_tag or values["model"]
    for line in idle(values):
        print(f"jaxembed: {line}", file=sys.stderr)
    given, where = settings(values, os.environ), listen(values)
    from jaxembed.server.run import serve

    def say(line: str) -> None:
        print(line, flush=True)

    serve(lambda: _load(values, os.environ), given, where, say=say, log_level=values["uvicorn_log_level"])


def pooler_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of `--pooler-config`, with those given one by one on top."""
    single = {name: values[f"pooler_config_{name}"] for name in PoolerConfig.__dataclass_fields__}
    return {**(values["pooler_config"] or {}), **{name: value for name, value in single.items() if value is not None}}


def max_embed_tokens(pooler: Mapping[str, Any]) -> int | None:
    """Returns how long a text may be if long ones are embedded in windows, None if they are not.

    Raises:
        InputError: the length is none.
    """
    length = pooler.get("max_embed_len")
    if not pooler.get("enable_chunked_processing") or length is None:
        return None
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise InputError(f"max_embed_len must be an int above 0, not {length!r}.", field="pooler_config.max_embed_len")
    return length


def without_windows(pooler: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what of the pooler's config is for the model: the windows of long texts are the server's alone, as in vLLM."""
    chunked = pooler.get("enable_chunked_processing")
    return {name: value for name, value in pooler.items() if not (chunked and name in _WINDOWS)}


def settings(values: Mapping[str, Any], environment: Mapping[str, str]) -> "Settings":
    """Returns what the flags say about the server."""
    from jaxembed.server.settings import Settings

    return Settings(
        served_model_names=tuple(values["served_model_name"] or ()),
        api_keys=_api_keys(values, environment),
        guard_metrics=values["guard_metrics"],
        allowed_origins=tuple(values["allowed_origins"]),
        allowed_methods=tuple(values["allowed_methods"]),
        allowed_headers=tuple(values["allowed_headers"]),
        allow_credentials=values["allow_credentials"],
        max_items=values["max_items"],
        max_body_bytes=values["max_body_mib"] * _MIB,
        max_open_bytes=values["max_open_mib"] * _MIB,
        max_request_values=values["max_request_values"],
        max_answer_values=values["max_answer_values"],
        max_queue_tokens=values["max_queue_tokens"],
        **_waits(values["max_wait_seconds"], values["max_bulk_wait_seconds"]),
        request_timeout_seconds=values["request_timeout_seconds"],
        body_timeout_seconds=values["body_timeout_seconds"],
        head_timeout_seconds=values["head_timeout_seconds"],
        keep_alive_seconds=values["keep_alive_seconds"],
        max_connections=values["max_connections"],
        drain_seconds=values["drain_seconds"],
        stall_seconds=values["stall_seconds"],
        truncate=values["truncate"],
        max_embed_tokens=max_embed_tokens(pooler_config(values)),
        cohere_input_type=values["cohere_input_type"],
        token_ids=values["token_ids"],
        chat_template=_template(values["chat_template"]),
        chat_template_content_format=values["chat_template_content_format"],
        trust_request_chat_template=values["trust_request_chat_template"],
        request_id_headers=values["enable_request_id_headers"],
        access_log=not values["disable_uvicorn_access_log"],
        docs=not values["disable_fastapi_docs"],
        tokenizer_info=values["enable_tokenizer_info_endpoint"],
        root_path=_root_path(values["root_path"]),
        otlp_traces_endpoint=values["otlp_traces_endpoint"],
    )


def _waits(most: float | None, bulk: float | None) -> dict[str, float]:
    """Returns what was said about waiting: what holds for one lane alone is said for both."""
    bulk = most if bulk is None else bulk
    given = {"max_wait_seconds": most, "max_bulk_wait_seconds": bulk}
    return {name: value for name, value in given.items() if value is not None}


def listen(values: Mapping[str, Any]) -> "Listen":
    """Returns where the flags say to listen."""
    from jaxembed.server.listen import Listen

    if not 0 < values["port"] < 65536:
        raise InputError(f"--port must be 1 to 65535, not {values['port']}.", field="--port")
    if ":" in values["host"] and not _is_ipv6(values["host"]):
        raise InputError(f"--host takes an address alone, not {values['host']!r}; the port goes to --port.", field="--host")
    if values["uds"] and Path(values["uds"]).exists() and not Path(values["uds"]).is_socket():
        raise InputError(f"--uds {values['uds']} is there and is no socket; choose a path that is free.", field="--uds")
    names = ("host", "port", "uds", "forwarded_allow_ips", "ssl_keyfile", "ssl_certfile", "ssl_ca_certs")
    return Listen(**{name: values[name] for name in names}, ssl_cert_reqs=int(values["ssl_cert_reqs"]))


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _load(values: Mapping[str, Any], environment: Mapping[str, str]) -> "LLM":
    from jaxembed.vllm.llm import LLM

    names = values["served_model_name"]
    return LLM(
        values["model"],
        runner=values["runner"],
        convert=values["convert"],
        tokenizer=values["tokenizer"],
        trust_remote_code=values["trust_remote_code"],
        dtype=values["dtype"],
        max_model_len=values["max_model_len"],
        revision=values["revision"],
        hf_token=values["hf_token"] or environment.get("HF_TOKEN"),
        hf_overrides=values["hf_overrides"],
        pooler_config=without_windows(pooler_config(values)),
        download_dir=values["download_dir"],
        served_model_name=names[0] if names else None,
        quantization=values["quantization"],
        enable_lora=values["enable_lora"],
        tensor_parallel_size=values["tensor_parallel_size"],
        pipeline_parallel_size=values["pipeline_parallel_size"],
        data_parallel_size=values["data_parallel_size"],
    )


def _api_keys(values: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[str, ...]:
    keys = list(values["api_key"] or ())
    if values["api_key_file"]:
        lines = _text(values["api_key_file"], "--api-key-file").splitlines()
        found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not found:
            raise InputError(f"--api-key-file {values['api_key_file']} holds no key.", field="--api-key-file")
        keys += found
    keys = keys or [environment[name] for name in ("JAXEMBED_API_KEY", "VLLM_API_KEY") if name in environment]
    # A deployment whose secret came out empty means to be guarded; serving everybody would be the opposite.
    if not all(key.strip() for key in keys):
        raise InputError(
            "an API key is empty; give a key, or leave out --api-key, JAXEMBED_API_KEY and VLLM_API_KEY.", field="--api-key"
        )
    if not keys and environment.get("JAXEMBED_API_KEY_FILE") == "":
        raise InputError(
            "JAXEMBED_API_KEY_FILE is set but empty; name a file with keys, or unset it.", field="JAXEMBED_API_KEY_FILE"
        )
    return tuple(keys)


def _root_path(given: str) -> str:
    """Returns a prefix of paths as ASGI has it: a slash before it and none behind."""
    if "://" in given or "?" in given or "#" in given:
        raise InputError(f"--root-path takes a path like /api, not {given!r}.", field="--root-path")
    inner = given.strip("/")
    return f"/{inner}" if inner else ""


def _template(given: str | None) -> str | None:
    if given == "":
        raise InputError("--chat-template is empty; give a file or Jinja itself.", field="--chat-template")
    if given is None or "{{" in given or "{%" in given:
        return given
    return _text(given, "--chat-template")


def _text(path: str, flag: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"{flag} {path} cannot be read: {reason}.", field=flag) from None
