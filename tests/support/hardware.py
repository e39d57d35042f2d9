"""Compiles for hardware that is absent and reads what the compilers report. The environment is set by scripts/aot.sh."""

import os
import re
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import AbstractDevice, AbstractMesh, SingleDeviceSharding, use_abstract_mesh

TPUS = {"v5e": "v5e:2x2", "v6e": "v6e:2x2", "v7x": "tpu7x:2x2x1"}

H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
  block_dim_limit_z: 65535 memory_bandwidth: 4800000000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 150000000000 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 minor: 0 feature_extension: ACCELERATED_FEATURES }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 patch: 0 } device_description_str: "NVIDIA H200"
"""


def device(name: str) -> Any:
    if name == "h200":
        return topologies.get_topology_desc(platform="cuda", target_config=H200, topology="1x1x1").devices[0]
    return topologies.get_topology_desc(platform="tpu", topology_name=TPUS[name]).devices[0]


def abstractly(name: str) -> Any:
    """A context in which Pallas believes that the named hardware is there."""
    kind, platform = ("NVIDIA H200", "gpu") if name == "h200" else (device(name).device_kind, "tpu")
    cores = 132 if name == "h200" else 1
    return use_abstract_mesh(
        AbstractMesh((), (), abstract_device=AbstractDevice(device_kind=kind, platform=platform, num_cores=cores))
    )


def on(name: str, shapes: Any) -> Any:
    """The same tree of shapes, placed on the named device."""
    place = SingleDeviceSharding(device(name))
    return jax.tree.map(lambda one: jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=place), shapes)


def compiled(name: str, function: Any, *shapes: Any) -> Any:
    with abstractly(name):
        return jax.jit(function).lower(*on(name, shapes)).compile()


def forget_reports() -> None:
    for path in Path(os.environ["MOSAIC_GPU_DUMP_TO"]).iterdir():
        path.unlink()


def ptxas() -> dict[str, int]:
    """The most spilled bytes, registers and bytes of shared memory of any kernel compiled since `forget_reports`."""
    text = "".join(path.read_text() for path in Path(os.environ["MOSAIC_GPU_DUMP_TO"]).iterdir() if path.is_file())
    patterns = {
        "spilled": r"(\d+) bytes spill (?:stores|loads)",
        "registers": r"Used (\d+) registers",
        "shared": r"smem_scratch_bytes=(\d+)",
    }
    return {name: max(map(int, re.findall(pattern, text))) for name, pattern in patterns.items()}


def loop_bundles(kernel: str) -> int:
    """Instruction bundles of the innermost loop of the kernel compiled last: its speed without stalls, one bundle a cycle."""
    folder = Path(re.search(r"--xla_jf_dump_to=(\S+)", os.environ["LIBTPU_INIT_ARGS"]).group(1))
    found = sorted(folder.glob(f"*{kernel}*-final_bundles.txt"), key=lambda path: path.stat().st_mtime)
    lines = [path.read_text() for path in found if "schedule-analysis" not in path.name][-1].splitlines()
    deepest = max(depth.group(1).count(">") for line in lines if (depth := re.search(r":\s+((?:> ?)+)\{", line)))
    return sum(1 for line in lines if re.search(r":\s+" + "> ?" * deepest + r"\s*\{", line))
