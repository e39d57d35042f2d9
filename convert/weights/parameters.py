"""The parameters of a model, each with the way to read it from a checkpoint: what loading, converting and checking share.

Nothing is read before `Parameter.reads` are called, and each call holds one tensor.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxembed.convert.formats.reader import Checkpoint
from jaxembed.convert.formats.tensors import in_order
from jaxembed.convert.mapping import rules
from jaxembed.convert.mapping.registry import Family
from jaxembed.convert.weights.adapters import Adapted
from jaxembed.errors import CheckpointError, UnsupportedModelError
from jaxembed.heads.embedder import Embedder
from jaxembed.heads.recipe import DenseHead, Head, LayerNormHead, Recipe
from jaxembed.layers import Heads, Linear, Merge
from jaxembed.layers.int8 import Quantized, quantize
from jaxembed.models.backbone import BackboneConfig

_Names = dict[str, tuple[str, tuple[str, ...], bool]]

# How each head's folder names its tensors: the parameter, the letters of its axes, whether the tensor is transposed.
DENSE: _Names = {
    "linear.weight": ("linear.w", ("i", "o"), True),
    "linear.bias": ("linear.b", ("o",), False),
    "residual.weight": ("residual.w", ("i", "o"), True),
}
NORM: _Names = {"norm.weight": ("scale", ("o",), False), "norm.bias": ("bias", ("o",), False)}

# How many leading axes a product with the matrix `w` of each layer sums over.
_SUMMED: dict[type, int] = {Linear: 1, Heads: 1, Merge: 2}


@dataclass(frozen=True)
class Parameter:
    """One leaf of an `Embedder`.

    path: dotted. shape: with the layers first if it is stacked. axes: a letter for each axis. reads: give one piece each, a
    layer of a stack or the whole. dtype: of what they give. summed: axes that a product sums over, for a matrix of a layer
    that may be quantized; else None.
    """

    path: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    dtype: np.dtype
    reads: tuple[Callable[[], np.ndarray | Quantized], ...]
    stacked: bool
    summed: int | None = None

    def value(self, index: int) -> np.ndarray | Quantized:
        """Reads one piece in the type in which it is stored, its elements in order."""
        value = self.reads[index]()
        return value if isinstance(value, Quantized) else in_order(value).reshape(value.shape)

    def rounded(self, value: np.ndarray | Quantized, dtype: Any, *, int8: bool) -> np.ndarray | Quantized:
        """Returns what `value` gave in `dtype`, or quantized if it is so, or if it may be and `int8` is asked for."""
        if isinstance(value, Quantized):
            return value
        if int8 and self.summed is not None:
            return quantize(value, summed=self.summed)
        return value.astype(dtype, copy=False)

    def piece(self, index: int, dtype: Any, *, int8: bool) -> np.ndarray | Quantized:
        """Reads one piece and rounds it."""
        return self.rounded(self.value(index), dtype, int8=int8)

    def pieces(self, dtype: Any, *, int8: bool) -> Iterator[np.ndarray | Quantized]:
        """Reads the pieces in turn."""
        return (self.piece(index, dtype, int8=int8) for index in range(len(self.reads)))

    @property
    def in_backbone(self) -> bool:
        """Whether it is the backbone's; the heads stay float32, as the reference keeps them."""
        return self.path.startswith("backbone.")


@dataclass(frozen=True)
class Opened:
    """A checkpoint's parameters, the files that hold them, and which of the family's layouts its names are (`layouts`).

    left_out: the tensors that no parameter is made of.
    """

    parameters: list[Parameter]
    files: tuple[Path, ...]
    layout: int
    left_out: list[str]


def layouts(family: Family) -> tuple[rules.Table, ...]:
    """Returns the tables of a family: its own, then those with the names that other software gives the same tensors."""
    table: rules.Table = family.load(family.rules)
    return (table, *table.others)


@dataclass(frozen=True)
class Declared:
    """A model without values: the split `Embedder`, whose state has shapes for leaves.

    summed: `Parameter.summed` for each matrix, by its path.
    """

    family: Family
    config: BackboneConfig
    heads: tuple[Head, ...]
    graph: nnx.GraphDef
    state: Any
    summed: dict[str, int]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each leaf by its path."""
        leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(self.state))
        return {_path(path): tuple(leaf.shape) for path, leaf in leaves}


def declare(family: Family, config: BackboneConfig, recipe: Recipe) -> Declared:
    """Declares the `Embedder` of a config and a recipe."""
    module = family.load(family.module)
    make = partial(Embedder, heads=recipe.heads, modes=recipe.modes)
    embedder = nnx.eval_shape(lambda: make(module(config)))
    summed = {
        f"{dotted(path)}.w": _SUMMED[type(part)]
        for path, part in nnx.iter_graph(embedder)
        if type(part) in _SUMMED and path[0] == "backbone"
    }
    graph, state = nnx.split(embedder)
    return Declared(family, config, recipe.heads, graph, state, summed)


def fill(state: Any, leaves: dict[str, Any]) -> Any:
    """Returns the state with the leaves of these paths in the places of their shapes."""
    pure = nnx.to_pure_dict(state)
    filled = jax.tree_util.tree_map_with_path(lambda path, _: leaves[_path(path)], pure)
    nnx.replace_by_pure_dict(state, filled)
    return state


def open_parameters(model: Declared, folder: Path) -> Opened:
    """Returns every parameter of a checkpoint.

    Raises `CheckpointError` for anything that does not fit, all in one message.
    """
    declared, config = model.shapes(), model.config
    place = folder / config.subfolder
    checkpoint = Adapted(place, place / config.adapter) if config.adapter else Checkpoint(place)
    found, layout, left_out = _backbone(model, checkpoint, declared)
    files = list(checkpoint.files)
    for number, head in enumerate(model.heads):
        if isinstance(head, DenseHead | LayerNormHead):
            shared = head.folder == config.subfolder
            own = checkpoint if shared else Checkpoint(folder / head.folder)
            names = DENSE if isinstance(head, DenseHead) else NORM
            found += _head(f"heads.{number}", own, names, declared, shared=shared)
            files += () if shared else own.files
    return Opened(found, tuple(files), layout, left_out)


def _backbone(
    model: Declared, checkpoint: Checkpoint, declared: dict[str, tuple[int, ...]]
) -> tuple[list[Parameter], int, list[str]]:
    family, config = model.family, model.config
    targets = {path.removeprefix("backbone."): shape for path, shape in declared.items() if path.startswith("backbone.")}
    table, *_ = layouts(family)
    # A head may lie among the tensors of the backbone, as that of a ColBERT does.
    others = {name for head in model.heads if isinstance(head, DenseHead) and head.folder == config.subfolder for name in DENSE}
    tensors = {name: checkpoint.shape(name) for name in checkpoint if name not in others}
    steps = rules.plan(table, config, tensors, list(targets), str(checkpoint.folder))
    _check_types(checkpoint, [step.name for step in steps], whole=table.whole_numbers)
    taken, _ = table.layout(config, tensors, targets)
    sizes = taken.sizes(config)
    mine: dict[str, list[rules.Step]] = {}
    for step in steps:
        mine.setdefault(step.rule.target, []).append(step)

    def read(step: rules.Step) -> np.ndarray:
        return np.asarray(step.rule.forward(checkpoint.read(step.name), sizes))

    found = []
    for target, shape in targets.items():
        of_target = sorted(mine[target], key=lambda step: step.layer or 0)
        stacked = of_target[0].layer is not None
        letters = tuple(re.findall(r"\([^)]*\)|\S+", of_target[0].rule.dims.split("->")[-1]))
        found.append(
            Parameter(
                f"backbone.{target}",
                shape,
                ("l", *letters) if stacked else letters,
                common_type({checkpoint.dtype(step.name) for step in of_target}),
                tuple(partial(read, step) for step in of_target),
                stacked,
                model.summed.get(f"backbone.{target}") if stacked else None,
            )
        )
    return found, layouts(family).index(taken), sorted(set(tensors) - {step.name for step in steps})


def common_type(dtypes: Collection[np.dtype]) -> np.dtype:
    """Returns the type that the layers of a parameter are kept in: theirs, or float32 where they differ (float64 beside it)."""
    if len(dtypes) == 1:
        return next(iter(dtypes))
    return np.result_type(*(np.float64 if dtype == np.float64 else np.float32 for dtype in dtypes))


def _check_types(checkpoint: Checkpoint, names: Sequence[str], *, whole: bool = False) -> None:
    """Raises `UnsupportedModelError` for weights of whole numbers, whose scale would be needed. whole: they may be of int8."""
    wrong = sorted({f"{name} ({dtype})" for name in names if (dtype := checkpoint.dtype(name)).kind in "biu"})
    if wrong and not (whole and all(one.endswith("(int8)") for one in wrong)):
        raise UnsupportedModelError(
            f"{checkpoint.folder} holds weights of whole numbers, without a scale that says what they mean: "
            f"{', '.join(wrong[:5])}{f' and {len(wrong) - 5} more' if len(wrong) > 5 else ''}."
        )


def _head(
    prefix: str,
    checkpoint: Checkpoint,
    names: _Names,
    declared: dict[str, tuple[int, ...]],
    *,
    shared: bool,
) -> list[Parameter]:
    """The parameters of one sentence-transformers module. shared: other tensors may lie beside them."""
    folder = checkpoint.folder
    unknown = sorted(set(checkpoint) - set(names))
    if unknown and not shared:
        raise CheckpointError(f"{folder} holds tensors that no rule knows: {', '.join(unknown)}.")
    _check_types(checkpoint, sorted(set(checkpoint) & set(names)))
    found = []
    for name, (target, axes, transposed) in names.items():
        path = f"{prefix}.{target}"
        if path not in declared:
            if name in checkpoint:
                raise CheckpointError(f"{folder} holds {name}, which its config.json says it has not.")
            continue
        if name not in checkpoint:
            raise CheckpointError(f"{folder} lacks the tensor {name}.")
        shape, expected = checkpoint.shape(name), declared[path][::-1] if transposed else declared[path]
        if shape != expected:
            raise CheckpointError(f"{name} of {folder} has shape {list(shape)}, expected {list(expected)}.")

        def read(name: str = name, transposed: bool = transposed) -> np.ndarray:
            tensor = checkpoint.read(name)
            return tensor.T if transposed else tensor

        found.append(Parameter(path, declared[path], axes, checkpoint.dtype(name), (read,), False))
    return found


def dotted(path: Sequence[Any]) -> str:
    """Returns a path as one name."""
    return ".".join(map(str, path))


def _path(path: Any) -> str:
    return ".".join(str(key.key) for key in path)
