"""What a conversion recorded is what its folder is held to; the reference libraries themselves are asked in tests/parity."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxembed.cli import main
from jaxembed.convert.conversion import convert
from jaxembed.convert.manifest import ARRAYS, encoded, read_manifest
from jaxembed.convert.parity import figures
from jaxembed.convert.restoring import check_arrays
from jaxembed.engine import Engine
from jaxembed.errors import CheckpointError, InputError, ParityError
from jaxembed.verification import against_record, against_reference, check_source


def test_figures_of_known_differences():
    expected = np.array([[3.0, 4.0], [1.0, -1.0], [2.0, 0.0]])
    found = figures(np.array([[3.0, 4.0], [1.0, 1.0], [2.0, 0.5]]), expected)
    assert found["max_abs"] == 2
    assert found["cosine_min"] == pytest.approx(0)
    assert found["cosine_mean"] == pytest.approx((1 + 0 + 4 / np.sqrt(4 * 4.25)) / 3)
    assert found["sign_flips"] == pytest.approx(2 / 6)


@pytest.fixture
def converted(checkpoint, tmp_path, monkeypatch):
    """A converted folder, in a working directory without reference libraries."""
    monkeypatch.chdir(tmp_path)
    convert(str(checkpoint("pipeline-dense")), tmp_path / "out")
    return tmp_path / "out"


def test_a_folder_gives_the_vectors_that_its_conversion_recorded(converted, capsys):
    assert main(["verify", str(converted)]) == 0
    shown = capsys.readouterr().out
    assert "all as they were written" in shown
    assert "4 texts, float32 weights: cosine 1.000000 at least" in shown

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
    comparison = against_record(Engine.load(str(tmp_path / "int8")), read_manifest(tmp_path / "int8"))
    assert comparison.kind == "int8"
    assert 0.98 < comparison.figures["cosine_min"] < 0.999999
    comparison.check()
    with pytest.raises(ParityError, match="float32 weights keep"):
        replace(comparison, kind="float32").check()


def test_the_first_layer_that_departs_is_named():
    layers = [("the embeddings", 1e-7), ("layer 1", 2e-3), ("layer 2", float("nan"))]
    manifest_figures = {"cosine_min": 0.5, "cosine_mean": 0.6, "max_abs": 1.0, "sign_flips": 0.1}
    from jaxembed.verification import Comparison

    comparison = Comparison("a library", 3, "float32", manifest_figures, layers)
    assert comparison.first_departure == "layer 1"
    with pytest.raises(ParityError, match="the first layer that departs is layer 1"):
        comparison.check()
    assert replace(comparison, layers=layers[:1]).first_departure is None
    assert replace(comparison, layers=layers[2:]).first_departure == "layer 2"


def test_with_nothing_to_compare_with_that_is_said(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = checkpoint("backbone-bert")
    assert main(["verify", str(folder)]) == 2
    assert "nothing to compare with" in capsys.readouterr().err
    assert main(["verify", str(folder), "--reference", "/no/python"]) == 2
    assert "/no/python cannot be run: No such file or directory" in capsys.readouterr().err


def test_a_reference_that_fails_is_one_sentence(checkpoint, tmp_path):
    """A Python without the libraries stands in for one whose libraries refuse the checkpoint."""
    import sys

    folder = checkpoint("backbone-bert")
    with pytest.raises(InputError, match=r"do not take .*: "):
        against_reference(Engine.load(str(folder)), folder / "nowhere", Path(sys.executable))


def test_convert_with_verify_records_the_figures(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["convert", str(checkpoint("backbone-bert")), "out", "--verify"]) == 0
    parity = json.loads((tmp_path / "out" / "manifest.json").read_text())["parity"]
    assert parity["cosine_min"] > 0.999999
    assert "that the conversion recorded" in parity["against"]
    assert "cosine 1.000000 at least" in capsys.readouterr().out
