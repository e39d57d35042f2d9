"""Against the real libraries, run in the reference environment by a second Python."""

import json
from pathlib import Path

import numpy as np
import pytest
from live import reference

from jaxembed import LLM, SentenceTransformer, quantize_embeddings
from jaxembed.convert.checkpoint.hub import find_model

pytestmark = pytest.mark.parity

MINILM = find_model(None)


def mixed_texts() -> list[str]:
    """200 texts of 1 to 300 words: plain, accented, CJK, emoji, empty, white space, beyond the maximum length."""
    rng = np.random.RandomState(42)
    words = (
        "the weather is lovely today he drove to stadium naïve café Straße 東京 北京 Привет мир مرحبا 👍🏽 🙂 👨‍👩‍👧 "
        "don't e-mail http://example.com/a?b=c 3.14159 C++ [MASK] supercalifragilisticexpialidocious \u200b \u00a0x ﬁne Ⅷ"
    ).split(" ")
    fixed = ["", " ", "\n\t ", "a", "👍", "word " * 300, "x" * 5000, "[CLS] [SEP]", "\x00\x01control", "A" * 100 + " end"]
    lengths = rng.randint(1, 301, 200 - len(fixed))
    return fixed + [" ".join(rng.choice(words, n)) for n in lengths]


@pytest.fixture(scope="module")
def texts():
    return mixed_texts()


def real_calls(tmp_path: Path, folder: Path, calls: list[dict]) -> list[np.ndarray]:
    out = tmp_path / "out.npz"
    reference("call_sentence_transformer.py", str(folder), str(out), stdin=json.dumps(calls))
    with np.load(out) as arrays:
        return [arrays[str(number)] for number in range(len(calls))]


def test_minilm_equals_sentence_transformers_on_texts_of_every_kind(texts, tmp_path):
    (expected,) = real_calls(tmp_path, MINILM, [{"inputs": texts}])
    got = SentenceTransformer().encode(texts)
    worst = np.abs(got - expected).max()
    print(f"\nMiniLM, 200 texts: max abs difference {worst:.2e}")
    assert worst <= 1e-5
    outputs = LLM().embed(texts, use_tqdm=False, tokenization_kwargs={"truncate_prompt_tokens": -1})
    assert np.abs(np.array([output.outputs.embedding for output in outputs]) - expected).max() <= 1e-5


def test_bfloat16_stays_close_to_the_reference(texts, tmp_path):
    (expected,) = real_calls(tmp_path, MINILM, [{"inputs": texts}])
    got = SentenceTransformer(model_kwargs={"dtype": "bfloat16"}).encode(texts, normalize_embeddings=True)
    cosines = (got * expected).sum(1)
    print(f"\nMiniLM in bfloat16, 200 texts: cosine {cosines.min():.6f} at least, {cosines.mean():.6f} in the mean")
    assert cosines.min() >= 0.9995


ENCODE_CALLS = [
    {"inputs": "one text"},
    {"inputs": ["one text"]},
    {"inputs": []},
    {"inputs": ["a", "some longer text", ""], "prompt": "query: "},
    {"inputs": ["a", "some longer text"], "prompt_name": "query"},
    {"inputs": ["a", "b"], "truncate_dim": 100},
    {"inputs": ["a", "b"], "truncate_dim": 100, "normalize_embeddings": True},
    {"inputs": ["a", "b c", "d e f"], "precision": "int8"},
    {"inputs": ["a", "b c", "d e f"], "precision": "uint8"},
    {"inputs": ["a", "b c", "d e f"], "precision": "binary"},
    {"inputs": ["a", "b c", "d e f"], "precision": "ubinary"},
    {"inputs": ["a", "b c"], "batch_size": 1},
    {"inputs": "some text", "output_value": "token_embeddings"},
    {"inputs": [["a", "b c"], ["Represent the title:", "A title"]]},
    {"inputs": [["first " * 300, "second " * 300], ["a", "second " * 300], ["first " * 300, "b"]]},
    {"inputs": [["a", "b c"]], "prompt": "query: "},
]


def test_encode_gives_what_the_real_encode_gives_for_the_same_arguments(tmp_path):
    expected = real_calls(tmp_path, MINILM, ENCODE_CALLS)
    model = SentenceTransformer(prompts={"query": "find this: "})
    for call, truth in zip(ENCODE_CALLS, expected, strict=True):
        options = dict(call)
        got = np.asarray(model.encode(options.pop("inputs"), **options))
        assert got.shape == truth.shape, call
        if not truth.size:  # numpy calls an empty list float64; ours stays what vectors are
            continue
        assert got.dtype == truth.dtype, call
        if got.dtype == np.float32:
            assert np.abs(got - truth).max(initial=0) <= 1e-5, call
        elif "binary" in call["precision"]:
            # A value of zero to the last bit may fall to either side.
            assert np.unpackbits(got.view(np.uint8) ^ truth.view(np.uint8)).mean() < 0.01, call
        else:
            # Each dimension's largest value lies on the edge between two steps.
            assert np.abs(got.astype(int) - truth.astype(int)).max() <= 1, call


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_quantizing_the_same_vectors_gives_the_same_bytes(precision, tmp_path):
    inputs = ["a", "b c", "d e f", "g h i j"]
    floats, truth = real_calls(tmp_path, MINILM, [{"inputs": inputs}, {"inputs": inputs, "precision": precision}])
    got = quantize_embeddings(floats, precision)
    assert got.dtype == truth.dtype
    np.testing.assert_array_equal(got, truth)


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarity_functions_equal_the_real_ones(name, tmp_path):
    texts = ["a cat", "a dog", "the theory of everything"]
    call = {"inputs": texts, "similarity": name}
    matrix, pairs = real_calls(tmp_path, MINILM, [call, {**call, "pairwise": True}])
    model = SentenceTransformer(similarity_fn_name=name)
    vectors = model.encode(texts)
    # The matrix of distances may be computed as |a|² + |b|² - 2ab, which cancels.
    np.testing.assert_allclose(model.similarity(vectors, vectors[:2]), matrix, atol=1e-3 if name == "euclidean" else 1e-5)
    np.testing.assert_allclose(model.similarity_pairwise(vectors[1:], vectors[:2]), pairs, atol=1e-5)


@pytest.mark.parametrize("name", ["static-sentence-transformers", "static-model2vec"])
def test_a_text_without_tokens_gets_the_vector_that_it_gets_there(name, checkpoint, tmp_path):
    folder = checkpoint(name)
    (expected,) = real_calls(tmp_path, folder, [{"inputs": ["w8 w9", "", "w3"]}])
    np.testing.assert_allclose(SentenceTransformer(str(folder)).encode(["w8 w9", "", "w3"]), expected, atol=1e-6)


SETTINGS = [
    ("sentence_bert_config.json", {"config_args": {"hidden_act": "relu"}}),
    ("sentence_bert_config.json", {"config_kwargs": {"hidden_act": "relu"}, "model_kwargs": {"attn_implementation": "eager"}}),
    ("sentence_bert_config.json", {"tokenizer_args": {"model_max_length": 5, "padding_side": "right"}, "max_seq_length": 9}),
    ("sentence_bert_config.json", {"max_seq_length": 6, "processing_kwargs": {"text": {"padding": True}}}),
    ("config_sentence_transformers.json", {"truncate_dim": 8}),
]


@pytest.mark.parametrize(("name", "content"), SETTINGS)
def test_settings_in_the_files_of_a_checkpoint_mean_what_they_mean_there(name, content, checkpoint, tmp_path):
    folder = checkpoint("pipeline-dense")
    (folder / name).write_text(json.dumps(content))
    inputs = ["w8 w9", "w20 " * 30]
    plain, unit = real_calls(tmp_path, folder, [{"inputs": inputs}, {"inputs": inputs, "normalize_embeddings": True}])
    model = SentenceTransformer(str(folder))
    np.testing.assert_allclose(model.encode(inputs), plain, atol=1e-5)
    np.testing.assert_allclose(model.encode(inputs, normalize_embeddings=True), unit, atol=1e-5)
    assert plain.shape[1] == model.get_embedding_dimension()
