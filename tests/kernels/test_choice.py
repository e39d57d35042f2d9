"""Choosing is a pure function: the same answer for hardware that is here and hardware that is not, always with its reason."""

import subprocess
import sys
from dataclasses import replace

import pytest

from jaxembed.kernels_pallas import OPERATIONS, AttentionShape, PoolShape, Target, choose
from jaxembed.kernels_pallas.operations import rows

BERT = AttentionShape(t=8192, longest=256, heads=12, key_heads=12, width=64, dtype="bfloat16")
CPU, H200, V5E = Target("cpu", "cpu"), Target("gpu", "NVIDIA H200"), Target("tpu", "TPU v5 lite")


@pytest.mark.parametrize(
    ("target", "shape", "backend", "reason"),
    [
        (CPU, BERT, "banded", "runs everywhere"),
        (H200, BERT, "mosaic_gpu", "NVIDIA H200"),
        (V5E, BERT, "mosaic_tpu", "TPU v5 lite"),
        (H200, replace(BERT, width=40), "banded", "head width 40 is not a multiple of 16"),
        (H200, replace(BERT, dtype="float32"), "banded", "float32 is not one of the types"),
        (H200, replace(BERT, bias="relative", reach=4096), "banded", "reaches 4096 tokens"),
        (H200, replace(BERT, width=256, bias="relative", reach=128), "banded", "shared memory"),
        (V5E, replace(BERT, width=36), "banded", "head width 36 is not a multiple of 8"),
        (V5E, replace(BERT, t=65536, longest=65536, width=128), "banded", "vector memory"),
        (V5E, replace(BERT, t=768, longest=768), "banded", "not a whole number of tiles"),
        (Target("gpu", "NVIDIA B200"), BERT, "banded", "no tiles are known for NVIDIA B200"),
        (Target("tpu", "TPU v4"), BERT, "banded", "no tiles are known for TPU v4"),
    ],
)
def test_choose_takes_the_kernel_where_it_serves_and_says_why_not_elsewhere(target, shape, backend, reason):
    taken = choose("attention", target, shape)
    assert taken.backend.name == backend
    assert reason in taken.reason


@pytest.mark.parametrize(
    ("target", "shape", "force", "complaint"),
    [
        (CPU, BERT, "flash", "no back end 'flash'; it has mosaic_gpu, mosaic_tpu, banded, reference"),
        (CPU, BERT, "mosaic_tpu", "made for another kind of hardware"),
        (H200, BERT, "mosaic_tpu", "made for another kind of hardware"),
        (H200, replace(BERT, width=40), "mosaic_gpu", "head width 40 is not a multiple of 16"),
        (Target("gpu", "NVIDIA A100"), BERT, "mosaic_gpu", "no tiles are known"),
    ],
)
def test_a_forced_back_end_serves_or_says_what_it_misses(target, shape, force, complaint):
    with pytest.raises(ValueError, match=complaint):
        choose("attention", target, shape, force=force)


@pytest.mark.parametrize("force", ["banded", "reference", "mosaic_gpu"])
def test_what_serves_can_be_forced(force):
    taken = choose("attention", H200, BERT, force=force)
    assert taken.backend.name == force
    assert "asked for by the caller" in taken.reason


def test_an_operation_that_does_not_exist_or_does_not_fit_its_shape_is_refused():
    with pytest.raises(ValueError, match="no operation 'convolve'"):
        choose("convolve", CPU, BERT)
    with pytest.raises(ValueError, match="no operation 'pool' for a AttentionShape"):
        choose("pool", CPU, BERT)
    assert choose("pool", CPU, PoolShape(512, 512, 128, 384, ("mean",), "float32")).backend.name == "xla"


def test_every_row_of_tiles_has_a_source_a_date_and_an_operation_with_a_kernel_for_it():
    kinds = {"v5e": "tpu", "v6e": "tpu", "v7x": "tpu", "hopper": "gpu"}
    for row in rows():
        assert row["source"]
        assert len(row["date"].split("-")) == 3
        platforms = {kernel.platform for kernel in OPERATIONS[row["operation"]].kernels}
        assert {kinds[family] for family in row["families"]} <= platforms
        assert set(row) <= {"operation", "families", "up_to", "tiles", "source", "date"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_table_names_every_back_end_as_it_names_itself(name):
    operation = OPERATIONS[name]
    assert operation.shape.operation == operation.name == name
    assert operation.reference.platform is operation.everywhere.platform is None
    for kernel in operation.kernels:
        made = kernel.load()
        assert (made.name, made.platform) == (kernel.name, kernel.platform)
    assert len(operation.backends()) == 4


def test_a_machine_without_accelerator_never_imports_what_only_kernels_need():
    program = """
import sys
from jaxembed.kernels_pallas import AttentionShape, Target, choose
shape = AttentionShape(8192, 256, 12, 12, 64, "bfloat16")
for target in (Target("cpu", "cpu"), Target("gpu", "NVIDIA A100")):
    assert choose("attention", target, shape).backend.name == "banded"
print([name for name in sys.modules if name.startswith("jax.experimental.pallas")])
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout == "[]\n"
