"""`jaxembed info`: what a checkpoint's files say."""

import argparse
import math
import os
from pathlib import Path
from typing import Any

from jaxembed.cli.options import add_model_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    add_model_arguments(parser, positional=True)


def run(arguments: argparse.Namespace) -> None:
    """Prints each fact with the file it came from. Reads no weights, only their shapes.

    Raises `CheckpointError`, behind the facts, if the shapes are not those that the config asks for.
    """
    from jaxembed.convert.checkpoint.loading import describe
    from jaxembed.errors import sentence

    found = describe(
        arguments.model,
        revision=arguments.revision,
        hf_overrides=arguments.hf_overrides,
        without_head=False,
        max_model_len=arguments.max_model_len,
        token=os.environ.get("HF_TOKEN"),
    )
    config = found.config
    count, tensors, source = _weights(found.folder / found.config.subfolder, found.folder)
    recipe = found.recipe
    architecture = ", ".join(found.config_json.get("architectures") or [str(found.config_json.get("model_type"))])
    facts = {
        "folder": (str(found.folder), ""),
        "family": (f"{found.family.name} ({architecture})", "config.json"),
        "layers": _layers(config),
        "vocabulary": (f"{config.vocabulary:,} tokens", "config.json"),
        "weights": (f"{count:,} numbers in {tensors}", source),
        "dimensions": (f"{found.width}", ""),
        "max_model_len": (f"{found.max_length} tokens", ""),
        **recipe.facts,
    }
    unused = sorted(path.name for path in found.folder.glob("*_linear.pt"))
    if unused:
        facts["not used"] = (", ".join(unused), "heads for sparse or token vectors, beside the embedder's weights")
    print(found.name)
    for name, (value, source) in facts.items():
        print(f"  {name:<15} {sentence(value):<44} {source}".rstrip())
    for name, prompt in recipe.prompts.items():
        default = " (SentenceTransformer's default; not applied elsewhere)" if name == recipe.default_prompt_name else ""
        print(f"  prompt {name!r}: {prompt!r}{default}")
    _check_fit(found)


def _check_fit(found: Any) -> None:
    from jaxembed.convert.orbax.manifest import read_manifest
    from jaxembed.convert.weights.parameters import declare, open_parameters

    if read_manifest(found.folder) is None:
        open_parameters(declare(found.family, found.config, found.recipe), found.folder)


def _layers(config: Any) -> tuple[str, str]:
    """What stands between tokens and vectors; static embeddings have nothing there."""
    if not config.layers:
        return "none", ""
    return f"{config.layers}, {config.heads} heads, width {config.width}", "config.json"


def _weights(place: Path, folder: Path) -> tuple[int, str, str]:
    """Returns how many numbers there are, in how many tensors or arrays, and where that is said."""
    from jaxembed.convert.formats.reader import Checkpoint
    from jaxembed.convert.orbax.manifest import NAME, read_manifest

    manifest = read_manifest(folder)
    if manifest is not None:
        arrays = manifest.arrays.values()
        types = ", ".join(sorted({array.dtype for array in arrays}))
        return sum(math.prod(array.shape) for array in arrays), f"{len(arrays)} arrays ({types})", NAME
    weights = Checkpoint(place)
    return sum(math.prod(weights.shape(name)) for name in weights), f"{len(list(weights))} tensors", weights.files[0].name
