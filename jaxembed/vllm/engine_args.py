"""`EngineArgs` and its command line: all that vLLM's `LLM` takes, at the values that ask for nothing."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any

from jaxembed.vllm.options import ASKING, HOW


@dataclass
class _Own:
    """What `LLM` reads."""

    model: str | None = None
    runner: str = "auto"
    convert: str = "auto"
    task: str | None = None
    tokenizer: str | None = None
    trust_remote_code: bool = False
    dtype: Any = "auto"
    max_model_len: Any = None
    quantization: str | None = None
    revision: str | None = None
    hf_token: Any = None
    hf_overrides: Any = field(default_factory=dict)
    pooler_config: Any = None
    download_dir: str | None = None
    served_model_name: Any = None
    device: Any = None


_SWITCHES = {"enforce_eager": False, "disable_log_stats": False, "enable_prefix_caching": None, "enable_chunked_prefill": None}
_OTHERS = [(name, Any, field(default=neutral[0])) for name, (neutral, _) in sorted(ASKING.items())]
_OTHERS += [(name, Any, field(default=_SWITCHES.get(name))) for name in sorted(HOW)]


def _add_cli_args(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds a flag for each argument; values of those that are no text are read as JSON. Returns the parser."""
    for one in fields(EngineArgs):
        default = {} if one.name == "hf_overrides" else one.default
        flag = "--" + one.name.replace("_", "-")
        if isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default)
        else:
            parser.add_argument(flag, type=_value, default=default)
    return parser


def _from_cli_args(arguments: argparse.Namespace) -> Any:
    """Returns the arguments that a command line gave; what else was parsed is left alone."""
    known = {one.name for one in fields(EngineArgs)}
    return EngineArgs(**{name: value for name, value in vars(arguments).items() if name in known})


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


EngineArgs: Any = make_dataclass(
    "EngineArgs",
    _OTHERS,
    bases=(_Own,),
    namespace={
        "__doc__": "The arguments of `LLM` as an object: `LLM(**vars(EngineArgs(model=...)))`.",
        "__module__": __name__,
        "add_cli_args": staticmethod(_add_cli_args),
        "from_cli_args": staticmethod(_from_cli_args),
    },
)


class FlexibleArgumentParser(argparse.ArgumentParser):
    """A parser of command lines that takes underscores for dashes in the names of flags, and --flag.key value for JSON."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses as `argparse` does, with the names spelt its way."""
        import sys

        given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(_joined([_dashed(one) for one in given]), namespace)


def _dashed(word: str) -> str:
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else word


def _joined(words: Sequence[str]) -> list[str]:
    """Returns a command line in which `--flag.key value` has become `--flag '{"key": value}'`."""
    plain: list[str] = []
    trees: dict[str, dict[str, Any]] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        flag, dot, path = name.partition(".")
        if not name.startswith("--") or not dot:
            plain.append(word)
            continue
        *outer, last = path.replace("-", "_").split(".")
        tree: dict[str, Any] = trees.setdefault(flag, {})
        for key in outer:
            tree = tree.setdefault(key, {})
        tree[last] = _value(value if equals else next(rest, "null"))
    return [*plain, *(part for flag, tree in trees.items() for part in (flag, json.dumps(tree)))]
