"""What other servers call the flags of `jaxembed serve`, and flags of theirs that this engine has no use for."""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxembed.cli.flags import Flag
from jaxembed.errors import InputError

# Other names of our flags: text-embeddings-inference's, infinity's, vLLM's older ones.
RENAMED: Mapping[str, str] = {
    "model-id": "model",
    "model-name-or-path": "model",
    "hostname": "host",
    "max-client-batch-size": "max-items",
    "huggingface-hub-cache": "download-dir",
    "hf-api-token": "hf-token",
    "uds-path": "uds",
    "proxy-root-path": "root-path",
    "log-level": "uvicorn-log-level",
}
# Flags of theirs that mean something else here, or nothing: what to do instead.
ELSEWHERE: Mapping[str, str] = {
    "max-batch-tokens": "rows are planned to the hardware; --max-queue-tokens bounds the tokens that wait",
    "max-batch-requests": "rows are planned to the hardware; leave it out",
    "max-concurrent-requests": "what waits is counted in tokens (--max-queue-tokens) and seconds (--max-wait-seconds)",
    "batch-size": "rows are planned to the hardware; leave it out",
    "tokenization-workers": "texts are tokenized by the threads that there are; leave it out",
    "payload-limit": "bodies are bounded in MiB: --max-body-mib",
    "prometheus-port": "/metrics is at the server's own port",
    "json-output": "log lines are text; leave it out",
    "disable-spans": "there are spans only with --otlp-traces-endpoint; leave it out",
    "otlp-endpoint": "spans go by HTTP to --otlp-traces-endpoint, such as http://localhost:4318/v1/traces",
    "otlp-service-name": "spans go by HTTP to --otlp-traces-endpoint; OTEL_SERVICE_NAME names the service",
    "cors-allow-origin": "origins are a JSON list: --allowed-origins '[\"https://example.org\"]'",
    "permissive-cors": "origins are a JSON list: --allowed-origins '[\"*\"]'",
    "pooling": "poolings are named as in vLLM: --pooler-config.pooling_type MEAN (or CLS, LAST)",
    "pooling-method": "poolings are named as in vLLM: --pooler-config.pooling_type MEAN (or CLS, LAST)",
    "default-prompt": "each request says which prompt it wants: prompt_name, or Cohere's input_type",
    "default-prompt-name": "each request says which prompt it wants: prompt_name, or Cohere's input_type",
    "dense-path": "all Dense modules that modules.json names are used; leave it out",
    "url-prefix": "routes are at their own places and under /v1; infinity's forms are under /infinity",
    "engine": "jax is what runs; leave it out",
    "device": "jax takes the device that it finds; JAX_PLATFORMS=cpu chooses another",
    "device-id": "jax takes the device that it finds; CUDA_VISIBLE_DEVICES chooses another",
    "no-model-warmup": "programs are compiled before the server is ready; leave it out",
    "model-warmup": "programs are compiled before the server is ready; leave it out",
    "lengths-via-tokenize": "texts are planned by their tokens; leave it out",
    "vector-disk-cache": "no vectors are kept; leave it out",
    "compile": "programs are always compiled; leave it out",
    "bettertransformer": "programs are always compiled; leave it out",
    "served-model-names": "the flag is --served-model-name, with one name or several behind it",
}


@dataclass(frozen=True)
class Idle:
    """A flag of vLLM's for what this engine does not have.

    Attributes:
        flag: it.
        asks_nothing: whether a value asks for nothing that is not so anyway.
        instead: what is said of any other value: with `refused` in an error, else in a line at the start.
        refused: whether the value would change what is served.
    """

    flag: Flag
    asks_nothing: Callable[[Any], bool]
    instead: str
    refused: bool = True


def _hidden(name: str, parse: Callable[[str], Any] = str, short: str | None = None) -> Flag:
    return Flag(name, argparse.SUPPRESS, parse, short=short)


def _one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda given: given in values


def _never(given: Any) -> bool:
    return False


def _nothing_counted(given: Any) -> bool:
    """Whether all that a text, JSON or name=number, counts is 0."""
    try:
        counts = json.loads(given)
    except ValueError:
        counts = dict(part.partition("=")[::2] for part in given.split(","))
    return isinstance(counts, dict) and all(str(count) == "0" for count in counts.values())


_ROWS = "rows are planned to the hardware"
_COMPILED = "programs are compiled for rows of whole texts"
IDLE = (
    Idle(_hidden("io-processor-plugin"), _never, "there are no plugins"),
    Idle(
        _hidden("tokenizer-revision"),
        _never,
        "--revision holds for it too; --tokenizer names another folder",
    ),
    Idle(_hidden("tokenizer-mode"), _one_of("auto", "hf", "fast"), "tokenizers are Hugging Face's own fast ones"),
    Idle(_hidden("load-format"), _one_of("auto", "hf", "safetensors"), "weights are read as they lie in the folder"),
    Idle(_hidden("config-format"), _one_of("auto", "hf"), "config.json is what is read"),
    Idle(_hidden("limit-mm-per-prompt"), _nothing_counted, "models here take texts only"),
    Idle(_hidden("mm-processor-kwargs"), _one_of("{}"), "models here take texts only"),
    Idle(_hidden("api-server-count"), _one_of("1"), "one process serves a model; start several behind a proxy"),
    Idle(_hidden("cpu-offload-gb"), _one_of("0", "0.0"), "a model is on its device whole"),
    Idle(_hidden("kv-cache-dtype"), _one_of("auto"), "nothing is cached between texts"),
    Idle(_hidden("distributed-executor-backend"), _one_of("uni", "mp"), "a model runs in one process"),
    Idle(_hidden("generation-config"), _one_of("auto", "vllm"), "nothing is generated"),
    Idle(_hidden("code-revision"), lambda given: True, "no code of a checkpoint is executed"),
    Idle(_hidden("seed"), lambda given: True, "nothing is drawn"),
    Idle(_hidden("scheduling-policy"), _one_of("fcfs", "priority"), "fcfs and priority are what there is"),
    Idle(_hidden("disable-log-stats", bool), lambda given: True, "no statistics are logged"),
    Idle(_hidden("disable-log-requests", bool), lambda given: True, "no texts are logged"),
    Idle(_hidden("enable-server-load-tracking", bool), lambda given: True, "/load is always there"),
    Idle(_hidden("disable-custom-all-reduce", bool), lambda given: True, "a model runs on one device"),
    Idle(_hidden("gpu-memory-utilization"), _never, "XLA_PYTHON_CLIENT_MEM_FRACTION says what jax takes", refused=False),
    Idle(_hidden("max-num-seqs"), _never, _ROWS, refused=False),
    Idle(_hidden("max-num-batched-tokens"), _never, _ROWS, refused=False),
    Idle(_hidden("block-size"), _never, "nothing is cached between texts", refused=False),
    Idle(_hidden("swap-space"), _one_of("0"), "nothing is cached between texts", refused=False),
    Idle(_hidden("enforce-eager", bool), _one_of(False), _COMPILED, refused=False),
    Idle(_hidden("enable-prefix-caching", bool), _one_of(False), "nothing is cached between texts", refused=False),
    Idle(_hidden("enable-chunked-prefill", bool), _one_of(False), _COMPILED, refused=False),
    Idle(
        _hidden("enable-log-requests", bool),
        _one_of(False),
        "a line is logged for each request anyway",
        refused=False,
    ),
    Idle(_hidden("skip-tokenizer-init", bool), _one_of(False), "the tokenizer is always there", refused=False),
    Idle(_hidden("enable-flash-late-interaction", bool), _one_of(False), "late interaction has one way", refused=False),
)
IDLE_FLAGS = [one.flag for one in IDLE]


def idle(values: Mapping[str, Any]) -> Iterator[str]:
    """Yields a sentence for each flag that is given and has no effect.

    Args:
        values: of all flags, by `Flag.dest`.

    Raises:
        InputError: a flag asks for what would change what is served.
    """
    for one in IDLE:
        given, name = values[one.flag.dest], f"--{one.flag.name}"
        if given is None or one.asks_nothing(given) or (name == "--tokenizer-revision" and given == values.get("revision")):
            continue
        if one.refused:
            shown = "" if isinstance(given, bool) else f" {given}"
            raise InputError(f"{name}{shown} is not supported: {one.instead}.", field=name)
        yield f"{name} has no effect here: {one.instead}."


def check_known(name: str) -> None:
    """Raises `InputError` for a flag of another server that means something else here, with what to do instead."""
    if name in ELSEWHERE:
        raise InputError(f"there is no flag --{name} here: {ELSEWHERE[name]}.", field=f"--{name}")


def renamed(name: str, renames: Mapping[str, str] = RENAMED) -> str:
    """Returns our name of a flag, dashes for underscores, given another server's."""
    name = name.replace("_", "-")
    return renames.get(name, name)


def names(flags: Sequence[Flag]) -> set[str]:
    """Returns every name under which one of our flags can be given."""
    return {name for flag in flags for name in (flag.name, *flag.aliases)}
