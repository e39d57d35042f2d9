"""What a conversion recorded is what its folder is held to; the reference libraries themselves are asked in tests/parity."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxembed.cli import main
from jaxembed.cli.verify import REFERENCE
from jaxembed.convert.orbax.manifest import ARRAYS, encoded, read_manifest
from jaxembed.convert.orbax.restoring import check_arrays
from jaxembed.convert.tool.conversion import convert
from jaxembed.convert.tool.parity import figures
from jaxembed.convert.tool.verification import WHOLE, against_record, against_reference, check_source
from jaxembed.errors import CheckpointError, InputError, ParityError
from jaxembed.loading import load_engine


def test_figures_of_known_differences():
    expected = np.array([[3.0, 4.0], [1.0, -1.0], [2.0, 0.0]])
    found = figures(np.array([[3.0, 4.0], [1.0, 1.0], [2.0, 0.5]]), expected)
    assert found["max_abs"] == 2
    assert found["cosine_min"] == pytest.approx(0)
    assert found["cosine_mean"] == pytest.approx((1 + 0 + 4 / np.sqrt(4 * 4.25)) / 3)
    assert found["sign_flips"] == pytest.approx(2 / 6)


@pytest.fixture(autouse=True)
def without_reference(monkeypatch):
    """No reference libraries, even where `make parity` set some up."""
    monkeypatch.setattr("jaxembed.cli.verify.REFERENCE", Path("/no/python"))


@pytest.fixture
def converted(checkpoint, tmp_path):
    """A converted folder."""
    convert(str(checkpoint("pipeline-dense")), tmp_path / "out")
    return tmp_path / "out"


def test_a_folder_gives_the_vectors_that_its_conversion_recorded(converted, capsys):
    assert main(["verify", str(converted)]) == 0
    shown = capsys.readouterr().out
    assert "all as they were written" in shown
    assert "4 texts, float32 weights: cosine 1.000000 at least" in shown

    assert main(["verify", str(converted), "--max-model-len", "3"]) == 2
    assert "leave out --max-model-len 3" in capsys.readouterr().err

    manifest = read_manifest(converted)
    texts, vectors = manifest.recorded()
    replace(manifest, vectors=encoded(texts, -vectors)).write(converted)
    assert main(["verify", str(converted)]) == 1
    assert "a cosine is -1.000000, and float32 weights keep at least 0.999999" in capsys.readouterr().err


def test_one_changed_byte_of_an_array_is_found(converted):
    manifest = read_manifest(converted)
    check_arrays(converted, manifest)
    chunk = converted / ARRAYS / "backbone.layers.k.b" / "0.0.0"
    content = bytearray(chunk.read_bytes())
    content[17] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"the array backbone\.layers\.k\.b has changed"):
        check_arrays(converted, manifest)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("source", {}, "it lacks 'name'"),
        ("source", {"name": 7, "revision": None, "files": {}}, "source should hold str only"),
        ("vectors", None, "'NoneType' object is not subscriptable"),
        ("vectors", {"texts": [], "float32": ""}, "0 numbers are no vectors of 0 texts"),
        ("vectors", {"texts": ["a"], "float32": "!"}, "is damaged"),
        ("layout", "0", "layout should hold int only"),
        ("config", [1], "config should hold dict only"),
        ("arrays", {"a": {"shape": ["1"], "dtype": "float32", "axes": [], "stacked": False, "xxh3": ""}}, "shape should hold"),
        ("arrays", {"a": {"shape": [1], "dtype": "f99", "axes": [], "stacked": False, "xxh3": ""}}, "is damaged"),
    ],
)
def test_a_manifest_is_whole_or_named_as_damaged(converted, capsys, key, value, message):
    path = converted / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    assert main(["verify", str(converted)]) == 1
    shown = capsys.readouterr().err
    assert "manifest.json is damaged" in shown
    assert message in shown
    assert shown.count("\n") == 1


def test_a_source_is_known_by_all_its_files(converted, tmp_path):
    manifest = read_manifest(converted)
    source = tmp_path / "pipeline-dense"
    assert check_source(source, manifest)
    assert not check_source(converted, manifest)
    path = source / "tokenizer.json"
    path.write_text(path.read_text() + " ")
    assert not check_source(source, manifest)


def test_rounded_weights_are_held_to_what_rounding_explains(converted, tmp_path):
    convert(str(tmp_path / "pipeline-dense"), tmp_path / "int8", dtype="int8")
    comparison = against_record(load_engine(str(tmp_path / "int8")), read_manifest(tmp_path / "int8"))
    assert comparison.precision == "int8"
    assert 0.98 < comparison.figures["cosine_min"] < 0.999999
    comparison.check()
    with pytest.raises(ParityError, match="float32 weights keep"):
        replace(comparison, precision="float32").check()


@pytest.mark.parametrize(("name", "dtype"), [("backbone-bert", "bfloat16"), ("static-model2vec", "int8")])
def test_what_was_rounded_to_bfloat16_is_held_to_that_in_float32_too(checkpoint, tmp_path, name, dtype):
    folder, out = checkpoint(name), tmp_path / "out"
    assert main(["convert", str(folder), str(out), "--dtype", dtype, "--verify"]) == 0
    assert main(["verify", str(out)]) == 0
    comparison = against_record(load_engine(str(out), dtype="float32"), read_manifest(out))
    assert comparison.precision == "bfloat16"


def test_vectors_of_another_width_are_no_vectors_of_this_model(converted):
    manifest = read_manifest(converted)
    texts, vectors = manifest.recorded()
    replace(manifest, vectors=encoded(texts, vectors[:, :8])).write(converted)
    with pytest.raises(ParityError, match="the vectors have 24 dimensions; 8 were expected from the vectors of"):
        against_record(load_engine(str(converted)), read_manifest(converted))


def test_the_first_layer_that_departs_is_named():
    layers = [("the embeddings", 1e-7), ("layer 1", 2e-3), ("layer 2", float("nan"))]
    manifest_figures = {"cosine_min": 0.5, "cosine_mean": 0.6, "max_abs": 1.0, "sign_flips": 0.1}
    from jaxembed.convert.tool.verification import Comparison

    comparison = Comparison("a library", 3, "float32", manifest_figures, layers)
    assert comparison.first_departure == "layer 1"
    with pytest.raises(ParityError, match="the first layer that departs is layer 1"):
        comparison.check()
    assert replace(comparison, layers=layers[:1]).first_departure is None
    assert replace(comparison, layers=layers[2:]).first_departure == "layer 2"
    assert replace(comparison, layers=[(WHOLE, 1.0)]).first_departure is None


def test_with_nothing_to_compare_with_that_is_said(checkpoint, capsys):
    folder = checkpoint("backbone-bert")
    assert main(["verify", str(folder)]) == 2
    assert "nothing to compare with" in capsys.readouterr().err
    assert main(["verify", str(folder), "--reference", "/no/python"]) == 2
    assert "/no/python cannot be run: No such file or directory" in capsys.readouterr().err


def test_a_reference_that_fails_is_one_sentence(checkpoint):
    """A Python without the libraries stands in for one whose libraries refuse the checkpoint."""
    import sys

    folder = checkpoint("backbone-bert")
    engine = load_engine(str(folder))
    with pytest.raises(InputError, match=rf"do not take {folder}: "):
        against_reference(engine, folder, Path(sys.executable))
    with pytest.raises(InputError, match="/bin/true gave no vectors; --reference takes a Python that has"):
        against_reference(engine, folder, Path("/bin/true"))


def test_nothing_in_the_current_folder_is_executed(checkpoint, tmp_path, monkeypatch, capsys):
    """A checkpoint may hold anything, and one may stand in its folder."""
    folder = checkpoint("backbone-bert")
    for name in (".venv-reference/bin/python", "python-of-mine"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n")
        (folder / name).chmod(0o755)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("jaxembed.cli.verify.REFERENCE", REFERENCE)
    main(["verify", ".", "--reference", "python-of-mine"])
    assert "python-of-mine cannot be run" in capsys.readouterr().err
    assert REFERENCE.is_absolute()
    assert REFERENCE.parents[2] == Path(__file__).parents[2]
    monkeypatch.setattr("jaxembed.cli.verify.REFERENCE", tmp_path / "none")
    main(["verify", "."])
    assert not (tmp_path / "executed").exists()
    assert main(["verify", ".", "--reference", "./python-of-mine"]) == 2
    assert (tmp_path / "executed").exists()


def test_convert_with_verify_records_the_figures(checkpoint, tmp_path, capsys):
    assert main(["convert", str(checkpoint("backbone-bert")), str(tmp_path / "out"), "--verify"]) == 0
    parity = json.loads((tmp_path / "out" / "manifest.json").read_text())["parity"]
    assert parity["cosine_min"] > 0.999999
    assert "that the conversion recorded" in parity["against"]
    assert "cosine 1.000000 at least" in capsys.readouterr().out
