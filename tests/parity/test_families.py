"""Every family against its real class, live: the figures of docs/models.md come from here (`make table` records them)."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from live import ROOT, reference
from reference import cases, tiny

from jaxembed import SentenceTransformer
from jaxembed.convert.mapping.registry import ANY_DECODER
from jaxembed.errors import CheckpointError, UnsupportedModelError
from jaxembed.heads.tokens import HIDDEN
from jaxembed.loading import load_engine
from jaxembed.packing.text import Text

pytestmark = pytest.mark.parity

GOLDENS = ROOT / "tests" / "goldens"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """The goldens, drawn anew by the real classes."""
    folder = tmp_path_factory.mktemp("goldens")
    reference("write_goldens.py", str(folder))
    return folder


@pytest.fixture(scope="session")
def record():
    """What was measured, written down at the end if `make table` asks for it."""
    measured: dict[str, dict[str, float]] = {}
    yield measured
    if os.environ.get("JAXEMBED_RECORD"):
        path = ROOT / "docs" / "parity.json"
        known = {f"backbone-{name}" for name in cases.BACKBONES} | {f"static-{name}" for name in cases.STATIC}
        before = json.loads(path.read_text()) if path.is_file() else {}
        both = {name: value for name, value in {**before, **measured}.items() if name in known}
        path.write_text(json.dumps(both, indent=1, sort_keys=True) + "\n")


def test_goldens_come_out_the_same_when_they_are_drawn_anew(drawn):
    names = sorted(path.name for path in drawn.iterdir())
    assert names == sorted(path.name for path in GOLDENS.iterdir())
    for name in names:
        if name.endswith(".json"):
            assert json.loads((drawn / name).read_text()) == json.loads((GOLDENS / name).read_text()), name
            continue
        new, old = np.load(drawn / name), np.load(GOLDENS / name)
        assert sorted(new) == sorted(old)
        for key in new:
            # The same library on another processor may add in another order.
            np.testing.assert_allclose(new[key], old[key], atol=5e-6, err_msg=f"{name} {key}")


def hidden(folder: Path, about: dict, *, dtype: str, alone: bool) -> list[list[np.ndarray]]:
    """Each text's hidden states, packed with the others, and alone too."""
    engine = load_engine(str(folder), dtype=dtype)
    texts = [Text(np.array(one, np.int32)) for one in tiny.ids(about["lengths"], about["seed"])]
    packed = list(engine.run(texts, task=HIDDEN))
    if not alone:
        return [[one] for one in packed]
    return [[one, *engine.run([text], task=HIDDEN)] for one, text in zip(packed, texts, strict=True)]


@pytest.mark.parametrize("name", sorted(cases.BACKBONES))
def test_a_family_equals_its_real_class(name, drawn, tmp_path, record):
    about = json.loads((drawn / f"backbone-{name}.json").read_text())
    truth = np.load(drawn / f"backbone-{name}.npz")
    folder = tiny.write(about["spec"], tmp_path / "model")
    worst, cosine = 0.0, 1.0
    for length, found in zip(about["lengths"], hidden(folder, about, dtype="float32", alone=True), strict=True):
        worst = max(worst, *(float(np.abs(one - truth[f"hidden-{length}"]).max()) for one in found))
    for length, (found,) in zip(about["lengths"], hidden(folder, about, dtype="bfloat16", alone=False), strict=True):
        a, b = found.mean(0), truth[f"hidden-{length}"].mean(0)
        cosine = min(cosine, float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    record[f"backbone-{name}"] = {"float32": float(f"{worst:.1e}"), "bfloat16": float(f"{cosine:.5f}")}
    assert worst <= 1e-5
    assert cosine >= 0.9995


@pytest.mark.parametrize("name", sorted(cases.STATIC))
def test_static_embeddings_equal_the_real_module(name, drawn, tmp_path, record):
    about = json.loads((drawn / f"static-{name}.json").read_text())
    truth = np.load(drawn / f"static-{name}.npz")["embeddings"]
    folder = str(tiny.write(about["spec"], tmp_path / "model"))
    worst = float(np.abs(SentenceTransformer(folder).encode(about["texts"]) - truth).max())
    halved = SentenceTransformer(folder, model_kwargs={"dtype": "bfloat16"}).encode(about["texts"])
    cosine = float((halved * truth).sum(1).min())
    record[f"static-{name}"] = {"float32": float(f"{worst:.1e}"), "bfloat16": float(f"{cosine:.5f}")}
    assert worst <= 1e-6
    assert cosine >= 0.9995


def test_no_decoder_of_transformers_is_silently_wrong(tmp_path):
    """Every causal LM that transformers can build this small either gives its hidden states or is refused by name."""
    reference("draw_decoders.py", str(tmp_path))
    (ids,) = tiny.ids([40], seed=1)
    loaded, guessed, refused = [], [], []
    for truth in sorted(tmp_path.glob("*/hidden.npy")):
        name, expected = truth.parent.name, np.load(truth)
        try:
            engine = load_engine(str(truth.parent / "drawn"))
        except (UnsupportedModelError, CheckpointError):
            refused.append(name)
            continue
        (found,) = engine.run([Text(np.array(ids, np.int32))], task=HIDDEN)
        assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected), name
        (guessed if engine.model.family == ANY_DECODER.name else loaded).append(name)
    print(
        f"\n{len(loaded)} known: {', '.join(loaded)}\n{len(guessed)} as a Llama: {', '.join(guessed)}\n{len(refused)} refused"
    )
    assert len(loaded) >= 20
    assert guessed
