"""Files of `torch.save`, read without torch, and pickles that want to do something, refused by name."""

import copyreg
import json
import pickle
import zipfile
from contextlib import suppress

import ml_dtypes
import numpy as np
import pytest
from raw_files import write_raw
from reference import pickled
from reference.pickled import name, plain
from safetensors.numpy import load_file

from jaxembed import LLM
from jaxembed.convert.formats.reader import Checkpoint
from jaxembed.convert.formats.tensors import in_order
from jaxembed.convert.formats.torch_files import torch_tensors
from jaxembed.errors import CheckpointError, UnsupportedModelError


def vector(folder) -> np.ndarray:
    (output,) = LLM(str(folder)).encode("w8 w9 w10", pooling_task="embed", use_tqdm=False)
    return output.outputs.data


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int64])
def test_tensors_come_out_with_the_bytes_that_went_in(dtype, tmp_path):
    rng = np.random.RandomState(0)
    tensors = {"a.weight": (rng.randn(5, 3) * 9).astype(dtype), "b": np.array(7, dtype), "c": np.zeros((0, 4), dtype)}
    pickled.save(tmp_path / "x.bin", tensors)
    found = torch_tensors(tmp_path / "x.bin")
    assert list(found) == list(tensors)
    for key, value in tensors.items():
        got = found[key].read()
        assert (got.dtype, got.shape, got.tobytes()) == (value.dtype, value.shape, value.tobytes())


def test_views_of_one_storage_are_cut_as_their_strides_say(tmp_path):
    whole = np.arange(24, dtype=np.float32)
    views = {
        "transposed": ((4, 6), (1, 4), 0),
        "every other": ((3, 2), (8, 2), 1),
        "expanded": ((5, 2), (0, 1), 22),
        "tied": ((24,), (1,), 0),
    }
    entries = {key: pickled.tensor("0", 24, shape, strides, start=start) for key, (shape, strides, start) in views.items()}
    pickled.write_zip(tmp_path / "x.pt", pickled.state_dict(entries), {"0": whole.tobytes()})
    found = torch_tensors(tmp_path / "x.pt")
    for key, (shape, strides, start) in views.items():
        index = start + sum(np.indices(shape)[axis] * stride for axis, stride in enumerate(strides))
        np.testing.assert_array_equal(found[key].read(), whole[index])


def test_the_other_byte_order_is_turned(tmp_path):
    value = np.arange(6, dtype=np.float32)
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", pickled.state_dict({"a": pickled.tensor("0", 6, (6,), (1,))}))
        archive.writestr("m/byteorder", "big")
        archive.writestr("m/data/0", value.astype(">f4").tobytes())
    np.testing.assert_array_equal(torch_tensors(path)["a"].read(), value)


def test_a_model_in_a_pickle_is_the_same_model_whole_and_in_shards(checkpoint):
    folder = checkpoint("pipeline-dense")
    whole = vector(folder)
    tensors = load_file(folder / "model.safetensors")
    for path in (folder, folder / "2_Dense"):
        pickled.save(path / "pytorch_model.bin", load_file(path / "model.safetensors"))
        (path / "model.safetensors").unlink()
    np.testing.assert_array_equal(vector(folder), whole)

    names = sorted(tensors)
    (folder / "pytorch_model.bin").unlink()
    places = {}
    for number, part in enumerate((names[::2], names[1::2])):
        file = f"pytorch_model-0000{number + 1}-of-00002.bin"
        pickled.save(folder / file, {key: tensors[key] for key in part})
        places |= dict.fromkeys(part, file)
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    np.testing.assert_array_equal(vector(folder), whole)
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(CheckpointError, match=r"lacks pytorch_model-00002-of-00002\.bin"):
        vector(folder)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "../outside.bin")}))
    with pytest.raises(CheckpointError, match="lacks"):
        vector(folder)


def harmful(marker: str) -> dict[str, tuple[bytes, str]]:
    """Opcodes that make the folder `marker` when Python's own pickle runs them, and the name to refuse."""
    mkdir, argument = name("posix", "mkdir"), plain(marker)
    code = f"__import__('os').mkdir({marker!r})"
    return {
        "REDUCE": (mkdir + argument + b"\x85R", "posix.mkdir"),
        "eval": (name("builtins", "eval") + plain(code) + b"\x85R", "builtins.eval"),
        "INST": (b"(" + argument + b"iposix\nmkdir\n", "posix.mkdir"),
        "OBJ": (b"(" + mkdir + argument + b"o", "posix.mkdir"),
        "STACK_GLOBAL": (plain("posix") + plain("mkdir") + b"\x93" + argument + b"\x85R", "posix.mkdir"),
        "EXT1": (b"\x82\xf0" + argument + b"\x85R", "EXT1"),
        "popped": (mkdir + argument + b"\x85R0N", "posix.mkdir"),
        "in a key's place": (b"}" + mkdir + argument + b"\x85RNs", "posix.mkdir"),
        "memo": (mkdir + b"q\x630h\x63" + argument + b"\x85R", "posix.mkdir"),
        "getattr": (
            name("builtins", "getattr") + name("os", "path") + plain("exists") + b"\x86R0" + mkdir + argument + b"\x85R",
            "builtins.getattr",
        ),
    }


@pytest.fixture
def extension():
    copyreg.add_extension("posix", "mkdir", 240)
    yield
    copyreg.remove_extension("posix", "mkdir", 240)


@pytest.mark.usefixtures("extension")
@pytest.mark.parametrize("layout", ["zip", "old"])
@pytest.mark.parametrize("kind", sorted(harmful("")))
def test_a_pickle_that_calls_anything_is_refused_by_name_and_does_nothing(kind, layout, tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "pytorch_model.bin"
    opcodes, named = harmful(str(marker))[kind]
    with suppress(TypeError):
        pickle.loads(b"\x80\x04" + opcodes + b".")
    assert marker.is_dir(), "the test is about a pickle that does harm"
    marker.rmdir()
    content = pickled.state_dict({"weight": pickled.tensor("0", 2, (2,), (1,)), "bias": opcodes})
    if layout == "zip":
        pickled.write_zip(path, content, {"0": bytes(8)})
    else:
        path.write_bytes(content)
    with pytest.raises(UnsupportedModelError) as error:
        torch_tensors(path)
    assert named in str(error.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("opcodes", "named"),
    [
        (name("torch", "FloatStorage") + b")\x81", r"torch.FloatStorage \(NEWOBJ\)"),
        (name("torch", "FloatStorage") + b")R", "torch.FloatStorage"),
        (name("collections", "OrderedDict") + b")}\x92", "NEWOBJ_EX"),
        (name("torch.hub", "load"), "torch.hub.load"),
        (name("torch._utils", "_rebuild_sparse_tensor"), "_rebuild_sparse_tensor"),
        (name("numpy.core.multiarray", "_reconstruct"), "numpy.core.multiarray._reconstruct"),
        (b"Psome id\n", "PERSID"),
        (b"\x83\x01\x01", "EXT2"),
        (b"\x84\x01\x01\x00\x00", "EXT4"),
        (b"\x97", "NEXT_BUFFER"),
    ],
)
def test_whatever_is_no_data_is_refused_wherever_it_stands(opcodes, named, tmp_path):
    inside = pickled.tensor("0", 2, (2,), (1,))
    hooks = name("collections", "OrderedDict") + b")R"
    assert inside.count(hooks) == 1
    for content in ({"weight": opcodes}, {"weight": inside.replace(hooks, opcodes)}):
        pickled.write_zip(tmp_path / "x.bin", pickled.state_dict(content), {"0": bytes(8)})
        with pytest.raises(UnsupportedModelError, match=named):
            torch_tensors(tmp_path / "x.bin")


@pytest.mark.parametrize(
    ("opcodes", "why"),
    [
        (pickled.tensor("0", 2, (3,), (1,)), "reaches beyond its storage"),
        (pickled.tensor("0", 2, (2,), (1,), start=1), "reaches beyond its storage"),
        (pickled.tensor("0", 2, (2, 2), (10**12, 1)), "reaches beyond its storage"),
        (pickled.tensor("0", 2, (2,), (-1,)), "-1 where a count should be"),
        (pickled.tensor("0", 2, (2,), (1, 1)), "more strides than axes"),
        (pickled.tensor("9", 2, (2,), (1,)), "lacks archive/data/9"),
        (b"Nb", "a tuple where a dict|a str where a dict"),
        (b"t", "a mark is missing"),
        (b"h\x77", "119"),
        (b"\xff", "opcode"),
    ],
)
def test_a_pickle_that_contradicts_itself_is_one_sentence(opcodes, why, tmp_path):
    pickled.write_zip(tmp_path / "x.bin", pickled.state_dict({"weight": opcodes}), {"0": bytes(8)})
    with pytest.raises(CheckpointError, match=why):
        torch_tensors(tmp_path / "x.bin")


def test_a_file_cut_short_anywhere_is_one_sentence(tmp_path):
    path = tmp_path / "x.bin"
    pickled.save(path, {"weight": np.ones((40, 50), np.float32)})
    content = path.read_bytes()
    for length in [0, 1, 2, 10, 200, len(content) // 2, len(content) - 30, len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"not a whole file of torch\.save"):
            torch_tensors(path)


def test_every_cut_of_a_pickle_is_one_sentence(tmp_path):
    content = pickled.state_dict({"a": pickled.tensor("0", 2, (2,), (1,)), "b": plain([1, {"c": 2.5}])})
    for length in range(len(content)):
        pickled.write_zip(tmp_path / "x.bin", content[:length], {"0": bytes(8)})
        with pytest.raises(CheckpointError):
            torch_tensors(tmp_path / "x.bin")


def test_what_is_no_dict_of_tensors_is_said(tmp_path):
    pickled.write_zip(tmp_path / "x.bin", pickled.state_dict({"epoch": plain(3), "lr": plain(0.1)}), {})
    with pytest.raises(UnsupportedModelError, match="more than a dict of tensors: epoch, lr"):
        torch_tensors(tmp_path / "x.bin")
    pickled.write_zip(tmp_path / "x.bin", b"\x80\x02" + plain([1]) + b".", {})
    with pytest.raises(UnsupportedModelError, match="holds a list"):
        torch_tensors(tmp_path / "x.bin")
    pickled.write_zip(tmp_path / "x.bin", pickled.state_dict({}), {}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UnsupportedModelError, match="compressed"):
        torch_tensors(tmp_path / "x.bin")
    (tmp_path / "x.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="neither a zip nor a pickle"):
        torch_tensors(tmp_path / "x.bin")


@pytest.mark.parametrize(
    ("opcodes", "said"),
    [
        # Hashed, a key so deep would end the process; printed, it would end the recursion or fill the memory.
        (b"}" + b")" + b"\x85" * 300_000 + b"Ns.", "a tuple where a name should be"),
        (name("torch._utils", "_rebuild_parameter") + b")" + b"\x85" * 300_000 + b"R.", "a tuple where a Tensor should be"),
        (name("torch._utils", "_rebuild_tensor_v2") + b"(" + b"NNNN" + b")" + b"\x85" * 300_000 + b"NNtR.", "more|NoneType"),
        (b"(t" + b"2\x86" * 60 + b")R.", "a call of a tuple"),
        (
            b"(" + plain("storage") + name("torch", "FloatStorage") + b"(t" + b"2\x86" * 60 + b"N" + plain(1) + b"tQ.",
            "a tuple where a",
        ),
        (b"\x8e" + (1 << 40).to_bytes(8, "little") + b"x.", "torch.save|memory|expected"),
        (name("a" * 5000, "b") + b".", "asks for aaaa"),
    ],
)
def test_a_small_pickle_cannot_ask_for_much(opcodes, said, tmp_path):
    for number, content in enumerate((b"\x80\x02" + opcodes, pickle.dumps(0x1950A86A20F9469CFC6C, 2) + b"\x80\x02" + opcodes)):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(content)
        with pytest.raises((CheckpointError, UnsupportedModelError), match=said) as error:
            torch_tensors(path)
        assert len(str(error.value)) < 1000


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.float64])
def test_any_view_is_put_in_order(dtype):
    rng = np.random.RandomState(5)
    for shape, axes in (
        ((40, 30), (1, 0)),
        ((3, 9, 50), (2, 0, 1)),
        ((3, 9, 50), (1, 2, 0)),
        ((50, 3, 9), (1, 2, 0)),
        ((7,), (0,)),
    ):
        view = (rng.randn(*shape) * 50).astype(dtype).transpose(axes)
        got = in_order(view)
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(got, view)
    assert in_order(np.zeros((0, 3), dtype).T).shape == (3, 0)


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2", "int8"])
@pytest.mark.parametrize("layout", ["tensor", "row", "block"])
def test_weights_of_eight_bits_come_back_times_their_scale(kind, layout, tmp_path):
    rng = np.random.RandomState(3)
    weight = (rng.randn(200, 300) * 10).astype(np.dtype(getattr(ml_dtypes, kind, kind)))
    shape, suffix = {
        "tensor": ((), "weight_scale"),
        "row": ((200, 1), "weight_scale"),
        "block": ((2, 3), "weight_scale_inv"),
    }[layout]
    scale = np.asarray(rng.rand(*shape), np.float32)
    write_raw(tmp_path, {"a.weight": weight, f"a.{suffix}": scale, "a.input_scale": np.ones((), np.float32), "b": scale})
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "fp8"}}))
    found = Checkpoint(tmp_path)
    assert list(found) == ["a.weight", "b"]
    wide = np.kron(scale, np.ones((128, 128), np.float32))[:200, :300] if layout == "block" else scale
    assert found.read("a.weight").dtype == found.dtype("a.weight") == np.float32
    np.testing.assert_array_equal(found.read("a.weight"), weight.astype(np.float32) * wide)

    write_raw(tmp_path, {"a.weight": weight, "a.weight_scale": np.ones((3, 3), np.float32)})
    with pytest.raises(CheckpointError, match=r"shape \[3, 3\], which fits"):
        Checkpoint(tmp_path).read("a.weight")
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "hqq"}}))
    with pytest.raises(UnsupportedModelError, match="quantized by hqq"):
        Checkpoint(tmp_path)
