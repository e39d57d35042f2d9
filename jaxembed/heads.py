"""What stands behind a backbone, as plain values: read from a checkpoint's files here, turned into modules by `pooling`."""

from dataclasses import dataclass

# The pooling modes of sentence-transformers, in the order in which old configs concatenate them.
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


@dataclass(frozen=True)
class DenseHead:
    """A sentence-transformers `Dense` module: activation(x · w + b), with its input added if `residual`."""

    inputs: int
    outputs: int
    bias: bool
    activation: str
    residual: bool
    folder: str


@dataclass(frozen=True)
class LayerNormHead:
    """A sentence-transformers `LayerNorm` module."""

    width: int
    folder: str


@dataclass(frozen=True)
class NormalizeHead:
    """A sentence-transformers `Normalize` module that is not the last one."""


Head = DenseHead | LayerNormHead | NormalizeHead
