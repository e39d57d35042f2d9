"""Activations of sentence-transformers' Dense, by the names of torch.nn, against what torch 2.13 gives."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxembed.convert.checkpoint.modules import ACTIVATIONS as NAMES
from jaxembed.layers import ACTIVATIONS

X = np.array([-4, -1, -0.25, 0, 0.75, 4], np.float32)
TORCH = {
    "ELU": [-0.981684, -0.632121, -0.221199, 0.0, 0.75, 4.0],
    "SELU": [-1.725899, -1.111331, -0.38889, 0.0, 0.788026, 4.202804],
    "CELU": [-0.981684, -0.632121, -0.221199, 0.0, 0.75, 4.0],
    "LeakyReLU": [-0.04, -0.01, -0.0025, 0.0, 0.75, 4.0],
    "RReLU": [-0.916667, -0.229167, -0.057292, 0.0, 0.75, 4.0],
    "ReLU6": [0.0, 0.0, 0.0, 0.0, 0.75, 4.0],
    "Hardtanh": [-1.0, -1.0, -0.25, 0.0, 0.75, 1.0],
    "Hardswish": [-0.0, -0.333333, -0.114583, 0.0, 0.46875, 4.0],
    "Hardsigmoid": [0.0, 0.333333, 0.458333, 0.5, 0.625, 1.0],
    "Softplus": [0.01815, 0.313262, 0.575939, 0.693147, 1.136871, 4.01815],
    "Softsign": [-0.8, -0.5, -0.2, 0.0, 0.428571, 0.8],
    "LogSigmoid": [-4.01815, -1.313262, -0.825939, -0.693147, -0.386871, -0.01815],
    "Tanhshrink": [-3.000671, -0.238406, -0.005081, 0.0, 0.114851, 3.000671],
    "Hardshrink": [-4.0, -1.0, 0.0, 0.0, 0.75, 4.0],
    "Softshrink": [-3.5, -0.5, -0.0, 0.0, 0.25, 3.5],
    "Softmax": [0.000311, 0.006248, 0.013227, 0.016984, 0.035954, 0.927276],
    "Softmin": [0.908589, 0.045236, 0.021368, 0.016641, 0.007861, 0.000305],
    "LogSoftmax": [-8.075504, -5.075504, -4.325504, -4.075504, -3.325504, -0.075504],
    "Identity": [-4.0, -1.0, -0.25, 0.0, 0.75, 4.0],
    "Tanh": [-0.999329, -0.761594, -0.244919, 0.0, 0.635149, 0.999329],
    "ReLU": [0.0, 0.0, 0.0, 0.0, 0.75, 4.0],
    "GELU": [-0.000126, -0.158655, -0.100323, 0.0, 0.580029, 3.999874],
    "SiLU": [-0.071945, -0.268941, -0.109456, 0.0, 0.509384, 3.928055],
    "Sigmoid": [0.017986, 0.268941, 0.437824, 0.5, 0.679179, 0.982014],
    "Mish": [-0.072592, -0.303401, -0.129927, 0.0, 0.610018, 3.997413],
}


@pytest.mark.parametrize("name", NAMES)
def test_an_activation_is_that_of_torch(name):
    """1e-6: torch's numbers stand here with six digits behind the point."""
    got = ACTIVATIONS[NAMES[name]](jnp.asarray(X[None]))[0]
    np.testing.assert_allclose(got, TORCH[name], atol=1e-6)
