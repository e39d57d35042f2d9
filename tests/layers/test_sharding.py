"""Restoring onto several devices, which only a process of its own can have: the platform is told before jax begins."""

import json
import os
import subprocess
import sys

import pytest

from jaxembed.convert.tool.conversion import convert
from jaxembed.layers.sharding import TABLE

# Restores a folder onto four devices and tells of each array: its shape, and of each device the part it holds and the bytes.
PROGRAM = """
import json, sys, hashlib
import jax, numpy as np
from jaxembed.layers import sharding
from jaxembed.convert.checkpoint.loading import load
folder, int8 = sys.argv[1], sys.argv[2] == "int8"
mesh = sharding.mesh(data=2, model=2)
assert set(mesh.axis_types) == {jax.sharding.AxisType.Auto}
model = load(folder, per_layer=False, mesh=mesh, quantization="int8" if int8 else None)
alone = load(folder, per_layer=False, quantization="int8" if int8 else None)
from flax import nnx
told = {}
leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(model.state))
for (path, leaf), other in zip(leaves, jax.tree.leaves(alone.state), strict=True):
    whole = np.asarray(other)
    name = "".join(map(str, path))
    shards = []
    for shard in leaf.addressable_shards:
        assert np.array_equal(np.asarray(shard.data), whole[shard.index]), name
        row, column = map(int, np.argwhere(mesh.devices == shard.device)[0])
        shards.append([row, column, list(shard.data.shape), [s.start or 0 for s in shard.index]])
    told[name] = {"shape": list(leaf.shape), "spec": [axis for axis in leaf.sharding.spec], "shards": shards}
print(json.dumps(told))
"""


def restored(folder, kind: str = "plain") -> dict:
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), kind], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def holds(entry: dict, axis: int) -> bool:
    """Whether devices of model column 0 hold the first half of an axis and those of column 1 the second, in both data rows."""
    half = entry["shape"][axis] // 2
    return len(entry["shards"]) == 4 and all(
        shape[axis] == half and start[axis] == column * half and shape[:axis] == entry["shape"][:axis]
        for _, column, shape, start in entry["shards"]
    )


@pytest.mark.parametrize("converted", [True, False])
def test_each_of_four_devices_gets_its_part_and_nothing_else(converted, checkpoint, tmp_path):
    folder = checkpoint("backbone-qwen3")
    if converted:
        convert(str(folder), tmp_path / "out")
        folder = tmp_path / "out"
    told = restored(folder)
    layers = "['backbone']['layers']"
    assert holds(told["['backbone']['words']"], 0)
    for name in ("q", "k", "v"):
        assert holds(told[f"{layers}['{name}']['w']"], 2), name
    assert holds(told[f"{layers}['out']['w']"], 1)
    for name, axis in (("gate", 2), ("up", 2), ("down", 1)):
        assert holds(told[f"{layers}['{name}']['w']"], axis), name
    norm = told[f"{layers}['mlp_norm']['scale']"]
    assert all(shape == norm["shape"] for _, _, shape, _ in norm["shards"])


def test_what_devices_do_not_divide_stays_whole_and_scales_follow_their_matrix(checkpoint, tmp_path):
    folder = checkpoint("backbone-qwen2-one-key-head")
    convert(str(folder), tmp_path / "out", dtype="int8")
    told = restored(tmp_path / "out")
    key = told["['backbone']['layers']['k']['w'].q"]
    assert all(shape == key["shape"] for _, _, shape, _ in key["shards"])
    assert holds(told["['backbone']['layers']['q']['w'].q"], 2)
    assert holds(told["['backbone']['layers']['q']['w'].scale"], 1)
    assert restored(folder, "int8").keys() == told.keys()


def test_the_table_names_axes_of_the_mesh():
    assert set(TABLE.values()) <= {"data", "model"}
