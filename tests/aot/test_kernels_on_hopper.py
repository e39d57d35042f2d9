"""Every kernel compiles for an H200 without spilling a register, within shared memory, and without growing memory."""

from dataclasses import replace

import asked
import pytest
from hardware import compiled, forget_reports, ptxas

from jaxembed.kernels_pallas import AttentionShape, Target, choose
from jaxembed.kernels_pallas.backend import SHARED_MEMORY

pytestmark = pytest.mark.aot

H200 = Target("gpu", "NVIDIA H200")


def made(shape):
    choice = choose(shape.operation, H200, shape)
    assert choice.backend.name == "mosaic_gpu", choice.reason
    function, arguments = asked.operation(shape, choice)
    forget_reports()
    return compiled("h200", function, *arguments)


@pytest.mark.parametrize("shape", asked.ALL, ids=asked.name)
def test_the_chosen_kernel_compiles_without_spills_and_within_shared_memory(shape):
    program = made(shape).as_text()
    assert program.count('custom_call_target="mosaic_gpu') == 1
    report = ptxas()
    assert report["spilled"] == 0
    assert report["shared"] <= SHARED_MEMORY


def test_attention_needs_no_memory_that_grows_with_the_row():
    shape = AttentionShape(8192, 256, 12, 12, 64, "bfloat16")
    small, large = (made(replace(shape, t=t)).memory_analysis().temp_size_in_bytes for t in (8192, 32768))
    # First and last key tile of each tile of queries.
    assert large <= 4 * small + 1024 <= 64 << 10
