"""Fused operations over packed rows, each with one meaning and several back ends; knows nothing about models or texts.

An operation is a folder with one public function, a short `reference.py` that says what it means, a path in plain XLA that
runs everywhere, and one file for each hardware back end. `choose` decides once, at start, and says why.
"""

from jaxembed.kernels_pallas.attention import attention
from jaxembed.kernels_pallas.bias import Alibi, RelativeBias
from jaxembed.kernels_pallas.choice import Choice, Target, choose
from jaxembed.kernels_pallas.spans import Spans

__all__ = ["Alibi", "Choice", "RelativeBias", "Spans", "Target", "attention", "choose"]
