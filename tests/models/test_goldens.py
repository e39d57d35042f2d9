"""Tiny checkpoints of every family, equal to what the real classes gave when the goldens were written."""

import json
from pathlib import Path

import numpy as np
import pytest
from reference import cases, tiny

from jaxembed import SentenceTransformer
from jaxembed.engine.engine import Engine
from jaxembed.heads.tokens import HIDDEN
from jaxembed.loading import load_engine
from jaxembed.packing.text import Text

GOLDENS = Path(__file__).parents[1] / "goldens"


def golden(name: str) -> tuple[dict, dict[str, np.ndarray]]:
    return json.loads((GOLDENS / f"{name}.json").read_text()), dict(np.load(GOLDENS / f"{name}.npz"))


@pytest.mark.parametrize("name", sorted(cases.BACKBONES))
def test_hidden_states_equal_those_of_transformers(name, checkpoint):
    """Packed together, and one text alone; the parity run has every text alone."""
    about, expected = golden(f"backbone-{name}")
    engine = load_engine(str(checkpoint(f"backbone-{name}")), max_model_len=48 if "dynamic" in name else None)
    # Beyond its trained length a dynamic rope bends for each text by itself, which only an engine that allows it can show.
    texts = [Text(np.array(one, np.int32)) for one in tiny.ids(about["lengths"], about["seed"])]
    packed = list(engine.run(texts, task=HIDDEN))
    (alone,) = engine.run([texts[about["lengths"].index(7)]], task=HIDDEN)
    assert np.abs(alone - expected["hidden-7"]).max() <= 1e-5
    for length, together in zip(about["lengths"], packed, strict=True):
        assert np.abs(together - expected[f"hidden-{length}"]).max() <= 1e-5


SCANNED = ["qwen2", "qwen2-sliding", "bert", "albert-groups", "embeddinggemma", "modernbert", "nomic-moe", "jina3", "deberta"]
SCANNED += ["embeddinggemma2"]


@pytest.mark.parametrize("name", SCANNED)
def test_scanned_layers_give_what_unrolled_ones_give(name, checkpoint):
    """What TPUs and GPUs run: stacked leaves under one scan."""
    from jaxembed.convert.checkpoint.loading import load

    about, expected = golden(f"backbone-{name}")
    engine = Engine(load(str(checkpoint(f"backbone-{name}")), per_layer=False))
    texts = [Text(np.array(one, np.int32)) for one in tiny.ids(about["lengths"], about["seed"])]
    for length, hidden in zip(about["lengths"], engine.run(texts, task=HIDDEN), strict=True):
        assert np.abs(hidden - expected[f"hidden-{length}"]).max() <= 1e-5


# One for each module and each kind of norm and position; the parity run has them all.
HALVED = ["bert", "albert", "mpnet", "modernbert", "gte-new", "nomic-moe", "jina3", "jina2", "t5", "deberta"]
HALVED += ["qwen3", "embeddinggemma", "gemma2", "olmo2", "granite", "glm4", "starcoder2", "phi3-longrope"]


@pytest.mark.parametrize("name", HALVED)
def test_bfloat16_points_the_same_way(name, checkpoint):
    about, expected = golden(f"backbone-{name}")
    engine = load_engine(str(checkpoint(f"backbone-{name}")), dtype="bfloat16")
    texts = [Text(np.array(one, np.int32)) for one in tiny.ids(about["lengths"], about["seed"])]
    for length, hidden in zip(about["lengths"], engine.run(texts, task=HIDDEN), strict=True):
        a, b = hidden.mean(0), expected[f"hidden-{length}"].mean(0)
        assert hidden.dtype == np.float32
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) >= 0.9995


@pytest.mark.parametrize("backend", ["reference", "banded"])
def test_the_whole_model_is_the_same_with_every_back_end(backend, checkpoint):
    about, expected = golden("backbone-qwen2-sliding")
    engine = load_engine(str(checkpoint("backbone-qwen2-sliding")), attention=backend)
    assert engine.choices.attention.backend.name == backend
    texts = [Text(np.array(one, np.int32)) for one in tiny.ids(about["lengths"], about["seed"])]
    for length, hidden in zip(about["lengths"], engine.run(texts, task=HIDDEN), strict=True):
        assert np.abs(hidden - expected[f"hidden-{length}"]).max() <= 1e-5


@pytest.mark.parametrize("name", sorted(cases.PIPELINES))
def test_vectors_equal_those_of_sentence_transformers(name, checkpoint):
    about, expected = golden(f"pipeline-{name}")
    model = SentenceTransformer(str(checkpoint(f"pipeline-{name}")))
    vectors = model.encode(about["texts"], prompt=about["prompt"])
    assert np.abs(vectors - expected["embeddings"]).max() <= 1e-5
    if about["prompt"]:
        named = model.encode_query(about["texts"])
        np.testing.assert_array_equal(named, vectors)


@pytest.mark.parametrize("name", sorted(cases.STATIC))
def test_static_embeddings_equal_those_of_sentence_transformers(name, checkpoint):
    about, expected = golden(f"static-{name}")
    model = SentenceTransformer(str(checkpoint(f"static-{name}")))
    assert np.abs(model.encode(about["texts"]) - expected["embeddings"]).max() <= 1e-6


@pytest.mark.parametrize("file", sorted(GOLDENS.iterdir()), ids=lambda path: path.name)
def test_goldens_are_small(file):
    assert file.stat().st_size < 100_000
