"""`jaxembed verify` against the real libraries."""

import json
from pathlib import Path

import numpy as np
import pytest
from live import REFERENCE
from safetensors.numpy import load_file, save_file

from jaxembed.cli import main
from jaxembed.convert.tool.verification import WHOLE, against_reference
from jaxembed.errors import ParityError
from jaxembed.loading import load_engine

GOLDENS = Path(__file__).parent.parent / "goldens"
pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", ["backbone-bert", "backbone-qwen3", "pipeline-dense", "pipeline-qwen3-last"])
def test_models_are_verified_layer_by_layer(name, checkpoint):
    folder = checkpoint(name)
    found = against_reference(load_engine(str(folder)), folder, REFERENCE)
    found.check()
    assert found.first_departure is None
    assert len(found.layers) == 4
    assert 0 < max(difference for _, difference in found.layers) < 1e-5


@pytest.mark.parametrize("name", ["backbone-t5", "backbone-modernbert", "backbone-albert-groups", "backbone-embeddinggemma2"])
def test_layers_are_compared_one_by_one_or_not_at_all(name, checkpoint):
    folder = checkpoint(name)
    found = against_reference(load_engine(str(folder)), folder, REFERENCE)
    found.check()
    assert (len(found.layers) == 1) == (found.layers[0][0] == WHOLE) == (name != "backbone-t5")
    assert found.first_departure is None
    assert max(difference for _, difference in found.layers) < 1e-5


def test_what_sentence_transformers_adds_to_the_modules_is_left_out(checkpoint):
    """A default prompt and a default width are of `encode`."""
    folder = checkpoint("pipeline-qwen3-last")
    config = {"prompts": {"query": "w20 w21 "}, "default_prompt_name": "query", "truncate_dim": 8}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    found = against_reference(load_engine(str(folder)), folder, REFERENCE)
    found.check()
    assert found.figures["max_abs"] < 1e-5


@pytest.mark.parametrize("options", [{"hf_overrides": {"hidden_act": "relu"}}, {"max_model_len": 9}])
def test_the_reference_is_told_what_the_engine_was_told(options, checkpoint, tmp_path):
    folder = checkpoint("pipeline-dense")
    found = against_reference(load_engine(str(folder), **options), folder, REFERENCE)
    found.check()
    assert found.figures["max_abs"] < 1e-5
    assert found.first_departure is None


def test_static_embeddings_have_vectors_and_no_layers(checkpoint):
    folder = checkpoint(next(path.stem for path in sorted(GOLDENS.glob("static-sentence*.json"))))
    found = against_reference(load_engine(str(folder)), folder, REFERENCE)
    found.check()
    assert not found.layers


def test_the_layer_whose_weights_differ_is_the_first_that_departs(checkpoint):
    folder = checkpoint("pipeline-dense")
    engine = load_engine(str(folder))
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("encoder.layer.1.output.dense.weight"))
    tensors[name] = tensors[name] * np.float32(1.1)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    found = against_reference(engine, folder, REFERENCE)
    assert found.first_departure == "layer 2"
    with pytest.raises(ParityError, match="the first layer that departs is layer 2"):
        found.check()


def test_minilm_converts_and_verifies_against_sentence_transformers(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["convert", "all-MiniLM-L6-v2", str(out), "--verify", "--reference", str(REFERENCE)]) == 0
    parity = json.loads((out / "manifest.json").read_text())["parity"]
    assert parity["against"].startswith("sentence-transformers")
    assert parity["max_abs"] <= 1e-5
    assert "none departs" in capsys.readouterr().out


def test_an_exported_checkpoint_is_one_to_the_real_libraries(tmp_path):
    assert main(["convert", "all-MiniLM-L6-v2", str(tmp_path / "out")]) == 0
    assert main(["convert", str(tmp_path / "out"), str(tmp_path / "back"), "--export-hf"]) == 0
    found = against_reference(load_engine(str(tmp_path / "out")), tmp_path / "back", REFERENCE)
    found.check()
    assert found.figures["max_abs"] <= 1e-5
