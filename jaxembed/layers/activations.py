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
    # torch's, with the constants that they have where none are given.
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": jax.nn.celu,
    "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.01),
    # Random in training; afterwards with the mean of its slopes.
    "rrelu": lambda x: jax.nn.leaky_relu(x, (1 / 8 + 1 / 3) / 2),
    "relu6": jax.nn.relu6,
    "hardtanh": jax.nn.hard_tanh,
    "hardswish": jax.nn.hard_swish,
    "hardsigmoid": jax.nn.hard_sigmoid,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "log_sigmoid": jax.nn.log_sigmoid,
    "tanhshrink": lambda x: x - jnp.tanh(x),
    "hardshrink": lambda x: jnp.where(jnp.abs(x) > 0.5, x, 0),
    "softshrink": lambda x: jnp.sign(x) * jnp.maximum(jnp.abs(x) - 0.5, 0),
    "softmax": jax.nn.softmax,
    "softmin": lambda x: jax.nn.softmax(-x),
    "log_softmax": jax.nn.log_softmax,
    "linear": lambda x: x,
}


def activation(name: str) -> str:
    """Returns `name` if it is a known activation; raises `UnsupportedModelError` with the list if it is not."""
    if name not in ACTIVATIONS:
        raise UnsupportedModelError(f"the activation {name!r} is not supported; supported are {', '.join(ACTIVATIONS)}.")
    return name
