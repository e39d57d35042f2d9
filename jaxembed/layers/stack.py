"""The layers of a model, declared once and stacked, and the ways to go through them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

# Told of the states that enter the first layer and leave each.
Watch = Callable[[Array], object]


def stacked(make: Callable[[], nnx.Module], count: int) -> nnx.Module:
    """Returns `count` copies of a layer as one module whose parameters carry a leading layer axis."""
    layers: nnx.Module = nnx.vmap(lambda _: make(), in_axes=0)(jnp.arange(count))
    return layers


@dataclass(frozen=True)
class Stack:
    """The layers of a model, and what each gets beside x.

    Attributes:
        graph, state: of the layers. Each leaf is one array with a leading layer axis, or a tuple with one array a layer.
        shared: what every layer gets.
        options, choose: of `options` (full or sliding spans, say) a layer gets the one at its index in `choose`; None where
            layers get nothing of their own.
    """

    graph: nnx.GraphDef
    state: Any
    shared: tuple[Any, ...]
    options: Sequence[Any] | None = None
    choose: Sequence[int] | None = None

    @property
    def is_unrolled(self) -> bool:
        """Whether each layer has arrays of its own."""
        return isinstance(jax.tree.leaves(self.state, is_leaf=_is_tuple)[0], tuple)

    @property
    def layers(self) -> int:
        """How many layers there are."""
        first = jax.tree.leaves(self.state, is_leaf=_is_tuple)[0]
        return len(first) if isinstance(first, tuple) else int(first.shape[0])

    def layer(self, weights: Any, x: Array, option: Any) -> Array:
        """Returns what a layer with these weights makes of x. option: what it gets of its own."""
        given = self.shared if self.options is None else (*self.shared, option)
        return nnx.merge(self.graph, weights)(x, *given)

    def unrolled(self, x: Array, watch: Watch = lambda x: None) -> Array:
        """Runs x through layers that have arrays of their own, one behind the other."""
        watch(x)
        for i in range(self.layers):
            weights = jax.tree.map(lambda leaf, i=i: leaf[i], self.state, is_leaf=_is_tuple)
            x = self.layer(weights, x, self.options[self.choose[i]] if self.options is not None and self.choose else None)
            watch(x)
        return x

    def scanned(self, x: Array, weights_at: Callable[[Array], Any] | None = None) -> Array:
        """Runs x through the layers in a loop that compiles one of them.

        Args:
            x: [t, d].
            weights_at: gives the weights of the layer of a number, where they are not those of the state.
        """
        option_of = _chooser(self.options)
        choose = jnp.asarray(self.choose or (0,) * self.layers, jnp.int32)

        def step(x: Array, turn: tuple[Any, Array, Array]) -> tuple[Array, None]:
            own, i, chosen = turn
            return self.layer(own if weights_at is None else weights_at(i), x, option_of(chosen)), None

        x, _ = jax.lax.scan(step, x, (None if weights_at else self.state, jnp.arange(self.layers), choose))
        return x


def _chooser(options: Sequence[Any] | None) -> Callable[[Array], Any]:
    """Returns what gives the option of an index that is known in the loop only."""
    if options is None or len(options) == 1:
        return lambda _: None if options is None else options[0]
    # Leaf by leaf: a stack of spans is no span.
    tree = jax.tree.structure(options[0])
    leaves = [jnp.stack(each) for each in zip(*map(jax.tree.leaves, options), strict=True)]
    return lambda index: jax.tree.unflatten(tree, [leaf[index] for leaf in leaves])


def _is_tuple(leaf: Any) -> bool:
    return isinstance(leaf, tuple)
