"""Runs kernels for absent hardware in jax's interpreters, with races, reads of unwritten memory and stray indices as errors.

The verdict on races is only in a private module of jax; this is the one file that looks there.
"""

import contextlib
from collections.abc import Iterator
from importlib import import_module

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.pallas import mosaic_gpu as plgpu
from jax.experimental.pallas import tpu as pltpu

OLD = tuple(map(int, jax.__version__.split(".")[:2])) < (0, 12)


@contextlib.contextmanager
def interpreted(backend: str) -> Iterator[None]:
    """Anything but a kernel's name changes nothing."""
    if backend == "mosaic_tpu":
        from jax._src.pallas.mosaic.interpret import interpret_pallas_call

        strict = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan", out_of_bounds_reads="raise")
        with pltpu.force_tpu_interpret_mode(strict):
            yield
        assert not interpret_pallas_call.races.races_found
    elif backend == "mosaic_gpu":
        if OLD:
            pytest.skip("jax 0.11 cannot interpret these kernels; they are compiled for it by make aot")
        # A race raises here.
        with plgpu.force_gpu_interpret_mode(plgpu.InterpretGPUParams(detect_races=True)), _register_operands():
            yield
    else:
        yield


@contextlib.contextmanager
def _register_operands() -> Iterator[None]:
    """jax 0.12 cannot interpret a product whose left operand is in registers: the same sum, written out."""

    def accumulate(sums, weights, value):
        right = value[...]
        plgpu.commit_smem()  # the real one reads through the copy engine's proxy and needs none
        return sums + jnp.dot(weights, right, preferred_element_type=jnp.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("jaxembed.kernels_pallas.attention.mosaic_gpu"), "_accumulate", accumulate)
        yield
