"""Activation functions by the names that configs give them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxembed.errors import UnsupportedModelError

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
