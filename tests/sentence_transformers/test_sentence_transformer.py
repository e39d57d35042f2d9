"""The API of sentence-transformers, without that library: its live twin is tests/parity/test_live.py."""

import logging

import numpy as np
import pytest
from refusals import refused

from jaxembed import LLM, PoolingParams, SentenceTransformer, quantize_embeddings
from jaxembed.errors import InputError, InputTypeError, NonFiniteError
from jaxembed.tensors import tensor as as_tensor

TEXTS = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]


@pytest.fixture(scope="module")
def model():
    return SentenceTransformer()


@pytest.fixture(scope="module")
def vectors(model):
    return model.encode(TEXTS)


def test_the_known_cosines_come_out(model, vectors):
    similar = model.similarity(vectors, vectors)
    assert [round(float(similar[i, j]), 4) for i, j in ((0, 1), (0, 2), (1, 2))] == [0.6660, 0.1046, 0.1411]


def test_a_str_gives_one_vector_and_a_list_gives_rows(model, vectors):
    one = model.encode(TEXTS[0])
    assert (one.shape, one.dtype) == ((384,), np.float32)
    assert vectors.shape == (3, 384)
    assert model.encode([]).size == 0
    for many in (tuple(TEXTS), np.array(TEXTS), (text for text in TEXTS)):
        np.testing.assert_allclose(model.encode(many), vectors, atol=1e-6)
    np.testing.assert_array_equal(model.encode(sentences=TEXTS), vectors)


def test_the_form_of_the_result_is_the_callers_choice(model, vectors):
    tensor = model.encode(TEXTS, convert_to_tensor=True)
    assert type(tensor) is type(as_tensor(vectors))
    listed = model.encode(TEXTS, convert_to_numpy=False)
    assert [type(one) for one in listed] == [type(tensor)] * 3
    for form in (tensor, listed):
        np.testing.assert_array_equal(np.asarray(form), vectors)


def test_token_embeddings_are_the_last_hidden_states(model, vectors):
    tokens = model.encode(TEXTS, output_value="token_embeddings")
    assert [one.shape for one in tokens] == [(len(ids), 384) for ids in model.tokenizer(TEXTS)["input_ids"]]
    mean = tokens[0].mean(0)
    np.testing.assert_allclose(mean / np.linalg.norm(mean), vectors[0], atol=1e-6)
    both = model.encode(TEXTS[0], output_value=None)
    np.testing.assert_allclose(both["sentence_embedding"], vectors[0], atol=1e-6)
    np.testing.assert_allclose(both["token_embeddings"], tokens[0], atol=1e-5)


def test_prompts_by_argument_beat_those_by_name_and_those_beat_the_default(model, caplog):
    named = SentenceTransformer(prompts={"query": "find: ", "passage": "text: "}, default_prompt_name="query")
    plain = model.encode(["find: a", "text: a", "third: a", "a"])
    np.testing.assert_allclose(named.encode("a"), plain[0], atol=1e-6)
    np.testing.assert_allclose(named.encode("a", prompt_name="passage"), plain[1], atol=1e-6)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(named.encode("a", prompt_name="passage", prompt="third: "), plain[2], atol=1e-6)
    assert "prompt_name is ignored" in caplog.text
    np.testing.assert_allclose(named.encode_query("a"), plain[0], atol=1e-6)
    # sentence-transformers always has a "document" prompt, empty unless it is given.
    np.testing.assert_allclose(named.encode_document("a"), plain[3], atol=1e-6)
    np.testing.assert_allclose(named.encode("a", prompt=""), plain[3], atol=1e-6)
    with refused("prompt_name", match=r"Prompt name 'nothing' not found .* keys \['query', 'document', 'passage'\]"):
        named.encode("a", prompt_name="nothing")
    with refused("default_prompt_name", "Prompt name 'nothing' not found"):
        SentenceTransformer(default_prompt_name="nothing")


def test_truncation_of_dimensions_comes_before_the_unit_length(model, vectors):
    cut = vectors[:, :64]
    np.testing.assert_allclose(model.encode(TEXTS, truncate_dim=64), cut, atol=1e-6)
    unit = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    np.testing.assert_allclose(model.encode(TEXTS, truncate_dim=64, normalize_embeddings=True), unit, atol=1e-6)
    with model.truncate_embeddings(32):
        assert model.encode(TEXTS).shape == (3, 32)
        assert model.get_embedding_dimension() == model.get_sentence_embedding_dimension() == 32
    assert model.get_embedding_dimension() == 384


def test_texts_are_cut_to_max_seq_length_which_can_be_set(model):
    short = SentenceTransformer()
    assert short.max_seq_length == 256
    short.max_seq_length = 12
    long = "word " * 50
    assert short.tokenize([long, "a"])["input_ids"].shape == (2, 12)
    np.testing.assert_allclose(short.encode(long), model.encode("word " * 10), atol=1e-6)
    for wrong in (0, 513):
        with refused("max_seq_length", "512", str(wrong)):
            short.max_seq_length = wrong
    short.max_seq_length = 1
    with refused("max_seq_length", "2 special tokens"):
        short.encode("word word")


def test_tokenize_pads_and_masks(model):
    features = model.tokenize(["hello", "hello world again"])
    assert features["input_ids"].tolist() == [[101, 7592, 102, 0, 0], [101, 7592, 2088, 2153, 102]]
    assert features["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("inputs", "options", "error", "named"),
    [
        (TEXTS, {"batchsize": 3}, InputError, "'batchsize'"),
        (TEXTS, {"batch_size": 0}, InputError, "0"),
        (TEXTS, {"precision": "int4"}, InputError, "Precision 'int4' is not supported"),
        (TEXTS, {"output_value": "words"}, InputError, "'words'"),
        (None, {}, InputTypeError, "NoneType"),
        (7, {}, InputTypeError, "int"),
        ([1, 2], {}, InputTypeError, "int"),
        ({"a": 1}, {}, InputTypeError, "dict"),
        (["\ud800"], {}, InputError, "surrogate"),
    ],
)
def test_wrong_calls_are_one_sentence(model, inputs, options, error, named):
    (field,) = options or ["inputs"]
    with refused(field, named, error=error) as raised:
        model.encode(inputs, **options)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(("precision", "shape", "kind"), [("int8", (3, 384), np.int8), ("ubinary", (3, 48), np.uint8)])
def test_precisions_have_their_shape_and_type(model, precision, shape, kind):
    got = model.encode(TEXTS, precision=precision)
    assert (got.shape, got.dtype) == (shape, kind)


def test_binary_bits_are_the_signs_most_significant_first():
    signs = np.array([[1, -1, 1, -1, 1, -1, 1, -1], [1] * 8, [-1] * 8, [0.0] * 8], np.float32)
    assert quantize_embeddings(signs, "ubinary").ravel().tolist() == [170, 255, 0, 0]
    assert quantize_embeddings(signs, "binary").ravel().tolist() == [42, 127, -128, -128]


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_a_vector_that_is_not_finite_is_named_and_takes_no_bits(precision):
    vectors = np.array([[1, 2], [3, np.nan], [5, 6]], np.float32)
    with pytest.raises(NonFiniteError, match=r"embeddings\[1\] are not finite"):
        quantize_embeddings(vectors, precision)
    assert np.isnan(quantize_embeddings(vectors, "float32")).sum() == 1
    if precision.endswith("int8"):
        with pytest.raises(NonFiniteError, match=r"calibration_embeddings\[1\]"):
            quantize_embeddings(vectors[[0, 2]], precision, calibration_embeddings=vectors)


def test_scalar_steps_come_from_ranges_then_calibration_then_the_vectors():
    vectors = np.array([[0.0, 10.0], [255.0, 520.0], [100.5, 13.0]], np.float32)
    assert quantize_embeddings(vectors, "uint8").tolist() == [[0, 0], [255, 255], [100, 1]]
    assert quantize_embeddings(vectors, "int8").tolist() == [[-128, -128], [127, 127], [-28, -127]]
    ranges = np.array([[0.0, 0.0], [510.0, 255.0]], np.float32)
    assert quantize_embeddings(vectors, "uint8", ranges=ranges).tolist() == [[0, 10], [127, 255], [50, 13]]
    calibrated = quantize_embeddings(vectors, "uint8", calibration_embeddings=ranges)
    assert calibrated.tolist() == [[0, 10], [127, 255], [50, 13]]
    with refused("embeddings", "from a single embedding"):
        quantize_embeddings(vectors[:1], "int8")
    with refused("embeddings", "must be float"):
        quantize_embeddings(vectors.astype(int), "int8")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("cosine", [[0.6, 0.0]]), ("dot", [[6.0, 0.0]]), ("euclidean", [[-(20**0.5), -(13**0.5)]]), ("manhattan", [[-6.0, -5.0]])],
)
def test_similarity_functions_are_what_their_names_say(model, name, expected):
    other = SentenceTransformer(similarity_fn_name=name)
    a, b = [[2.0, 0.0]], [[3.0, 4.0], [0.0, 3.0]]
    if name in ("euclidean", "manhattan"):
        expected = [[-np.linalg.norm(np.subtract(a[0], one), ord=2 if name == "euclidean" else 1) for one in b]]
    np.testing.assert_allclose(other.similarity(a, b), expected, atol=1e-6)
    np.testing.assert_allclose(other.similarity_pairwise(a * 2, b), expected[0], atol=1e-6)
    lone = other.similarity_pairwise(a[0], b[0])
    assert (np.ndim(lone), float(lone)) == (0, pytest.approx(expected[0][0], abs=1e-6))


def test_similarity_refuses_what_cannot_be_compared(model):
    with refused("embeddings2", "2", "3"):
        model.similarity([[1, 2]], [[1, 2, 3]])
    with refused("embeddings2", "2", "1"):
        model.similarity_pairwise([[1, 2], [3, 4]], [[1, 2]])
    with refused("similarity_fn_name", "'angle'", "cosine, dot, euclidean, manhattan"):
        model.similarity_fn_name = "angle"


def test_a_saved_model_loads_again_with_the_same_vectors(model, vectors, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    again = SentenceTransformer(str(tmp_path / "saved"))
    np.testing.assert_array_equal(again.encode(TEXTS), vectors)
    assert again.prompts == model.prompts


def test_what_was_set_is_saved_too(model, tmp_path):
    mine = SentenceTransformer(prompts={"query": "find: "}, config_kwargs={"is_matryoshka": True}, similarity_fn_name="dot")
    mine.max_seq_length, mine.default_prompt_name, mine.truncate_dim = 32, "query", 64
    mine.save_pretrained(tmp_path / "saved")
    again = SentenceTransformer(str(tmp_path / "saved"))
    for name in ("max_seq_length", "prompts", "default_prompt_name", "truncate_dim", "similarity_fn_name"):
        assert getattr(again, name) == getattr(mine, name)
    assert again.engine.model.recipe.matryoshka == ()
    np.testing.assert_allclose(again.encode("word " * 100), mine.encode("word " * 100), atol=1e-6)
    again.max_seq_length = 16
    again.save_pretrained(tmp_path / "saved")  # onto itself
    assert SentenceTransformer(str(tmp_path / "saved")).max_seq_length == 16
    with refused("path", str(tmp_path / "saved" / "more")):
        again.save_pretrained(tmp_path / "saved" / "more")


def test_modules_can_be_looked_at(model):
    assert len(model) == 3
    assert model[0].max_seq_length == 256
    assert model[1].pooling_mode == "mean"
    assert [type(module).__name__ for module in model] == ["Transformer", "Pooling", "Normalize"]
    assert "pooling mean, 384 dimensions" in repr(model)


def test_old_code_that_passes_arguments_by_position_works_with_a_warning():
    with pytest.warns(FutureWarning, match="pass modules, device, prompts to SentenceTransformer by name"):
        model = SentenceTransformer(None, None, "cpu", {"query": "q: "})
    assert model.prompts["query"] == "q: "


def test_pools_of_processes_are_one_engine(model, vectors):
    pool = model.start_multi_process_pool(["cpu", "cpu"])
    np.testing.assert_array_equal(model.encode(TEXTS, pool=pool, chunk_size=2), vectors)
    np.testing.assert_array_equal(model.encode_multi_process(TEXTS, pool), vectors)
    model.stop_multi_process_pool(pool)


def test_a_bar_shows_itself_when_asked(model, capsys, caplog):
    # A server that ran in this process before has its own idea of what is worth telling.
    caplog.set_level(logging.WARNING, "jaxembed.sentence_transformers")
    model.encode(TEXTS, show_progress_bar=True)
    assert "3/3" in capsys.readouterr().err
    model.encode(TEXTS)
    assert capsys.readouterr().err == ""


def test_torch_modules_and_other_backends_are_refused():
    with refused("modules"):
        SentenceTransformer(modules=[object()])
    with refused("backend", "'onnx'"):
        SentenceTransformer(backend="onnx")


def test_the_width_that_a_checkpoint_says_is_the_default(checkpoint):
    folder = checkpoint("pipeline-dense")
    whole = SentenceTransformer(str(folder)).encode("w8 w9")
    (folder / "config_sentence_transformers.json").write_text('{"truncate_dim": 8}')
    model = SentenceTransformer(str(folder))
    assert model.get_embedding_dimension() == 8
    np.testing.assert_array_equal(model.encode("w8 w9"), whole[:8])
    assert SentenceTransformer(str(folder), truncate_dim=16).encode("w8 w9").shape == (16,)
    with model.truncate_embeddings(None):
        assert model.encode("w8 w9").shape == (24,)
    # LLM knows no such default, as vLLM knows none; it takes the width for one that may be asked for.
    llm = LLM(str(folder))
    (short,) = llm.embed("w8 w9", pooling_params=PoolingParams(dimensions=8), use_tqdm=False)
    np.testing.assert_allclose(short.outputs.embedding, whole[:8] / np.linalg.norm(whole[:8]), atol=1e-6)
    assert len(llm.embed("w8 w9", use_tqdm=False)[0].outputs.embedding) == 24


@pytest.mark.parametrize("name", ["tokenizer_kwargs", "processor_kwargs"])
def test_texts_are_cut_at_the_side_that_the_tokenizer_is_asked_for(model, name):
    left = SentenceTransformer(**{name: {"truncation_side": "left", "padding_side": "left", "model_max_length": 12}})
    np.testing.assert_allclose(left.encode("first " * 50 + "last " * 10), model.encode("last " * 10), atol=1e-6)
    assert left.tokenize(["first " * 50 + "last"])["input_ids"][0, -2] == model.tokenize(["last"])["input_ids"][0, 1]


@pytest.mark.parametrize(
    ("options", "field", "named"),
    [
        ({"processor_kwargs": {"foo": 2}}, "processor_kwargs", "'foo'"),
        ({"processor_kwargs": {"model_max_length": 10**6}}, "processor_kwargs", "1000000"),
        ({"tokenizer_kwargs": {"truncation_side": "up"}}, "processor_kwargs", "'up'"),
        ({"model_kwargs": {"foo": 1}}, "model_kwargs", "'foo'"),
    ],
)
def test_options_that_are_not_understood_are_refused(options, field, named):
    with refused(field, named):
        SentenceTransformer(**options)


def test_token_embeddings_are_quantized_over_all_tokens(model):
    matrices = model.encode(TEXTS, output_value="token_embeddings")
    got = model.encode(TEXTS, output_value="token_embeddings", precision="int8")
    for one, expected in zip(got, quantize_embeddings(matrices, "int8"), strict=True):
        np.testing.assert_array_equal(one, expected)
    with refused("precision", "'int8'", "output_value"):
        model.encode(TEXTS, output_value=None, precision="int8")


def test_what_torch_code_does_with_a_model_changes_nothing_or_is_refused(model):
    assert model.to("cpu").eval() is model
    with refused("device", "cuda:0"):
        model.to(device="cuda:0")
    with refused("dtype", "model_kwargs", "torch.float16"):
        model.to("torch.float16")


def test_a_text_may_be_a_dict_and_a_prompt_may_not_be_a_number(model, vectors):
    np.testing.assert_allclose(model.encode({"text": TEXTS[0]}), vectors[0], atol=1e-6)
    np.testing.assert_allclose(model.encode([{"text": TEXTS[0]}]), vectors[:1], atol=1e-6)
    with refused("prompt", "int", error=InputTypeError):
        model.encode("x", prompt=5)


def test_a_prompt_longer_than_the_model_leaves_the_end_token(checkpoint):
    """As in sentence-transformers, which measures a prompt after it was cut."""
    model = SentenceTransformer(str(checkpoint("pipeline-pooling-without-prompt")))
    tokens = model.encode("w9 " * 1000, output_value="token_embeddings")
    # The first of several pooling modes; over one token they all give that token.
    raw = model.encode("w8", prompt="w9 " * 1000)[: tokens.shape[1]]
    assert np.linalg.norm(raw) > 0.1
    np.testing.assert_allclose(raw / np.linalg.norm(raw), tokens[-1] / np.linalg.norm(tokens[-1]), atol=1e-5)
