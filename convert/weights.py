"""Fills a declared model from a checkpoint, tensor by tensor, straight into arrays on the device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxembed.convert import rules
from jaxembed.convert.reader import Checkpoint
from jaxembed.errors import CheckpointError
from jaxembed.heads import DenseHead, Head, LayerNormHead
from jaxembed.pooling import Embedder
from jaxembed.registry import Family

# How each head's folder names its tensors.
_DENSE = {"linear.weight": ("linear.w", True), "linear.bias": ("linear.b", False), "residual.weight": ("residual.w", True)}
_NORM = {"norm.weight": ("scale", False), "norm.bias": ("bias", False)}


def load_weights(
    family: Family,
    config: Any,
    heads: Sequence[Head],
    modes: Sequence[str],
    folder: Path,
    *,
    include_prompt: bool,
    dtype: Any,
    per_layer: bool,
) -> tuple[nnx.GraphDef, Any]:
    """Returns the graph of an `Embedder` and its state, every leaf an array of `dtype` on the default device.

    The heads stay float32, as the reference keeps them. per_layer: each stacked leaf becomes a tuple with one array for each
    layer, what a CPU wants. The host never holds more than one parameter's worth of tensors beside the device's copy.
    Raises `CheckpointError` for anything that does not fit.
    """
    module = family.load(family.module)
    embedder = nnx.eval_shape(lambda: Embedder(module(config), heads, modes, include_prompt=include_prompt))
    graph, state = nnx.split(embedder)
    pure = nnx.to_pure_dict(state)
    pure["backbone"] = _backbone(
        family, config, pure["backbone"], folder / getattr(config, "place", ""), dtype=dtype, per_layer=per_layer
    )
    for number, head in enumerate(heads):
        if isinstance(head, DenseHead):
            _fill_head(pure["heads"][number], folder / head.folder, _DENSE)
        elif isinstance(head, LayerNormHead):
            _fill_head(pure["heads"][number], folder / head.folder, _NORM)
    nnx.replace_by_pure_dict(state, pure)
    return graph, state


def _backbone(family: Family, config: Any, declared: Any, folder: Path, *, dtype: Any, per_layer: bool) -> Any:
    shapes = {_dotted(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(declared)}
    checkpoint = Checkpoint(folder)
    table: rules.Table = family.load(family.rules)
    tensors = {name: checkpoint.shape(name) for name in checkpoint}
    steps = rules.plan(table, config, tensors, list(shapes), str(folder))
    sizes = table.sizes(config)
    filled: dict[str, Any] = {}
    for target in shapes:
        mine = [step for step in steps if step.rule.target == target]
        parts = (np.asarray(step.rule.forward(checkpoint.read(step.name), sizes)).astype(dtype) for step in mine)
        if mine[0].layer is None:
            filled[target] = jnp.asarray(next(parts))
        elif per_layer:
            filled[target] = tuple(jnp.asarray(np.ascontiguousarray(part)) for part in parts)
        else:
            whole = np.empty(shapes[target], dtype)
            for index, part in enumerate(parts):
                whole[index] = part
            filled[target] = jnp.asarray(whole)
    return jax.tree_util.tree_map_with_path(lambda path, _: filled[_dotted(path)], declared)


def _fill_head(declared: Any, folder: Path, names: dict[str, tuple[str, bool]]) -> None:
    """Fills one sentence-transformers module in place; `names` gives for each tensor its parameter and if it is transposed."""
    checkpoint = Checkpoint(folder)
    wanted = {_dotted(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(declared)}
    unknown = sorted(set(checkpoint) - set(names))
    if unknown:
        raise CheckpointError(f"{folder} holds tensors that no rule knows: {', '.join(unknown)}.")
    for name, (target, transposed) in names.items():
        if target not in wanted:
            if name in checkpoint:
                raise CheckpointError(f"{folder} holds {name}, which its config.json says it has not.")
            continue
        if name not in checkpoint:
            raise CheckpointError(f"{folder} lacks the tensor {name}.")
        shape = checkpoint.shape(name)
        expected = wanted[target][::-1] if transposed else wanted[target]
        if shape != tuple(expected):
            raise CheckpointError(f"{name} of {folder} has shape {list(shape)}, expected {list(expected)}.")
        tensor = checkpoint.read(name).astype(np.float32)
        place, *rest = target.split(".")
        owner = declared if not rest else declared[place]
        owner[rest[0] if rest else place] = jnp.asarray(tensor.T if transposed else tensor)


def _dotted(path: Any) -> str:
    return ".".join(str(key.key) for key in path)
