"""Weight rules are data: one line says which tensor fills which parameter, its shape, and how it is turned.

`Rule("encoder.layer.{i}.attention.self.query.weight", "layers.q.w", "(n h) d -> d n h")`: the letters are the shape assertion,
`{i}` runs over the layers and fills one slice of a stacked parameter. The same table runs backwards, so a round trip is a test.
Everything must fit: a tensor that no rule takes and a parameter that no tensor fills are errors, all of them in one message.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from einops import rearrange

from jaxembed.errors import CheckpointError

Array = Any


@dataclass(frozen=True)
class Rule:
    """The tensor `source` fills the parameter `target`, turned as `dims` says (einops notation)."""

    source: str
    target: str
    dims: str

    def expected(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Returns the shape that the source must have."""
        groups = re.findall(r"\(([^)]*)\)|(\S+)", self.dims.split("->")[0])
        return tuple(int(np.prod([sizes[letter] for letter in (many or one).split()])) for many, one in groups)

    def forward(self, tensor: np.ndarray, sizes: Mapping[str, int]) -> np.ndarray:
        """Turns the tensor of a checkpoint into a parameter."""
        if "->" not in self.dims:
            return tensor
        return rearrange(tensor, self.dims, **_named(self.dims, sizes))

    def backward(self, parameter: np.ndarray, sizes: Mapping[str, int]) -> np.ndarray:
        """Turns a parameter back into the tensor it came from."""
        if "->" not in self.dims:
            return parameter
        left, right = self.dims.split("->")
        return rearrange(parameter, f"{right} -> {left}", **_named(self.dims, sizes))


@dataclass(frozen=True)
class Ignore:
    """Tensors whose whole name matches the regular expression `name` are left out, and why that changes nothing."""

    name: str
    because: str


@dataclass(frozen=True)
class Table:
    """All that is known of a family's tensors.

    prefixes: what task classes put before every name, the empty one included. sizes: from the family's config to the size of
    each letter; `l` is the number of layers.
    """

    rules: tuple[Rule, ...]
    ignored: tuple[Ignore, ...]
    prefixes: tuple[str, ...]
    sizes: Callable[[Any], Mapping[str, int]]


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
    sizes = table.sizes(config)
    rules = [rule for rule in table.rules if rule.target in parameters]
    prefix = _prefix(table, rules, tensors)
    steps = [Step(prefix + name, rule, layer) for rule in rules for name, layer in _names(rule, sizes["l"])]
    taken = {step.name for step in steps}
    unmapped = sorted(n for n in tensors if n not in taken and not any(re.fullmatch(x.name, n) for x in table.ignored))
    missing = sorted(step.name for step in steps if step.name not in tensors)
    unfilled = sorted(set(parameters) - {rule.target for rule in rules})
    wrong = [
        f"{step.name} has shape {list(tensors[step.name])}, expected {list(step.rule.expected(sizes))}"
        for step in steps
        if step.name in tensors and tuple(tensors[step.name]) != step.rule.expected(sizes)
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


def export(table: Table, config: Any, parameters: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the tensors of a checkpoint, without a prefix, from parameters whose layers are stacked."""
    sizes = table.sizes(config)
    for rule in table.rules:
        if rule.target in parameters:
            for name, layer in _names(rule, sizes["l"]):
                parameter = parameters[rule.target]
                yield name, rule.backward(parameter if layer is None else parameter[layer], sizes)


def _names(rule: Rule, layers: int) -> list[tuple[str, int | None]]:
    if "{i}" not in rule.source:
        return [(rule.source, None)]
    return [(rule.source.replace("{i}", str(i)), i) for i in range(layers)]


def _prefix(table: Table, rules: Sequence[Rule], tensors: Mapping[str, Any]) -> str:
    """The prefix under which most rules find their tensor."""
    names = [rule.source.replace("{i}", "0") for rule in rules]
    return max(table.prefixes, key=lambda prefix: sum(prefix + name in tensors for name in names))


def _named(dims: str, sizes: Mapping[str, int]) -> dict[str, int]:
    return {letter: sizes[letter] for letter in set(re.findall(r"[a-z]", dims))}


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
