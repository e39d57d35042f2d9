"""Weights that public checkpoints store in 8 bits beside a scale: fp8 per tensor, per channel and per block, int8 per channel.

The layouts are those of transformers' `fp8` and `fbgemm_fp8` quantizers (DeepSeek, Qwen3-FP8: `weight_scale_inv`, a factor in
spite of its name, one for each block of `weight_block_size`) and of compressed-tensors (`weight_scale`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxembed.convert.formats.packed_weights import Stored
from jaxembed.convert.formats.tensors import DTYPES
from jaxembed.errors import CheckpointError, UnsupportedModelError

# Those of `packed_weights`.
PACKED = ("gptq", "awq", "bitsandbytes")
_EIGHT_BITS = (DTYPES["float8_e4m3fn"], DTYPES["float8_e5m2"], DTYPES["int8"])
# Scales of activations and of key-value caches: products here are computed in the activations' own type.
_OF_ACTIVATIONS = ("input_scale", "output_scale", "k_scale", "v_scale", "activation_scale")
_METHODS = ("fp8", "fbgemm_fp8", "compressed-tensors", *PACKED)
_FORMATS = ("float-quantized", "int-quantized", "naive-quantized")
_BLOCK = (128, 128)


def check_method(config: Mapping[str, Any]) -> None:
    """Raises `UnsupportedModelError` for a `config.json` whose weights are quantized in a way that is not read."""
    said = quantization(config)
    if not said:
        return
    method, layout = said.get("quant_method"), said.get("format", _FORMATS[0])
    turned = said.get("transform_config")
    if turned and not (isinstance(turned, Mapping) and not any(turned.values())):
        raise UnsupportedModelError(
            "weights quantized with a transform_config are not supported, as they are turned before they are rounded. "
            "Use the checkpoint that was quantized from."
        )
    if method not in _METHODS or (method == "compressed-tensors" and layout not in _FORMATS):
        named = f"{method} ({layout})" if method == "compressed-tensors" else str(method)
        raise UnsupportedModelError(
            f"weights quantized by {named} are not supported; supported are {', '.join(_METHODS)} with "
            f"{', '.join(_FORMATS)}. Use the checkpoint that was quantized from."
        )


def block_size(config: Mapping[str, Any]) -> tuple[int, int]:
    """Returns rows and columns of the blocks that share a scale."""
    given = quantization(config).get("weight_block_size")
    if given is None:
        return _BLOCK
    whole = isinstance(given, list) and len(given) == 2 and all(type(one) is int and one > 0 for one in given)
    if not whole:
        raise UnsupportedModelError(f"weight_block_size {given!r} is not supported; it may be two whole numbers above 0.")
    return given[0], given[1]


def quantization(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns what a config says of quantized weights, under the key of today or the one that compressed-tensors had before."""
    for key in ("quantization_config", "compression_config"):
        given = config.get(key)
        if given is None:
            continue
        if not isinstance(given, Mapping):
            raise UnsupportedModelError(f"config.json says {key}: {given!r}, and it must be an object that names a method.")
        if given:
            return given
    return {}


def scales_of(tensors: Mapping[str, Stored]) -> tuple[dict[str, str], set[str]]:
    """Returns for each weight of 8 bits the name of its scale, and all names that are no parameters: those and activations'."""
    scales: dict[str, str] = {}
    hidden: set[str] = set()
    for name, stored in tensors.items():
        if stored.dtype not in _EIGHT_BITS:
            continue
        found = [name + suffix for suffix in ("_scale", "_scale_inv") if name + suffix in tensors]
        if found:
            scales[name] = found[0]
            owner = name.rpartition(".")[0]
            hidden |= {found[0], *(f"{owner}.{suffix}" for suffix in _OF_ACTIVATIONS)}
    return scales, hidden & set(tensors)


def dequantized(name: str, weight: np.ndarray, scale: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Returns weight [o, i] times its scale, float32: one number, one for each row [o] or [o, 1], or one for each block."""
    wide, scale = weight.astype(np.float32), scale.astype(np.float32)
    if scale.size == 1:
        wide *= scale.reshape(())
        return wide
    rows = wide.shape[0]
    if scale.shape in ((rows,), (rows, 1)):
        wide *= scale.reshape(rows, *[1] * (wide.ndim - 1))
        return wide
    down, across = block
    if wide.ndim != 2 or scale.shape != (-(-rows // down), -(-wide.shape[1] // across)):
        raise CheckpointError(
            f"the scale of {name} has shape {list(scale.shape)}, which fits {list(wide.shape)} neither by row nor in blocks of "
            f"{down} x {across}."
        )
    for number, factors in enumerate(scale):
        wide[number * down : (number + 1) * down] *= np.repeat(factors, across)[: wide.shape[1]]
    return wide
