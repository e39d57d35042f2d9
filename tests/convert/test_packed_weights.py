"""Weights that GPTQ, AWQ and bitsandbytes packed, against the numbers that were packed, one bit field at a time."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxembed import LLM
from jaxembed.convert.formats.reader import Checkpoint
from jaxembed.convert.tool.conversion import convert
from jaxembed.errors import CheckpointError, UnsupportedModelError

RNG = np.random.RandomState(5)


def words(fields, bits):
    """An int32 of fields, the first in its lowest bits."""
    return (
        np.array(sum(int(field) << (bits * place) for place, field in enumerate(fields)), np.uint64)
        .astype(np.uint32)
        .view("i4")
    )


def gptq(outputs, inputs, *, bits=4, group=8, form="gptq", mixed=False):
    """Parts of a weight, and the weight. mixed: whether rows stand in groups of any order, as desc_act has it."""
    pack, groups = 32 // bits, inputs // group
    q = RNG.randint(0, 1 << bits, (inputs, outputs))
    zeros = RNG.randint(0, 1 << bits, (groups, outputs))
    scales = (RNG.rand(groups, outputs) / 9 + 0.01).astype(np.float16)
    of = RNG.permutation(np.arange(inputs) // group) if mixed else np.arange(inputs) // group
    stored = (zeros - 1) % (1 << bits) if form == "gptq" else zeros
    rows = [[words(q[i : i + pack, o], bits) for o in range(outputs)] for i in range(0, inputs, pack)]
    columns = [[words(stored[g, o : o + pack], bits) for o in range(0, outputs, pack)] for g in range(groups)]
    parts = {
        "qweight": np.array(rows, np.int32),
        "qzeros": np.array(columns, np.int32),
        "scales": scales,
        "g_idx": of.astype(np.int32),
    }
    weight = np.array([[(q[i, o] - zeros[of[i], o]) * float(scales[of[i], o]) for i in range(inputs)] for o in range(outputs)])
    return parts, weight, {"quant_method": "gptq", "bits": bits, "group_size": group, "checkpoint_format": form}


def awq(outputs, inputs, *, group=8):
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    q, zeros = RNG.randint(0, 16, (inputs, outputs)), RNG.randint(0, 16, (inputs // group, outputs))
    scales = (RNG.rand(inputs // group, outputs) / 9 + 0.01).astype(np.float16)

    def packed(numbers):
        return np.array([[words([row[o + i] for i in order], 4) for o in range(0, outputs, 8)] for row in numbers], np.int32)

    weight = np.array(
        [[(q[i, o] - zeros[i // group, o]) * float(scales[i // group, o]) for i in range(inputs)] for o in range(outputs)]
    )
    parts = {"qweight": packed(q), "qzeros": packed(zeros), "scales": scales}
    return parts, weight, {"quant_method": "awq", "bits": 4, "group_size": group, "version": "gemm", "zero_point": True}


def int8(outputs, inputs):
    q, scale = RNG.randint(-127, 128, (outputs, inputs)).astype(np.int8), (RNG.rand(outputs) + 0.1).astype(np.float32)
    parts = {"weight": q, "SCB": scale, "weight_format": np.array(0, np.uint8)}
    return parts, q * scale[:, None] / 127, {"quant_method": "bitsandbytes", "load_in_8bit": True}


def nf4(outputs, inputs, *, nested=False, block=8):
    count = outputs * inputs
    table, places = np.sort(RNG.randn(16)).astype(np.float32), RNG.randint(0, 16, count)
    scales = (RNG.rand(count // block) + 0.1).astype(np.float32)
    state = {"quant_type": "nf4", "blocksize": block, "dtype": "bfloat16", "shape": [outputs, inputs]}
    parts = {"weight": np.array([[a << 4 | b] for a, b in zip(places[::2], places[1::2], strict=True)], np.uint8)}
    if nested:
        inner, codes = RNG.rand(256).astype(np.float32), RNG.randint(0, 256, count // block).astype(np.uint8)
        outer = RNG.rand(-(-len(codes) // 4)).astype(np.float32)
        scales = np.array([inner[code] * outer[i // 4] + 0.25 for i, code in enumerate(codes)])
        parts |= {"weight.absmax": codes, "weight.nested_absmax": outer, "weight.nested_quant_map": inner}
        state |= {"nested_blocksize": 4, "nested_dtype": "float32", "nested_offset": 0.25}
    else:
        parts["weight.absmax"] = scales
    parts["weight.quant_map"] = table
    parts["weight.quant_state.bitsandbytes__nf4"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    weight = np.array([table[place] * scales[i // block] for i, place in enumerate(places)]).reshape(outputs, inputs)
    return parts, weight, {"quant_method": "bitsandbytes", "load_in_4bit": True}


MADE = {
    "gptq": lambda o, i: gptq(o, i),
    "gptq, rows mixed": lambda o, i: gptq(o, i, mixed=True),
    "gptq v2": lambda o, i: gptq(o, i, form="gptq_v2"),
    "gptq in 8 bits": lambda o, i: gptq(o, i, bits=8),
    "gptq in 2 bits": lambda o, i: gptq(o, i, bits=2, group=16),
    "awq": awq,
    "bitsandbytes int8": int8,
    "bitsandbytes nf4": nf4,
    "bitsandbytes nf4, scales quantized": lambda o, i: nf4(o, i, nested=True),
}


@pytest.mark.parametrize("kind", MADE)
def test_a_packed_weight_is_multiplied_out(tmp_path, kind):
    parts, weight, said = MADE[kind](16, 32)
    save_file({f"layer.{name}": part for name, part in parts.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": said}))
    checkpoint = Checkpoint(tmp_path)
    assert list(checkpoint) == ["layer.weight"]
    assert checkpoint.shape("layer.weight") == (16, 32)
    assert checkpoint.dtype("layer.weight") == np.float32
    np.testing.assert_allclose(checkpoint.read("layer.weight"), weight, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["gptq", "awq", "bitsandbytes int8", "bitsandbytes nf4"])
def test_a_model_of_packed_weights_loads_and_converts(checkpoint, tmp_path, kind, unrecorded):
    folder = checkpoint("backbone-qwen3")
    tensors = load_file(folder / "model.safetensors")
    plain, packed, said = {}, {}, {}
    for name, tensor in tensors.items():
        if ".mlp." not in name:
            plain[name] = packed[name] = tensor
            continue
        parts, plain[name], said = MADE[kind](*tensor.shape)
        plain[name] = plain[name].astype(np.float32)
        packed |= {f"{name.removesuffix('weight')}{part}": value for part, value in parts.items()}
    save_file(plain, folder / "model.safetensors")
    expected = vector(folder)
    save_file(packed, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": said}))
    np.testing.assert_allclose(vector(folder), expected, atol=1e-6)
    convert(str(folder), tmp_path / "converted")
    np.testing.assert_allclose(vector(tmp_path / "converted"), expected, atol=1e-6)


def vector(folder):
    (output,) = LLM(str(folder)).encode([[7, 8, 9]], pooling_task="embed", use_tqdm=False)
    return output.outputs.data


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("gptq", {"bits": 3}, "GPTQ with bits 3"),
        ("gptq", {"checkpoint_format": "marlin"}, "checkpoint_format 'marlin'"),
        ("gptq", {"dynamic": {"-:.*": {}}}, "and dynamic"),
        ("awq", {"version": "gemv"}, "version 'gemv'"),
        ("awq", {"zero_point": False}, "zero_point False"),
    ],
)
def test_a_layout_that_is_not_read_is_refused_by_name(tmp_path, kind, changes, message):
    parts, _, said = MADE[kind](16, 32)
    save_file({f"layer.{name}": part for name, part in parts.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": said | changes}))
    with pytest.raises(UnsupportedModelError, match=message):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("kind", ["gptq", "awq"])
@pytest.mark.parametrize("part", ["qzeros", "scales"])
def test_parts_that_are_missing_or_do_not_fit_are_named(tmp_path, kind, part):
    parts, _, said = MADE[kind](16, 32)
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": said}))
    for content, message in ((None, rf"layer\.qweight lacks layer\.{part}"), (parts[part][:, :1], "do not fit each other")):
        tensors = {name: one for name, one in parts.items() if name != part} | ({} if content is None else {part: content})
        save_file({f"layer.{name}": np.ascontiguousarray(one) for name, one in tensors.items()}, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=message):
            Checkpoint(tmp_path)
