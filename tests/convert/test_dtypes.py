"""The type that a model is computed in."""

import numpy as np
import pytest

from jaxembed import LLM, SentenceTransformer
from jaxembed.convert.checkpoint import loading
from jaxembed.convert.checkpoint.loading import load


def vector(folder, **options):
    (output,) = LLM(folder, **options).encode("w8 w9 w10", pooling_task="embed", use_tqdm=False)
    return output.outputs.data


@pytest.mark.parametrize("dtype", ["float16", "half", np.float16])
def test_float16_is_computed_in_what_the_hardware_has_and_that_is_said_once(checkpoint, monkeypatch, caplog, dtype):
    loading._say_instead_of_half.cache_clear()
    folder = str(checkpoint("backbone-bert"))
    models = [load(folder, per_layer=True, dtype=dtype) for _ in range(2)]
    assert {np.dtype(model.dtype).name for model in models} == {"float32"}
    assert caplog.text.count("float16 is asked for; on a cpu the model is computed in float32") == 1
    for platform, name in (("gpu", "float16"), ("tpu", "bfloat16")):
        monkeypatch.setattr(loading.jax, "default_backend", lambda platform=platform: platform)
        assert np.dtype(loading.resolve_dtype(dtype)).name == name


def test_float16_is_taken_in_the_words_of_both_libraries(checkpoint):
    folder = str(checkpoint("backbone-bert"))
    whole = vector(folder)
    np.testing.assert_allclose(vector(folder, dtype="half"), whole, atol=2e-3)
    for name in ("torch_dtype", "dtype"):
        model = SentenceTransformer(folder, model_kwargs={name: "float16"})
        np.testing.assert_allclose(model.encode("w8 w9 w10", normalize_embeddings=True), whole, atol=2e-3)
