"""The options that several commands share, and the model they name."""

import argparse
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxembed.cli.flags import Merged, json_object
from jaxembed.errors import InputError

if TYPE_CHECKING:
    from jaxembed.vllm.llm import LLM


def add_model_arguments(parser: argparse.ArgumentParser, *, positional: bool = False) -> None:
    """Adds what says which model to load and how."""
    text = "a folder or a hub name (default: the embedded all-MiniLM-L6-v2)"
    if positional:
        parser.add_argument("model", nargs="?", metavar="MODEL", help=text)
    else:
        parser.add_argument("-m", "--model", metavar="MODEL", help=text)
    add_checkpoint_arguments(parser)
    parser.add_argument("--max-model-len", metavar="N", type=int, help="tokens of the longest text")


def add_checkpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says which state of a checkpoint is meant."""
    parser.add_argument("--revision", help="branch, tag or commit of a hub model")
    parser.add_argument(
        "--hf-overrides", metavar="JSON", type=json_object, action=Merged, help="merged into the checkpoint's config.json"
    )


def add_running_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says how texts are run."""
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16, or float16 (half) (default: auto)")
    parser.add_argument("--pooling-type", choices=["CLS", "LAST", "MEAN"], help="instead of what the checkpoint's files say")
    parser.add_argument("--truncate", action="store_true", help="cut texts that are too long; without it they are an error")


def program(text: str) -> Path:
    """Returns the path of a program that is named as in a shell: by a path, or by a name on PATH."""
    return Path(text).expanduser().absolute() if os.sep in text else Path(shutil.which(text) or text)


def load_llm(arguments: argparse.Namespace) -> "LLM":
    """Loads the model that the arguments name; HF_TOKEN, if set, opens gated ones."""
    from jaxembed.vllm.llm import LLM

    return LLM(
        arguments.model,
        runner="pooling",
        revision=arguments.revision,
        hf_overrides=arguments.hf_overrides,
        max_model_len=arguments.max_model_len,
        dtype=arguments.dtype,
        pooler_config={"pooling_type": arguments.pooling_type},
        hf_token=os.environ.get("HF_TOKEN"),
    )


def truncation(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the tokenization options that `--truncate` means."""
    return {"truncate_prompt_tokens": -1} if arguments.truncate else {}


def prompt_named(name: str | None, llm: "LLM") -> str:
    """Returns the checkpoint's prompt of that name. Raises `InputError` with the names there are."""
    prompts = llm.engine.model.recipe.prompts
    if name is None:
        return ""
    if name not in prompts:
        known = f"it has {', '.join(prompts)}" if prompts else "it has none"
        raise InputError(f"the model has no prompt named {name!r}; {known}.", field="--prompt-name")
    return prompts[name]
