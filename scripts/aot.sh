#!/usr/bin/env bash
# Compiles for hardware that is absent. TPUs and NVIDIA GPUs each want a process of their own, with what they read at its start.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv-aot/bin/python}
dump=$(mktemp -d)
trap 'rm -rf "$dump"' EXIT
mkdir "$dump/tpu" "$dump/gpu"

tpu() {
    # There is no chip to guard, so several of these may run at once.
    JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 TPU_WORKER_HOSTNAMES=localhost ALLOW_MULTIPLE_LIBTPU_LOAD=1 "$@"
}

# The compiler writes hundreds of files a kernel, so whole models are compiled without them.
LIBTPU_INIT_ARGS="--xla_jf_dump_to=$dump/tpu --xla_jf_dump_llo_text=true" \
    tpu "$python" -m pytest -m aot tests/aot/test_kernels_on_tpu.py "$@"
tpu "$python" -m pytest -m aot tests/aot/test_models.py -k tpu "$@"
MOSAIC_GPU_DUMP_TO="$dump/gpu" MOSAIC_GPU_DUMP_PTXAS=1 JAX_SKIP_CUDA_CONSTRAINTS_CHECK=1 \
    "$python" -m pytest -m aot tests/aot/test_kernels_on_hopper.py tests/aot/test_models.py -k "not tpu" "$@"
