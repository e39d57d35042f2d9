"""Fused operations over packed rows, each with one meaning and several back ends; knows nothing about models or texts.

An operation is a folder with one public function, a short `reference.py` that says what it means, a path in plain XLA that
runs everywhere, and one file for each hardware back end. `OPERATIONS` lists them all; `choose` decides once, at start, and
says why.
"""

from jaxembed.kernels_pallas.attention import attention
from jaxembed.kernels_pallas.backend import Backend, Operation
from jaxembed.kernels_pallas.bias import Alibi, RelativeBias
from jaxembed.kernels_pallas.choice import Choice, Choices, Target
from jaxembed.kernels_pallas.lexical import lexical
from jaxembed.kernels_pallas.maxsim import maxsim
from jaxembed.kernels_pallas.operations import OPERATIONS, choose
from jaxembed.kernels_pallas.pool import pool
from jaxembed.kernels_pallas.shapes import AttentionShape, LexicalShape, MaxsimShape, PoolShape, Shape
from jaxembed.kernels_pallas.spans import Spans

__all__ = [
    "Alibi",
    "AttentionShape",
    "Backend",
    "Choice",
    "Choices",
    "LexicalShape",
    "MaxsimShape",
    "OPERATIONS",
    "Operation",
    "PoolShape",
    "RelativeBias",
    "Shape",
    "Spans",
    "Target",
    "attention",
    "choose",
    "lexical",
    "maxsim",
    "pool",
]
