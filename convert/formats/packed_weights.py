"""Weights of few bits, packed into whole numbers: GPTQ, AWQ and bitsandbytes, multiplied out as they are read.

The layouts are those that AutoGPTQ and GPTQModel, AutoAWQ (its gemm version) and bitsandbytes write. A tensor of theirs stands
under the name that the layer's weight would have, float32.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from jaxembed.convert.formats.tensors import DTYPES
from jaxembed.errors import CheckpointError, UnsupportedModelError

_INT32_BITS = 32
# AutoAWQ puts the columns of eight into an int32 in this order, the first into its lowest bits.
_AWQ_COLUMNS = (0, 2, 4, 6, 1, 3, 5, 7)
_BNB_STATE = ".quant_state.bitsandbytes__"
_BNB_HALVES = (".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map")


class Stored(Protocol):
    """A tensor that can be read; `StoredTensor` is one."""

    @property
    def dtype(self) -> np.dtype:
        """Of what `read` gives."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what `read` gives."""
        ...

    def read(self) -> np.ndarray:
        """Reads it."""
        ...


@dataclass(frozen=True)
class Unpacked:
    """A weight that is multiplied out when it is read. make: does so."""

    shape: tuple[int, ...]
    make: Callable[[], np.ndarray]
    dtype: np.dtype = DTYPES["float32"]

    def read(self) -> np.ndarray:
        """Reads the parts and multiplies them out, float32."""
        return self.make()


def unpacked(quantization: Mapping[str, Any], tensors: Mapping[str, Stored]) -> dict[str, Stored]:
    """Returns the tensors of a checkpoint with each packed weight in the place of its parts.

    quantization: what `config.json` says of it. Raises `UnsupportedModelError` for a layout that is not read, `CheckpointError`
    for parts that do not fit each other.
    """
    method = quantization.get("quant_method")
    if method == "gptq":
        return _by_layer(tensors, partial(_gptq, quantization), ("qzeros", "scales", "g_idx"))
    if method == "awq":
        return _by_layer(tensors, partial(_awq, quantization), ("qzeros", "scales"))
    if method == "bitsandbytes":
        return _bitsandbytes(tensors)
    return dict(tensors)


def _by_layer(
    tensors: Mapping[str, Stored], make: Callable[[str, Mapping[str, Stored]], Unpacked], others: tuple[str, ...]
) -> dict[str, Stored]:
    """Puts `layer.weight` in the place of `layer.qweight` and of what belongs to it."""
    found = dict(tensors)
    for name in tensors:
        layer, dot, last = name.rpartition(".")
        if last != "qweight":
            continue
        parts = {part: found.pop(f"{layer}.{part}") for part in ("qweight", *others) if f"{layer}.{part}" in found}
        missing = [part for part in ("qzeros", "scales") if part not in parts]
        if missing:
            raise CheckpointError(f"{name} lacks {layer}.{missing[0]}, without which it means nothing.")
        found[f"{layer}{dot}weight"] = make(layer, parts)
    return found


def _gptq(quantization: Mapping[str, Any], layer: str, parts: Mapping[str, Stored]) -> Unpacked:
    bits, group = quantization.get("bits"), quantization.get("group_size", -1)
    form = quantization.get("checkpoint_format", "gptq")
    if bits not in (2, 4, 8) or form not in ("gptq", "gptq_v2") or quantization.get("dynamic"):
        dynamic = quantization.get("dynamic")
        raise UnsupportedModelError(
            f"GPTQ with bits {bits}, checkpoint_format {form!r} and dynamic {dynamic!r} is not supported; 2, 4 or 8 bits "
            "in 'gptq' or 'gptq_v2' alike in all layers are. Use the checkpoint that was quantized from."
        )
    pack = _INT32_BITS // bits
    rows, outputs = parts["qweight"].shape
    inputs = rows * pack
    groups = parts["scales"].shape[0]
    fits = parts["scales"].shape == (groups, outputs) and parts["qzeros"].shape == (groups, -(-outputs // pack))
    if not fits:
        raise CheckpointError(f"the parts of the GPTQ weight {layer} do not fit each other.")

    def make() -> np.ndarray:
        numbers = _spread(parts["qweight"].read(), bits, range(pack), axis=0)
        zeros = _spread(parts["qzeros"].read(), bits, range(pack), axis=1)[:, :outputs]
        if form == "gptq":
            # The first layout stores each zero less one.
            zeros = (zeros + 1) & ((1 << bits) - 1)
        size = inputs if group in (-1, None) else int(group)
        of = parts["g_idx"].read().astype(np.int64) if "g_idx" in parts else np.arange(inputs) // size
        if len(of) != inputs or of.min() < 0 or of.max() >= groups:
            raise CheckpointError(f"the groups of the GPTQ weight {layer} do not fit it.")
        wide: np.ndarray = (numbers - zeros[of]).astype(np.float32) * parts["scales"].read().astype(np.float32)[of]
        return np.ascontiguousarray(wide.T)

    return Unpacked((outputs, inputs), make)


def _awq(quantization: Mapping[str, Any], layer: str, parts: Mapping[str, Stored]) -> Unpacked:
    bits = quantization.get("bits", quantization.get("w_bit"))
    version = str(quantization.get("version", "gemm")).lower()
    if bits != 4 or version != "gemm" or quantization.get("zero_point") is False:
        raise UnsupportedModelError(
            f"AWQ with bits {bits}, version {version!r} and zero_point {quantization.get('zero_point')!r} is not supported; 4 "
            "bits in 'gemm' with zero points are. Use the checkpoint that was quantized from."
        )
    pack = _INT32_BITS // bits
    inputs, columns = parts["qweight"].shape
    outputs, groups = columns * pack, parts["scales"].shape[0]
    if parts["scales"].shape != (groups, outputs) or parts["qzeros"].shape != (groups, columns) or inputs % groups:
        raise CheckpointError(f"the parts of the AWQ weight {layer} do not fit each other.")

    def make() -> np.ndarray:
        numbers = _spread(parts["qweight"].read(), bits, _AWQ_COLUMNS, axis=1)
        zeros = _spread(parts["qzeros"].read(), bits, _AWQ_COLUMNS, axis=1)
        of = np.arange(inputs) // (inputs // groups)
        wide: np.ndarray = (numbers - zeros[of]).astype(np.float32) * parts["scales"].read().astype(np.float32)[of]
        return np.ascontiguousarray(wide.T)

    return Unpacked((outputs, inputs), make)


def _spread(packed: np.ndarray, bits: int, order: Any, *, axis: int) -> np.ndarray:
    """Returns the numbers in int32s, int32: those of one lie beside each other along `axis`, its lowest bits at `order[0]`."""
    words, mask = packed.view(np.uint32), np.uint32((1 << bits) - 1)
    parts = {place: (words >> np.uint32(bits * index)) & mask for index, place in enumerate(order)}
    stacked = np.stack([parts[place] for place in sorted(parts)], axis=axis + 1)
    shape = list(packed.shape)
    shape[axis] *= len(parts)
    return stacked.reshape(shape).astype(np.int32)


def _bitsandbytes(tensors: Mapping[str, Stored]) -> dict[str, Stored]:
    found = dict(tensors)
    for name, stored in tensors.items():
        scale = f"{name.removesuffix('weight')}SCB"
        state = next((other for other in tensors if other.startswith(name + _BNB_STATE)), None) if _is_half(stored) else None
        if stored.dtype == DTYPES["int8"] and scale in tensors:
            found[name] = Unpacked(stored.shape, partial(_int8, stored, found.pop(scale)))
            found.pop(f"{name}_format", None)
        elif state is not None:
            parts = {part: found.pop(name + part) for part in _BNB_HALVES if name + part in found}
            found[name] = _half_bytes(name, stored, parts, _state(state, found.pop(state)))
    return found


def _is_half(stored: Stored) -> bool:
    return stored.dtype == DTYPES["uint8"] and len(stored.shape) == 2 and 1 in stored.shape


def _int8(stored: Stored, scale: Stored) -> np.ndarray:
    """LLM.int8: the largest number of each row is 127."""
    wide: np.ndarray = stored.read().astype(np.float32) * (scale.read().astype(np.float32).reshape(-1, 1) / 127)
    return wide


def _state(name: str, stored: Stored) -> Mapping[str, Any]:
    try:
        state = json.loads(stored.read().tobytes())
        shape = tuple(int(size) for size in state["shape"])
        return {**state, "shape": shape, "blocksize": int(state["blocksize"])}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{name} does not say how its weight was quantized: {error!r}.") from None


def _half_bytes(name: str, stored: Stored, parts: Mapping[str, Stored], state: Mapping[str, Any]) -> Unpacked:
    """NF4 and FP4: two numbers a byte, the first in its upper half, each a place in a table of 16, times a scale a block."""
    shape, block = state["shape"], state["blocksize"]
    count = int(np.prod(shape))
    if ".absmax" not in parts or ".quant_map" not in parts or int(np.prod(stored.shape)) != -(-count // 2) or block < 1:
        raise CheckpointError(f"the parts of the bitsandbytes weight {name} do not fit each other.")

    def make() -> np.ndarray:
        pairs = stored.read().reshape(-1)
        places = np.stack([pairs >> 4, pairs & 15], axis=1).reshape(-1)[:count]
        scales = parts[".absmax"].read()
        if ".nested_absmax" in parts:
            # The scales are quantized too, with a table and scales of their own.
            inner = parts[".nested_absmax"].read().astype(np.float32)
            of = np.arange(len(scales)) // int(state.get("nested_blocksize", 256))
            scales = parts[".nested_quant_map"].read().astype(np.float32)[scales] * inner[of]
            scales = scales + np.float32(state.get("nested_offset", 0.0))
        wide = parts[".quant_map"].read().astype(np.float32)[places]
        wide *= np.repeat(scales.astype(np.float32), block)[:count]
        result: np.ndarray = wide.reshape(shape)
        return result

    return Unpacked(shape, make)
