"""The parts that models are built from. Knows nothing about texts, checkpoints or engines.

Modules declare their parameters as float32 zeros of the right shape and are only ever built under `nnx.eval_shape`; the
loader gives parameters their real type.
"""

from jaxembed.layers.activations import ACTIVATIONS, activation
from jaxembed.layers.distance_bias import distance_bias
from jaxembed.layers.linear import Heads, Linear, Merge
from jaxembed.layers.norms import LayerNorm, RMSNorm
from jaxembed.layers.rotary import Rotary, rotate
from jaxembed.layers.stack import stacked

__all__ = [
    "ACTIVATIONS",
    "Heads",
    "LayerNorm",
    "Linear",
    "Merge",
    "RMSNorm",
    "Rotary",
    "activation",
    "distance_bias",
    "rotate",
    "stacked",
]
