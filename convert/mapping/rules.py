"""Weight rules are data: one line says which tensor fills which parameter, its shape, and how it is turned.

`Rule("encoder.layer.{i}.attention.self.query.weight", "layers.q.w", "(n h) d -> d n h")`: the letters are the shape assertion,
`{i}` runs over the layers and fills one slice of a stacked parameter; a fused tensor is cut along its first axis into the parts
that `fused` names. The same table runs backwards, so a round trip is a test. Everything must fit: a tensor that no rule takes
and a parameter that no tensor fills are errors, all of them in one message.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from einops import rearrange

from jaxembed.errors import CheckpointError

Array = Any


@dataclass(frozen=True)
class Rule:
    """The tensor `source` fills the parameter `target`, turned as `dims` says (einops notation).

    Attributes:
        source: the tensor's name, `{i}` for the layer; one that begins with "/" stands outside the prefix of the task class.
        target: the parameter's path.
        dims: letters of the axes, `->` where they are turned.
        fused: where several rules share the source, the first axis of each of them, in the order in which they lie in it.
        part: which of them this rule takes.
    """

    source: str
    target: str
    dims: str
    fused: tuple[str, ...] = ()
    part: int = 0

    def expected(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Returns the shape that the source must have."""
        own = tuple(_size(axis, sizes) for axis in _axes(self.dims))
        return (sum(_size(axis, sizes) for axis in self.fused), *own[1:]) if self.fused else own

    def forward(self, tensor: np.ndarray, sizes: Mapping[str, int]) -> np.ndarray:
        """Turns the tensor of a checkpoint into a parameter."""
        if self.fused:
            ends = np.cumsum([_size(axis, sizes) for axis in self.fused])
            tensor = tensor[ends[self.part] - _size(self.fused[self.part], sizes) : ends[self.part]]
        if "->" not in self.dims:
            return tensor
        return rearrange(tensor, self.dims, **_named(self.dims, sizes))

    def backward(self, parameter: np.ndarray, sizes: Mapping[str, int]) -> np.ndarray:
        """Turns a parameter back into the tensor, or the part of a fused tensor, that it came from."""
        if "->" not in self.dims:
            return parameter
        left, right = self.dims.split("->")
        return rearrange(parameter, f"{right} -> {left}", **_named(self.dims, sizes))


def fused(source: str, *parts: tuple[str, str]) -> tuple[Rule, ...]:
    """Returns the rules of one tensor that holds several parameters behind each other along its first axis.

    Args:
        source: the tensor's name.
        *parts: target and dims of each, in order.
    """
    firsts = tuple(_axes(dims)[0] for _, dims in parts)
    return tuple(Rule(source, target, dims, firsts, number) for number, (target, dims) in enumerate(parts))


def linear(source: str, target: str, outputs: str, inputs: str, weight: str = "weight") -> tuple[Rule, Rule]:
    """Returns the rules of a torch linear layer, whose weight is stored [outputs, inputs], and of its bias.

    Args:
        source: the layer's name in the checkpoint.
        target: its path in the module.
        outputs, inputs: the letters of each, several where an axis is split ("n h").
        weight: what the weight's tensor is called.
    """
    left = " ".join(f"({letters})" if " " in letters else letters for letters in (outputs, inputs))
    bias = f"({outputs}) -> {outputs}" if " " in outputs else outputs
    return (
        Rule(f"{source}.{weight}", f"{target}.w", f"{left} -> {inputs} {outputs}"),
        Rule(f"{source}.bias", f"{target}.b", bias),
    )


def norm(source: str, target: str, width: str = "d") -> tuple[Rule, Rule]:
    """Returns the rules of a norm's scale and, where it has one, bias."""
    return Rule(f"{source}.weight", f"{target}.scale", width), Rule(f"{source}.bias", f"{target}.bias", width)


@dataclass(frozen=True)
class Ignore:
    """Tensors whose whole name matches the regular expression `name` are left out, and why that changes nothing."""

    name: str
    because: str


@dataclass(frozen=True)
class Table:
    """All that is known of a family's tensors.

    Attributes:
        rules: one line a tensor.
        ignored: tensors that are left out, and why.
        prefixes: what task classes put before every name, the empty one included.
        sizes: from the family's config to the size of each letter; `l` is the number of layers.
        stacks: where not all layers are alike, which layers of the checkpoint fill the stack whose targets begin so
            ("blocks.experts": [1, 3, ...]).
        others: the same tensors as other software names them; the layout with the most names in a checkpoint is taken.
        whole_numbers: whether int8 stands for the numbers themselves.
    """

    rules: tuple[Rule, ...]
    ignored: tuple[Ignore, ...]
    prefixes: tuple[str, ...]
    sizes: Callable[[Any], Mapping[str, int]]
    stacks: Callable[[Any], Mapping[str, Sequence[int]]] | None = None
    others: "tuple[Table, ...]" = ()
    whole_numbers: bool = False

    def layout(self, config: Any, tensors: Collection[str], parameters: Collection[str]) -> "tuple[Table, str]":
        """Returns the table, this or one of `others`, and the prefix under which most rules find their tensor.

        A prefix is one of the table's, or what wrappers put before all names: "auto_model." of sentence-transformers, "module."
        of torch's.
        """
        found = [
            (sum(full(prefix, name) in tensors for name in names), -number, table, prefix)
            for number, table in enumerate((self, *self.others))
            for names in [{name for rule, name, _ in table.names(config, parameters)}]
            for prefix in (*table.prefixes, *table.wrappers(tensors))
        ]
        _, _, table, prefix = max(found, key=lambda one: one[:2])
        return table, prefix

    def ignores(self, name: str, prefix: str) -> bool:
        """Returns whether a tensor is left out, by its name as it is or behind any part of the prefix of all names."""
        parts = prefix.split(".")[:-1]
        leading = ["".join(f"{part}." for part in parts[:count]) for count in range(len(parts) + 1)]
        return any(re.fullmatch(one.name, name.removeprefix(before)) for one in self.ignored for before in leading)

    def wrappers(self, tensors: Collection[str]) -> list[str]:
        """Returns what stands before the name of the first rule in names of tensors, shortest first."""
        first = f".{self.rules[0].source}"
        return sorted((name.removesuffix(first) + "." for name in tensors if name.endswith(first)), key=len)

    def names(self, config: Any, parameters: Collection[str]) -> Iterator[tuple[Rule, str, int | None]]:
        """Yields for each rule whose target is in `parameters` each name it stands for, and the slice that the name fills."""
        stacks = self.stacks(config) if self.stacks else {}
        every = range(self.sizes(config)["l"])
        for rule in self.rules:
            if rule.target not in parameters:
                continue
            if "{i}" not in rule.source:
                yield rule, rule.source, None
                continue
            layers = next((layers for stack, layers in stacks.items() if rule.target.startswith(stack + ".")), every)
            for index, layer in enumerate(layers):
                yield rule, rule.source.replace("{i}", str(layer)), index


@dataclass(frozen=True)
class Step:
    """One tensor on its way: where it is read, how it is turned, where it goes; `layer` is its slice of a stacked target."""

    name: str
    rule: Rule
    layer: int | None


def plan(
    table: Table, config: Any, tensors: Mapping[str, tuple[int, ...]], parameters: Sequence[str], origin: str
) -> list[Step]:
    """Matches tensors with parameters one to one.

    tensors: name and shape of each. parameters: dotted paths. origin: what messages call the checkpoint. Raises
    `CheckpointError` that lists every tensor left over, every parameter left empty, every wrong shape.
    """
    table, prefix = table.layout(config, tensors, parameters)
    sizes = table.sizes(config)
    steps = [Step(full(prefix, name), rule, layer) for rule, name, layer in table.names(config, parameters)]
    taken = {step.name for step in steps}
    unmapped = sorted(n for n in tensors if n not in taken and not table.ignores(n, prefix))
    missing = sorted(taken - set(tensors))
    unfilled = sorted(set(parameters) - {step.rule.target for step in steps})
    expected = {step.name: step.rule.expected(sizes) for step in steps}
    wrong = [
        f"{name} has shape {list(tensors[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name]) != shape
    ]
    problems = [
        *([f"{len(missing)} missing: {_listed(missing)}"] if missing else []),
        *(
            [f"{len(unmapped)} that no rule knows: {_listed([f'{n} {list(tensors[n])}' for n in unmapped])}"]
            if unmapped
            else []
        ),
        *([f"{len(wrong)} of the wrong shape: {_listed(wrong)}"] if wrong else []),
        *([f"{len(unfilled)} parameters that no rule fills: {_listed(unfilled)}"] if unfilled else []),
    ]
    if problems:
        raise CheckpointError(f"The tensors of {origin} do not fit its config.json: " + "; ".join(problems) + ".")
    return steps


def export(
    table: Table, config: Any, parameters: Mapping[str, np.ndarray], prefix: str = ""
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the tensors of a checkpoint from parameters whose layers are stacked. prefix: one of the table's."""
    sizes = table.sizes(config)
    sources: dict[str, list[tuple[Rule, int | None]]] = {}
    for rule, name, layer in table.names(config, parameters):
        sources.setdefault(full(prefix, name), []).append((rule, layer))
    for name, parts in sources.items():
        whole = [
            rule.backward(parameters[rule.target] if layer is None else parameters[rule.target][layer], sizes)
            for rule, layer in parts
        ]
        yield name, np.concatenate(whole) if len(whole) > 1 else whole[0]


def full(prefix: str, name: str) -> str:
    """Returns the name of a tensor behind the prefix of a task class, unless the name stands outside it."""
    return name[1:] if name.startswith("/") else prefix + name


def _axes(dims: str) -> list[str]:
    """The axes on the left of an einops pattern, a group as its letters."""
    return [many or one for many, one in re.findall(r"\(([^)]*)\)|(\S+)", dims.split("->")[0])]


def _size(axis: str, sizes: Mapping[str, int]) -> int:
    return int(np.prod([sizes[letter] for letter in axis.split()]))


def _named(dims: str, sizes: Mapping[str, int]) -> dict[str, int]:
    return {letter: sizes[letter] for letter in set(re.findall(r"[a-z]", dims))}


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
