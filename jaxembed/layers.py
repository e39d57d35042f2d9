"""The parts that families are built from. Modules declare parameters; they are only ever built under `nnx.eval_shape`.

Parameters are declared as float32 zeros of the right shape; the loader gives them their real type. Norms and rotary tables
compute in float32 whatever the weights are.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxembed.errors import UnsupportedModelError
from jaxembed.kernels_pallas import RelativeBias
from jaxembed.quantized import product


class Linear(nnx.Module):
    """x · w + b, with w of shape [inputs, outputs]."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        self.w = nnx.Param(jnp.zeros((inputs, outputs)))
        self.b = nnx.Param(jnp.zeros(outputs)) if bias else None

    def __call__(self, x: Float[Array, "*t i"]) -> Float[Array, "*t o"]:
        y: Array = product("...i,io->...o", x, self.w[...])
        return y if self.b is None else y + self.b[...]


class Heads(nnx.Module):
    """From model width to heads: [t, d] to [t, n, h]."""

    def __init__(self, width: int, heads: int, head_width: int, *, bias: bool) -> None:
        self.w = nnx.Param(jnp.zeros((width, heads, head_width)))
        self.b = nnx.Param(jnp.zeros((heads, head_width))) if bias else None

    def __call__(self, x: Float[Array, "t d"]) -> Float[Array, "t n h"]:
        y = product("td,dnh->tnh", x, self.w[...])
        return y if self.b is None else y + self.b[...]


class Merge(nnx.Module):
    """From heads back to model width: [t, n, h] to [t, d]."""

    def __init__(self, width: int, heads: int, head_width: int, *, bias: bool) -> None:
        self.w = nnx.Param(jnp.zeros((heads, head_width, width)))
        self.b = nnx.Param(jnp.zeros(width)) if bias else None

    def __call__(self, x: Float[Array, "t n h"]) -> Float[Array, "t d"]:
        y = product("tnh,nhd->td", x, self.w[...])
        return y if self.b is None else y + self.b[...]


class LayerNorm(nnx.Module):
    """(x - mean) / sqrt(variance + epsilon) · scale + bias over the last axis, computed in float32."""

    def __init__(self, width: int, *, epsilon: float, bias: bool = True) -> None:
        self.scale = nnx.Param(jnp.zeros(width))
        self.bias = nnx.Param(jnp.zeros(width)) if bias else None
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*t d"]) -> Float[Array, "*t d"]:
        wide = x.astype(jnp.float32)
        centered = wide - wide.mean(-1, keepdims=True)
        variance = jnp.square(centered).mean(-1, keepdims=True)
        normal = centered * jax.lax.rsqrt(variance + self.epsilon)
        scaled = normal * self.scale[...].astype(jnp.float32)
        return (scaled if self.bias is None else scaled + self.bias[...].astype(jnp.float32)).astype(x.dtype)


class RMSNorm(nnx.Module):
    """x / sqrt(mean(x²) + epsilon) · scale over the last axis, computed in float32 (Zhang and Sennrich, arXiv 1910.07467).

    from_one: the scale is stored less one, as Gemma does. wide: scaled in float32 too; those stored less one always are.
    """

    def __init__(self, width: int, *, epsilon: float, from_one: bool = False, wide: bool = False) -> None:
        self.scale = nnx.Param(jnp.zeros(width))
        self.epsilon, self.from_one, self.wide = epsilon, from_one, wide

    def __call__(self, x: Float[Array, "*t d"]) -> Float[Array, "*t d"]:
        wide = x.astype(jnp.float32)
        normal = wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + self.epsilon)
        if self.from_one:
            return (normal * (1 + self.scale[...].astype(jnp.float32))).astype(x.dtype)
        if self.wide:
            return (normal * self.scale[...].astype(jnp.float32)).astype(x.dtype)
        # The reference rounds to the activations' type before it scales.
        return normal.astype(x.dtype) * self.scale[...]


def distance_bias(buckets: Float[Array, "b n"], *, far: int = 128) -> RelativeBias:
    """Returns the bias of T5 (arXiv 1910.10683) and MPNet, whose table has a row for each bucket of distances.

    Half of the buckets are for keys at or before the query, half for those after it; in each half the first half are one
    distance each, the rest grow with the logarithm up to `far`, beyond which nothing changes.
    """
    half = buckets.shape[0] // 2
    exact = half // 2
    distances = np.arange(-far, far + 1)
    away = np.abs(distances)
    # In float32, as the references compute it: distances at the edge of a bucket depend on it.
    logarithm = np.log(np.maximum(away, 1).astype(np.float32) / np.float32(exact)) / np.float32(math.log(far / exact))
    growing = exact + (logarithm * np.float32(half - exact)).astype(np.int32)
    bucket = np.where(away < exact, away, np.minimum(growing, half - 1)) + np.where(distances > 0, half, 0)
    return RelativeBias(buckets[bucket].T)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_python": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),
    "gelu_fast": lambda x: jax.nn.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "mish": jax.nn.mish,
    "linear": lambda x: x,
}


def activation(name: str) -> str:
    """Returns `name` if it is a known activation; raises `UnsupportedModelError` with the list if it is not."""
    if name not in ACTIVATIONS:
        raise UnsupportedModelError(f"the activation {name!r} is not supported; supported are {', '.join(ACTIVATIONS)}.")
    return name


def stacked(make: Callable[[], nnx.Module], count: int) -> nnx.Module:
    """Returns `count` copies of a layer as one module whose parameters carry a leading layer axis."""
    layers: nnx.Module = nnx.vmap(lambda _: make(), in_axes=0)(jnp.arange(count))
    return layers


def each_layer(layers: nnx.Module, x: Array, *shared: Any, choose: tuple[int, ...] | None = None) -> Array:
    """Runs x through every layer in turn: `x = layer(x, *shared)`.

    Where each parameter is an array with a leading layer axis, the layers are scanned; where it is a tuple with one array for
    each layer, the loop is unrolled. `choose` gives for each layer the index of the one among the last `shared` argument,
    a tuple, that this layer gets (full or sliding spans).
    """
    graph, state = nnx.split(layers)
    leaves = jax.tree.leaves(state, is_leaf=_is_unrolled)
    if _is_unrolled(leaves[0]):
        turns = Turns(graph, state, x, shared, choose or (None,) * len(leaves[0]))
        return (_loop.get() or run_through)(turns)

    if choose is None or len(shared[-1]) == 1:
        given = shared if choose is None else (*shared[:-1], shared[-1][0])
        x, _ = jax.lax.scan(lambda x, weights: (nnx.merge(graph, weights)(x, *given), None), x, state)
        return x
    # Leaf by leaf: a stack of spans is no span.
    tree = jax.tree.structure(shared[-1][0])
    options = [jnp.stack(each) for each in zip(*map(jax.tree.leaves, shared[-1]), strict=True)]

    def step(x: Array, turn: tuple[Any, Array]) -> tuple[Array, None]:
        weights, index = turn
        chosen = jax.tree.unflatten(tree, [option[index] for option in options])
        return nnx.merge(graph, weights)(x, *shared[:-1], chosen), None

    x, _ = jax.lax.scan(step, x, (state, jnp.asarray(choose, jnp.int32)))
    return x


@dataclass(frozen=True)
class Turns:
    """Unrolled layers that x has yet to go through.

    graph, state: of the layers; the leaves are tuples. shared: what each layer gets beside x. choose: for each layer the index
    of the one that it gets among the last of `shared`, None where that is not one of several.
    """

    graph: nnx.GraphDef
    state: Any
    x: Array
    shared: tuple[Any, ...]
    choose: Sequence[int | None]

    def weights(self, i: int) -> Any:
        """Returns the state of layer i."""
        return jax.tree.map(lambda leaf: leaf[i], self.state, is_leaf=_is_unrolled)

    def step(self, weights: Any, x: Array, chosen: int | None) -> Array:
        """Returns what a layer with these weights makes of x."""
        shared = self.shared if chosen is None else (*self.shared[:-1], self.shared[-1][chosen])
        return nnx.merge(self.graph, weights)(x, *shared)


def run_through(turns: Turns, seen: Callable[[Array], object] = lambda x: None) -> Array:
    """Runs x through the layers and returns what leaves the last one; what enters the first and leaves each is `seen`."""
    x = turns.x
    seen(x)
    for i, chosen in enumerate(turns.choose):
        x = turns.step(turns.weights(i), x, chosen)
        seen(x)
    return x


_loop: ContextVar[Callable[[Turns], Array] | None] = ContextVar("_loop", default=None)


@contextmanager
def looping(loop: Callable[[Turns], Array]) -> Iterator[None]:
    """Has `each_layer` run unrolled layers by `loop` instead of `run_through`, as long as the block lasts.

    For looking at a model from within. Not for scanned layers, whose states never leave the scan.
    """
    token = _loop.set(loop)
    try:
        yield
    finally:
        _loop.reset(token)


def _is_unrolled(leaf: Any) -> bool:
    return isinstance(leaf, tuple)
