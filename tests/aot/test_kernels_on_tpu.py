"""Every kernel compiles for every TPU, without growing memory, and its inner loop stays within a committed budget."""

from dataclasses import replace

import asked
import pytest
from hardware import TPUS, compiled, device, loop_bundles

from jaxembed.kernels_pallas import AttentionShape, Target, choose

pytestmark = pytest.mark.aot

# Bundles of the innermost loop on v5e, v6e and v7x, one a cycle where nothing stalls: a twentieth above the larger of what
# libtpu 0.0.48.1 (of jax 0.11.2) and 0.0.50.1 (0.12.0.1) make. A change that costs speed shows before anyone has the device.
BUDGETS = {
    "attention, heads of 64": ("packed_attention", asked.ATTENTION[0], (687, 562, 530)),
    "attention, heads of 128": ("packed_attention", asked.ATTENTION[2], (887, 648, 620)),
    "attention, heads of 256": ("packed_attention", asked.ATTENTION[3], (1403, 851, 815)),
    "attention with a relative bias": ("packed_attention", asked.ATTENTION[8], (917, 792, 737)),
}


def made(name, shape):
    choice = choose(shape.operation, Target("tpu", device(name).device_kind), shape)
    assert choice.backend.name == "mosaic_tpu", choice.reason
    function, arguments = asked.operation(shape, choice)
    return compiled(name, function, *arguments)


@pytest.mark.parametrize("name", TPUS)
@pytest.mark.parametrize("shape", asked.ALL, ids=asked.name)
def test_the_chosen_kernel_compiles_and_is_in_the_program(name, shape):
    program = made(name, shape).as_text()
    assert program.count('custom_call_target="tpu_custom_call"') == 1


@pytest.mark.parametrize("name", TPUS)
def test_attention_needs_memory_in_proportion_to_the_row(name):
    shape = AttentionShape(8192, 512, 12, 12, 64, "bfloat16")
    small, large = (made(name, replace(shape, t=t)).memory_analysis().temp_size_in_bytes for t in (8192, 32768))
    # What is left over is copies of q, k, v and the result that XLA may or may not make.
    assert large <= 4 * max(small, 8192 * 12 * 64 * 2 * 4) * 1.05


@pytest.mark.parametrize("name", TPUS)
@pytest.mark.parametrize("case", BUDGETS)
def test_the_inner_loop_stays_within_its_budget(name, case):
    kernel, shape, budgets = BUDGETS[case]
    made(name, shape)
    bundles = loop_bundles(kernel)
    print(f"{case} on {name}: {bundles} bundles")
    assert bundles <= dict(zip(TPUS, budgets, strict=True))[name]
