"""From a checkpoint to a converted folder and back, and everything that can go wrong on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fakes import silent
from reference import pickled, tiny
from safetensors.numpy import load_file, save_file

from jaxembed import LLM, PoolingParams, SentenceTransformer
from jaxembed.cli import main
from jaxembed.convert.checkpoint.loading import load
from jaxembed.convert.orbax import store
from jaxembed.convert.orbax.manifest import ARRAYS, read_manifest
from jaxembed.convert.tool import new_folder
from jaxembed.convert.tool.conversion import convert
from jaxembed.convert.tool.export import export
from jaxembed.convert.tool.parity import figures
from jaxembed.engine.engine import Engine
from jaxembed.errors import CheckpointError, InputError
from jaxembed.loading import load_engine
from jaxembed.packing.text import Text

GOLDENS = Path(__file__).parents[1] / "goldens"
# Jina v5 leaves out: its adapters are merged for good, which a test of its own shows.
EVERY = sorted(path.stem for path in GOLDENS.glob("*.json") if "jina5" not in path.stem)
TEXTS = ["w8 w9 w10", "w100", "w20 w7 " * 12]


def vectors(folder: Path, **options) -> np.ndarray:
    return np.array([out.outputs.embedding for out in LLM(str(folder), **options).embed(TEXTS, use_tqdm=False)])


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.usefixtures("unrecorded")
def test_there_and_back_gives_the_bytes_that_went_in(name, checkpoint, tmp_path):
    """Every checkpoint there is a golden of, so that a new family is tested without a line here."""
    folder = checkpoint(name)
    convert(str(folder), tmp_path / "out")
    count = export(str(tmp_path / "out"), tmp_path / "back", progress=silent).tensors
    compared = 0
    for path in folder.rglob("*.safetensors"):
        original, returned = load_file(path), load_file(tmp_path / "back" / path.relative_to(folder))
        for tensor, value in returned.items():
            source = next(key for key in original if key == tensor or key.endswith(f".{tensor}"))
            assert (value.dtype, value.shape, value.tobytes()) == (
                original[source].dtype,
                original[source].shape,
                original[source].tobytes(),
            ), tensor
            compared += 1
    assert compared == count > 0
    for path in [*folder.rglob("*.json"), *folder.rglob("*.txt")]:
        # How to go on with a text is nothing to a model without a head for it.
        if path.name == "generation_config.json":
            continue
        again = tmp_path / "back" / path.relative_to(folder)
        assert json.loads(again.read_text()) == json.loads(path.read_text())


def test_a_merged_adapter_stays_merged_there_and_back(checkpoint, tmp_path):
    folder = checkpoint("backbone-jina5-small")

    def vector(place: Path) -> np.ndarray:
        (output,) = LLM(str(place)).embed(["w8 w9 w10"], use_tqdm=False)
        return np.array(output.outputs.embedding)

    expected = vector(folder)
    convert(str(folder), tmp_path / "out")
    np.testing.assert_array_equal(vector(tmp_path / "out"), expected)
    export(str(tmp_path / "out"), tmp_path / "back", progress=silent)
    np.testing.assert_array_equal(vector(tmp_path / "back"), expected)


@pytest.mark.usefixtures("unrecorded")
def test_another_task_than_the_merged_one_is_refused(checkpoint, tmp_path):
    """Its vectors would be those of the merged one."""
    folder = str(checkpoint("backbone-jina5-small"))
    for merged, out in (({}, "default"), ({"jina_task": "text-matching"}, "matching"), ({"jina_task": None}, "none")):
        convert(folder, tmp_path / out, hf_overrides=merged)
    for out, asked, said in (
        ("default", "text-matching", "has the task 'retrieval' merged into its weights for good; for 'text-matching'"),
        ("default", None, "has the task 'retrieval' merged into its weights for good; for none"),
        ("matching", "retrieval", "has the task 'text-matching' merged"),
        ("none", "retrieval", "was converted without a task; for 'retrieval'"),
    ):
        for use in (LLM, lambda name, **options: export(name, tmp_path / "back", progress=silent, **options)):
            with pytest.raises(InputError, match=said):
                use(str(tmp_path / out), hf_overrides={"jina_task": asked})
    LLM(str(tmp_path / "default"), hf_overrides={"jina_task": "retrieval"})


@pytest.mark.usefixtures("unrecorded")
def test_what_is_exported_is_the_model_that_was_converted(checkpoint, tmp_path):
    folder = checkpoint("backbone-bert")
    overrides = {"hidden_act": "relu"}
    expected = vectors(folder, hf_overrides=overrides)
    convert(str(folder), tmp_path / "out", hf_overrides=overrides)
    for source, options in ((tmp_path / "out", {}), (folder, {"hf_overrides": overrides})):
        back = tmp_path / f"back-{source.name}"
        export(str(source), back, progress=silent, **options)
        np.testing.assert_array_equal(vectors(back), expected)


def test_an_exported_config_names_the_type_of_its_tensors(checkpoint, tmp_path):
    """transformers turns weights into the type that it names, and would round what is wider."""
    folder = checkpoint("backbone-bert", lambda spec: spec["files"]["config.json"].update(dtype="bfloat16"))
    for dtype, named in (("auto", "bfloat16"), ("float32", "float32"), ("int8", "float32")):
        convert(str(folder), tmp_path / dtype, dtype=dtype)
        export(str(tmp_path / dtype), tmp_path / f"back-{dtype}", progress=silent)
        assert json.loads((tmp_path / f"back-{dtype}" / "config.json").read_text())["dtype"] == named


@pytest.mark.usefixtures("unrecorded")
def test_an_export_says_what_it_left_out(checkpoint, tmp_path, capsys):
    folder = checkpoint("backbone-bert-masked-lm")
    assert main(["convert", str(folder), str(tmp_path / "out")]) == 0
    for number, source in enumerate((folder, tmp_path / "out")):
        capsys.readouterr()
        assert main(["convert", str(source), str(tmp_path / f"back-{number}"), "--export-hf"]) == 0
        said = capsys.readouterr().out
        assert "left out, for the vectors do not need them: 5 tensors of the source (cls.predictions.bias, " in said
    assert main(["convert", str(tmp_path / "back-0"), str(tmp_path / "again"), "--export-hf"]) == 0
    assert "left out" not in capsys.readouterr().out


@pytest.mark.usefixtures("unrecorded")
def test_a_changed_array_is_not_exported(checkpoint, tmp_path):
    convert(str(checkpoint("backbone-bert")), tmp_path / "out")
    chunk = tmp_path / "out" / ARRAYS / "backbone.layers.up.w" / "0.0.0"
    chunk.write_bytes(bytes(chunk.stat().st_size))
    with pytest.raises(CheckpointError, match=r"the array backbone\.layers\.up\.w has changed"):
        export(str(tmp_path / "out"), tmp_path / "back", progress=silent)
    assert not (tmp_path / "back").exists()


@pytest.mark.usefixtures("unrecorded")
def test_an_override_cannot_change_what_the_arrays_are(checkpoint, tmp_path):
    convert(str(checkpoint("backbone-bert")), tmp_path / "out")
    with pytest.raises(CheckpointError, match="cannot be changed by overrides"):
        LLM(str(tmp_path / "out"), hf_overrides={"num_hidden_layers": 1})


@pytest.mark.parametrize("dtype", ["auto", "bfloat16", "int8"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_not_converted(value, dtype, checkpoint, tmp_path):
    folder = checkpoint("backbone-bert")
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.0.output.dense.weight"][3, 4] = value
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="NaN or infinite values"):
        convert(str(folder), tmp_path / "out", dtype=dtype)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_weights_that_a_type_has_no_room_for_are_not_converted_to_it(checkpoint, tmp_path):
    folder = checkpoint("backbone-bert")
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.0.output.LayerNorm.weight"][:] = np.finfo(np.float32).max
    tensors["encoder.layer.1.attention.self.query.weight"][:] = 0
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="NaN or infinite values"):
        convert(str(folder), tmp_path / "out", dtype="bfloat16")


@pytest.mark.usefixtures("unrecorded")
def test_a_manifest_of_other_software_is_none_of_ours(checkpoint, tmp_path):
    folder = checkpoint("backbone-bert")
    (folder / ARRAYS).mkdir()
    (folder / "manifest.json").write_text('{"name": "an app"}')
    convert(str(folder), tmp_path / "out")
    assert vectors(tmp_path / "out").shape == (3, 32)


MODELS = [
    "backbone-roberta",
    "backbone-qwen3-causal-lm",
    "pipeline-dense-many",
    "static-model2vec",
    "static-sentence-transformers",
]


@pytest.mark.parametrize("name", MODELS)
def test_a_converted_model_gives_the_same_vectors(name, checkpoint, tmp_path):
    folder = checkpoint(name)
    made = convert(str(folder), tmp_path / "out")
    assert not (tmp_path / ".out.partial").exists()
    expected = vectors(folder)
    for path in folder.rglob("*"):
        path.unlink() if path.is_file() else None
    np.testing.assert_array_equal(vectors(tmp_path / "out"), expected)
    assert SentenceTransformer(str(tmp_path / "out")).get_embedding_dimension() == expected.shape[1]
    # Stacked, the other way that leaves are restored, through Orbax.
    model = load(str(tmp_path / "out"), per_layer=False)
    texts = [Text(ids) for ids in model.tokenizer.encode(TEXTS)]
    stacked = np.stack(list(Engine(model).run(texts)))
    assert figures(stacked, expected)["max_abs"] <= 1e-6 or not model.recipe.normalize
    assert figures(stacked, expected)["cosine_min"] > 1 - 1e-6
    assert made == read_manifest(tmp_path / "out")


def test_the_manifest_says_where_everything_came_from(checkpoint, tmp_path):
    import hashlib

    import xxhash

    folder = checkpoint("pipeline-dense")
    made = convert(str(folder), tmp_path / "out")
    again = convert(str(folder), tmp_path / "again")
    assert (tmp_path / "out" / "manifest.json").read_bytes() == (tmp_path / "again" / "manifest.json").read_bytes()
    for name, digest in made.source["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert {"model.safetensors", "2_Dense/model.safetensors", "modules.json", "tokenizer.json"} <= set(made.source["files"])
    for path, array in made.arrays.items():
        content = store.read(tmp_path / "out" / ARRAYS, path)
        assert (content.shape, content.dtype.name) == (array.shape, array.dtype)
        pieces = list(content) if array.stacked else [content]
        digests = [xxhash.xxh3_128_digest(piece.tobytes()) for piece in pieces]
        assert xxhash.xxh3_128_hexdigest(b"".join(digests)) == array.xxh3
    texts, recorded = made.recorded()
    ids = load_engine(str(folder)).model.tokenizer.encode(texts, max_length=96)
    exact = list(load_engine(str(folder)).run([Text(one) for one in ids]))
    assert np.abs(recorded - np.stack(exact)).max() <= 1e-6

    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.LayerNorm.bias"] = tensors["embeddings.LayerNorm.bias"] + np.float32(1e-6)
    save_file(tensors, folder / "model.safetensors")
    assert convert(str(folder), tmp_path / "third").fingerprint not in (made.fingerprint, "")
    assert again.fingerprint == made.fingerprint


def test_dtypes_are_kept_or_turned_as_asked(checkpoint, tmp_path):
    import ml_dtypes

    folder = checkpoint("pipeline-dense")
    expected = vectors(folder)
    kinds = {}
    for dtype in ("auto", "bfloat16", "int8"):
        made = convert(str(folder), tmp_path / dtype, dtype=dtype)
        kinds[dtype] = {array.dtype for path, array in made.arrays.items() if path.startswith("backbone.")}
        assert {array.dtype for path, array in made.arrays.items() if path.startswith("heads.")} == {"float32"}
        assert (made.cost is None) == (dtype == "auto")
        assert figures(vectors(tmp_path / dtype), expected)["cosine_min"] > (1 - 1e-9 if dtype == "auto" else 0.998)
        assert made.cost is None or made.cost["cosine_min"] >= 0.998
    assert kinds == {"auto": {"float32"}, "bfloat16": {"bfloat16"}, "int8": {"bfloat16", "int8", "float32"}}

    tensors = load_file(folder / "model.safetensors")
    for kind in (np.float16, ml_dtypes.bfloat16):
        save_file({name: tensor.astype(kind) for name, tensor in tensors.items()}, folder / "model.safetensors")
        made = convert(str(folder), tmp_path / f"kept-{np.dtype(kind).name}")
        assert {array.dtype for path, array in made.arrays.items() if path.startswith("backbone.")} == {np.dtype(kind).name}
        words = store.read(tmp_path / f"kept-{np.dtype(kind).name}" / ARRAYS, "backbone.embeddings.words")
        assert words.tobytes() == tensors["embeddings.word_embeddings.weight"].astype(kind).tobytes()


@pytest.mark.usefixtures("unrecorded")
@pytest.mark.parametrize("name", ["backbone-bert", "backbone-qwen3"])
def test_int8_is_the_same_whether_stored_loaded_stacked_or_scanned(name, checkpoint, tmp_path):
    folder = checkpoint(name)
    expected = vectors(folder)
    at_load = vectors(folder, quantization="int8")
    cost = figures(at_load, expected)
    assert 0.995 < cost["cosine_min"] < 1 - 1e-6, "rounding must be small, and must have happened"
    convert(str(folder), tmp_path / "whole")
    np.testing.assert_array_equal(vectors(tmp_path / "whole", quantization="int8"), at_load)
    for source in (folder, tmp_path / "whole"):
        model = load(str(source), per_layer=False, quantization="int8")
        texts = [Text(ids) for ids in model.tokenizer.encode(TEXTS)]
        assert figures(np.stack(list(Engine(model).run(texts))), at_load)["cosine_min"] > 1 - 1e-6
    with pytest.raises(InputError, match="quantization='fp4' is not supported"):
        LLM(str(folder), quantization="fp4")


def test_a_quantized_product_is_the_product_with_the_matrix_it_stands_for():
    from jaxembed.layers.int8 import dequantized, product, quantize

    rng = np.random.RandomState(0)
    for equation, shape, summed in (
        ("...i,io->...o", (12, 7), 1),
        ("td,dnh->tnh", (12, 3, 5), 1),
        ("tnh,nhd->td", (3, 4, 6), 2),
    ):
        matrix = rng.randn(*shape).astype(np.float32)
        matrix[..., 0] = 0
        q = quantize(matrix, summed=summed)
        assert q.scale.shape == shape[summed:]
        assert np.abs(dequantized(q) - matrix).max() <= np.abs(matrix).max() / 254 * 1.0001
        x = rng.randn(5, *shape[:summed]).astype(np.float32)
        slow = np.tensordot(x, dequantized(q), summed)
        np.testing.assert_allclose(product(equation, x, q), slow, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("unrecorded")
def test_a_checkpoint_in_fp8_loads_converts_and_comes_back_wide(checkpoint, tmp_path):
    import ml_dtypes
    from raw_files import write_raw

    folder = checkpoint("backbone-qwen3")
    expected = vectors(folder)
    tensors = load_file(folder / "model.safetensors")
    stored = {}
    for name, tensor in tensors.items():
        stored[name] = tensor
        if name.endswith("_proj.weight"):
            scale = np.abs(tensor).max() / np.float32(448)
            stored[name] = (tensor / scale).astype(ml_dtypes.float8_e4m3fn)
            stored[f"{name}_scale_inv"] = np.full((1, 1), scale, np.float32)
    write_raw(folder, stored)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    (folder / "config.json").write_text(json.dumps(config))
    rounded = vectors(folder)
    assert 0.99 < figures(rounded, expected)["cosine_min"] < 1 - 1e-6
    convert(str(folder), tmp_path / "out")
    np.testing.assert_array_equal(vectors(tmp_path / "out"), rounded)
    export(str(tmp_path / "out"), tmp_path / "back", progress=silent)
    np.testing.assert_array_equal(vectors(tmp_path / "back"), rounded)


# On the command line: what goes wrong is one sentence.


def _missing(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.bias"], tensors["encoder.layer.0.output.dense.bias"]
    save_file({**tensors, "adapter.up": np.zeros(3, np.float32)}, folder / "model.safetensors")


def _misshapen(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "embeddings.LayerNorm.bias": np.zeros(31, np.float32)}, folder / "model.safetensors")


def _truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _shard_gone(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = dict.fromkeys(tensors, "model-00002-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    content = pickled.state_dict({"a": pickled.name("os", "system") + pickled.plain("true") + b"\x85R"})
    pickled.write_zip(folder / "pytorch_model.bin", content, {})


def _config(**changes):
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return change


@pytest.mark.parametrize(
    ("name", "break_", "said"),
    [
        ("bert", _missing, ["2 missing: encoder.layer.0.output.dense.bias, encoder.layer.1", "adapter.up [3]"]),
        ("bert", _misshapen, ["embeddings.LayerNorm.bias has shape [31], expected [32]"]),
        ("bert", _truncated, ["not a whole safetensors file"]),
        ("bert", _shard_gone, ["lacks model-00002-of-00002.safetensors"]),
        ("bert", _pickle, ["a pickle that asks for os.system"]),
        ("bert", _config(position_embedding_type="relative_key"), ["position_embedding_type 'relative_key'"]),
        ("qwen2", _config(rope_parameters={"rope_type": "spiral"}), ["rope type 'spiral' is not supported"]),
        ("bert", _config(hidden_act="snake"), ["the activation 'snake'"]),
        ("bert", _config(is_decoder=True), ["is_decoder"]),
        ("qwen2", _config(clip_qkv=8.0), ["clip_qkv"]),
        ("bert", _config(architectures=["MambaModel"]), ["the architecture MambaModel is not supported"]),
        ("bert", _config(quantization_config={"quant_method": "aqlm"}), ["quantized by aqlm"]),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing_behind(name, break_, said, checkpoint, tmp_path, capsys):
    folder = checkpoint(f"backbone-{name}")
    break_(folder)
    assert main(["convert", str(folder), str(tmp_path / "out")]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("jaxembed: ")
    assert len(shown.err.splitlines()) == 1
    for part in said:
        assert part in shown.err
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.usefixtures("unrecorded")
def test_a_place_that_cannot_be_written_is_one_sentence(checkpoint, tmp_path, capsys, monkeypatch):
    folder = str(checkpoint("backbone-bert"))
    (tmp_path / "there").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path))
    (tmp_path / "locked").mkdir()
    for out, said in (
        ("there", "exists already; OUT is the name of a folder that does not exist yet"),
        ("no/such/place", "there is no folder"),
        ("locked/out", "permission denied"),
    ):
        assert main(["convert", folder, str(tmp_path / out)]) == 2
        assert said in capsys.readouterr().err
    assert main(["convert", folder, str(tmp_path / "out")]) == 0
    assert main(["convert", str(tmp_path / "out"), str(tmp_path / "twice")]) == 2
    assert "is converted already" in capsys.readouterr().err
    monkeypatch.setattr(new_folder.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    assert main(["convert", folder, str(tmp_path / "full")]) == 2
    assert "GB free, and the arrays need" in capsys.readouterr().err


@pytest.mark.usefixtures("unrecorded")
def test_a_hub_model_is_named_with_its_commit_and_overrides_stay_in_its_config(checkpoint, tmp_path, monkeypatch, capsys):
    snapshot = tmp_path / "models--someone--model" / "snapshots" / "0123abc"
    snapshot.parent.mkdir(parents=True)
    checkpoint("backbone-qwen2").rename(snapshot)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(snapshot))
    out = tmp_path / "out"
    assert main(["convert", "someone/model", str(out), "--hf-overrides", '{"is_matryoshka": true}']) == 0
    assert "MB/s" in capsys.readouterr().err
    made = read_manifest(out)
    assert (made.source["name"], made.source["revision"]) == ("someone/model", "0123abc")
    assert "is_matryoshka" not in made.config
    (output,) = LLM(str(out)).embed("w8", use_tqdm=False, pooling_params=PoolingParams(dimensions=8))
    assert len(output.outputs.embedding) == 8


@pytest.mark.usefixtures("unrecorded")
def test_a_damaged_folder_is_one_sentence(checkpoint, tmp_path):
    convert(str(checkpoint("backbone-bert")), tmp_path / "out")
    manifest = (tmp_path / "out" / "manifest.json").read_text()
    (tmp_path / "out" / "manifest.json").write_text(manifest[:-50])
    with pytest.raises(CheckpointError, match=r"manifest\.json is not JSON"):
        vectors(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text(manifest.replace('"rules": "', '"rules": "0'))
    with pytest.raises(CheckpointError, match="converted by other weight rules for BERT"):
        vectors(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text(manifest)
    chunk = tmp_path / "out" / ARRAYS / "backbone.layers.up.w" / "0.0.0"
    for damage in (lambda: chunk.write_bytes(chunk.read_bytes()[:-8]), chunk.unlink):
        damage()
        for per_layer in (True, False):
            with pytest.raises(CheckpointError, match="damaged or incomplete"):
                load(str(tmp_path / "out"), per_layer=per_layer)


def _command(*arguments: str, before: Sequence[str] = ()) -> subprocess.Popen:
    command = [*before, sys.executable, "-m", "jaxembed.convert", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def larger(tmp_path):
    """A checkpoint that takes long enough to be interrupted."""
    spec = json.loads((GOLDENS / "backbone-bert.json").read_text())["spec"]
    spec["files"]["config.json"] |= {"max_position_embeddings": 200_000}
    (shapes,) = spec["tensors"].values()
    shapes["embeddings.position_embeddings.weight"] = [200_000, 32]
    return tiny.write(spec, tmp_path / "larger")


def test_a_killed_run_leaves_nothing_at_its_place_and_the_next_one_works(larger, tmp_path):
    running = _command(str(larger), str(tmp_path / "out"))
    partial = tmp_path / ".out.partial" / ARRAYS
    deadline = time.monotonic() + 60
    while not partial.parent.exists() or not list(partial.parent.glob("arrays*")):
        assert time.monotonic() < deadline
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert not (tmp_path / "out").exists()
    assert partial.parent.exists(), "it was killed half way"
    again = _command(str(larger), str(tmp_path / "out"))
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert not partial.parent.exists()
    assert vectors(tmp_path / "out").shape == (3, 32)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(larger, tmp_path):
    """The system stands in for it with the largest file that a process may write."""

    running = _command(str(larger), str(tmp_path / "out"), before=["sh", "-c", 'ulimit -f 2048 && exec "$@"', "sh"])
    _, said = running.communicate()
    assert running.returncode == 2, said
    assert "Traceback" not in said
    assert "cannot be written: file too large" in said.lower()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["larger"]
