"""vLLM's offline API: arguments, outputs and messages as its users know them."""

import numpy as np
import pytest
from refusals import refused

from jaxembed import LLM, EmbeddingRequestOutput, PoolerConfig, PoolingParams, PoolingRequestOutput, ScoringRequestOutput
from jaxembed.errors import InputError, InputTypeError
from jaxembed.heads.tokens import HIDDEN

TEXTS = ["Follow the white rabbit.", "Hello, my name is", "a"]


def embed(llm, prompts, **options) -> np.ndarray:
    return np.array([output.outputs.embedding for output in llm.embed(prompts, use_tqdm=False, **options)])


@pytest.fixture(scope="module")
def vectors(llm):
    return embed(llm, TEXTS)


# The examples of the documentation, as written, on tiny checkpoints of the right shape.


def test_the_first_example_of_the_documentation_runs_as_written(checkpoint):
    llm = LLM(model=str(checkpoint("pipeline-pooling-mean")), runner="pooling")
    (output,) = llm.encode("Hello, my name is", pooling_task="embed")
    data = output.outputs.data
    assert data.shape == (32,)
    assert data.dtype == np.float32


def test_the_matryoshka_example_of_the_documentation_runs_as_written(checkpoint):
    def many_dimensions(spec):
        spec["files"]["config.json"].update(matryoshka_dimensions=[8, 16, 32], hidden_size=32)

    model = str(checkpoint("pipeline-qwen3-last", many_dimensions))
    llm = LLM(
        model=model,
        runner="pooling",
        trust_remote_code=True,
    )
    outputs = llm.embed(
        ["Follow the white rabbit."],
        pooling_params=PoolingParams(dimensions=16),
    )
    assert str(outputs[0].outputs) == "EmbeddingOutput(hidden_size=16)"
    assert np.linalg.norm(outputs[0].outputs.embedding) == pytest.approx(1, abs=1e-6)


# Outputs.


def test_embed_gives_one_embedding_a_prompt_with_its_ids(llm):
    outputs = llm.embed(TEXTS, use_tqdm=False)
    assert [type(output) for output in outputs] == [EmbeddingRequestOutput] * 3
    first = outputs[0]
    assert first.outputs.hidden_size == len(first.outputs.embedding) == 384
    assert first.prompt_token_ids == [101, 3582, 1996, 2317, 10442, 1012, 102]
    assert (first.finished, first.num_cached_tokens) == (True, 0)
    assert len({output.request_id for output in outputs}) == 3


def test_encode_gives_a_vector_a_text_or_a_vector_a_token(llm, vectors):
    (whole,) = llm.encode(TEXTS[0], pooling_task="embed", use_tqdm=False)
    (tokens,) = llm.encode(TEXTS[0], pooling_task="token_embed", use_tqdm=False)
    assert type(whole) is type(tokens) is PoolingRequestOutput
    np.testing.assert_allclose(whole.outputs.data, vectors[0], atol=1e-6)
    assert tokens.outputs.data.shape == (7, 384)
    np.testing.assert_allclose(np.linalg.norm(tokens.outputs.data, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("left", "right", "count"), [("a", "b", 1), ("a", ["b", "c", "d"], 3), (["a", "b"], ["c", "d"], 2)])
def test_score_pairs_one_with_one_one_with_many_and_many_with_many(llm, left, right, count):
    outputs = llm.score(left, right, use_tqdm=False)
    assert [type(output) for output in outputs] == [ScoringRequestOutput] * count
    lefts = [left] * count if isinstance(left, str) else left
    rights = [right] if isinstance(right, str) else right
    a, b = embed(llm, lefts), embed(llm, rights)
    np.testing.assert_allclose([output.outputs.score for output in outputs], (a * b).sum(1), atol=1e-6)


def test_score_takes_what_the_server_takes(llm):
    (plain,) = llm.score("a", "hello", use_tqdm=False)
    for form in ({"content": [{"type": "text", "text": "hello"}]}, {"content": "hello"}, {"text": "hello"}):
        for other in (form, [form]):
            assert llm.score("a", other, use_tqdm=False)[0].outputs.score == pytest.approx(plain.outputs.score, abs=1e-6)
    with refused("data_2", "words"):
        llm.score("a", [{"words": "hello"}], use_tqdm=False)


def test_score_takes_token_ids_too(llm):
    (text,) = llm.score("a", "hello", use_tqdm=False)
    (ids,) = llm.score([101, 1037, 102], [101, 7592, 102], use_tqdm=False)
    assert ids.outputs.score == pytest.approx(text.outputs.score, abs=1e-6)
    assert ids.prompt_token_ids == [101, 1037, 102, 101, 7592, 102]


# Prompts.


def test_prompts_may_be_texts_ids_dicts_and_mixed(llm, vectors):
    ids = [101, 3582, 1996, 2317, 10442, 1012, 102]
    for prompts in (
        TEXTS[0],
        [TEXTS[0]],
        ids,
        [ids],
        np.array(ids),
        {"prompt": TEXTS[0]},
        {"prompt_token_ids": ids},
        [{"prompt": TEXTS[0], "cache_salt": "x"}],
    ):
        np.testing.assert_allclose(embed(llm, prompts), vectors[:1], atol=1e-6)
    mixed = embed(llm, [TEXTS[2], ids, {"prompt": TEXTS[1]}, {"prompt_token_ids": ids}])
    np.testing.assert_allclose(mixed, vectors[[2, 0, 1, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("prompts", "error", "named"),
    [
        ([], InputError, "You must pass at least one prompt"),
        ([[]], InputError, "empty"),
        (None, InputTypeError, "NoneType"),
        (3, InputTypeError, "int"),
        (b"bytes", InputTypeError, "bytes"),
        (["fine", 3.5], InputTypeError, "float"),
        ([["nested", "texts"]], InputTypeError, "list"),
        ([[1, -5]], InputError, "Token id -5 is out of vocabulary"),
        ([[1, 2**40]], InputError, "Token id 1099511627776 is out of vocabulary"),
        ([[101, 30522]], InputError, "Token id 30522 is out of vocabulary"),
        ({"data": 1}, InputError, "The 'data' field is only supported for the 'plugin' pooling task."),
        ({"prompt": "a", "multi_modal_data": {"image": 1}}, InputError, "multi_modal_data"),
        ({"words": "a"}, InputError, "words"),
        ({"prompt_token_ids": "abc"}, InputTypeError, "prompt_token_ids"),
        ("word " * 400, InputError, "maximum context length is 256 tokens. However, your prompt contains 402"),
        ("\ud83d", InputError, "surrogate"),
    ],
)
def test_a_prompt_that_cannot_be_taken_is_one_sentence_and_nothing_runs(llm, prompts, error, named):
    compiled = llm.engine.compiled
    with refused("prompts", named, error=error) as raised:
        llm.embed(prompts, use_tqdm=False)
    assert isinstance(raised.value, ValueError)
    assert "\n" not in str(raised.value)
    assert llm.engine.compiled == compiled


# Tokenization.


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"truncate_prompt_tokens": 5}, [101, 3582, 1996, 2317, 102]),
        ({"truncate_prompt_tokens": 5, "truncation_side": "left"}, [101, 2317, 10442, 1012, 102]),
        ({"max_length": 3, "truncation": True}, [101, 3582, 102]),
        ({"max_length": 3, "truncation": "only_first"}, [101, 3582, 102]),
        ({"max_length": 3, "truncation": "do_not_truncate"}, [101, 3582, 1996, 2317, 10442, 1012, 102]),
        ({"truncate_prompt_tokens": -1}, [101, 3582, 1996, 2317, 10442, 1012, 102]),
        ({"add_special_tokens": False}, [3582, 1996, 2317, 10442, 1012]),
        ({"padding": "max_length", "do_lower_case": True}, [101, 3582, 1996, 2317, 10442, 1012, 102]),
    ],
)
def test_tokenization_options_do_what_they_say(llm, options, expected):
    (output,) = llm.embed(TEXTS[0], use_tqdm=False, tokenization_kwargs=options)
    assert output.prompt_token_ids == expected


def test_truncation_to_the_models_length_takes_exactly_that(llm):
    (output,) = llm.embed("word " * 400, use_tqdm=False, tokenization_kwargs={"truncate_prompt_tokens": -1})
    assert len(output.prompt_token_ids) == 256
    (older,) = llm.embed("word " * 400, use_tqdm=False, pooling_params=PoolingParams(truncate_prompt_tokens=10))
    assert len(older.prompt_token_ids) == 10


@pytest.mark.parametrize(
    ("options", "field", "named"),
    [
        ({"truncate_prompt_tokens": 257}, "truncate_prompt_tokens", "truncate_prompt_tokens=257 cannot be greater than"),
        ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens", "-2"),
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "truncate_prompt_tokens=0"),
        ({"truncate_prompt_tokens": 1}, "truncate_prompt_tokens", "2 special tokens"),
        ({"truncation_side": "middle"}, "truncation_side", "`truncation_side` must be either 'left' or 'right'."),
        ({"truncation": "only_second"}, "truncation", "'only_first'"),
        ({"truncation": "sometimes"}, "truncation", "'sometimes'"),
        ({"stride": 3}, "tokenization_kwargs", "stride"),
    ],
)
def test_wrong_tokenization_options_are_refused(llm, options, field, named):
    with refused(field, named):
        llm.embed("word " * 300, use_tqdm=False, tokenization_kwargs=options)


def test_the_tokenizer_is_one_that_transformers_users_know(llm):
    tokenizer = llm.get_tokenizer()
    assert tokenizer("Hello")["input_ids"] == [101, 7592, 102]
    assert tokenizer.decode([101, 7592, 102], skip_special_tokens=True) == "hello"
    assert (tokenizer.pad_token, tokenizer.cls_token, tokenizer.mask_token) == ("[PAD]", "[CLS]", "[MASK]")


# Parameters.


@pytest.fixture(scope="module")
def matryoshka():
    return LLM(hf_overrides={"is_matryoshka": True})


def test_each_prompt_may_have_its_own_parameters(matryoshka, vectors):
    params = [PoolingParams(dimensions=64), PoolingParams(use_activation=False), PoolingParams()]
    short, raw, full = matryoshka.embed(TEXTS, use_tqdm=False, pooling_params=params)
    cut = vectors[0][:64] / np.linalg.norm(vectors[0][:64])
    np.testing.assert_allclose(short.outputs.embedding, cut, atol=1e-6)
    length = np.linalg.norm(raw.outputs.embedding)
    assert abs(length - 1) > 0.1
    np.testing.assert_allclose(np.array(raw.outputs.embedding) / length, vectors[1], atol=1e-6)
    np.testing.assert_allclose(full.outputs.embedding, vectors[2], atol=1e-6)
    with refused("pooling_params", "The lengths of prompts (3) and params (2) must be the same."):
        matryoshka.embed(TEXTS, use_tqdm=False, pooling_params=params[:2])


def test_dimensions_equal_to_the_width_change_nothing(llm, vectors):
    np.testing.assert_array_equal(embed(llm, TEXTS, pooling_params=PoolingParams(dimensions=384)), vectors)


def test_dimensions_are_refused_in_vllms_words(llm, matryoshka):
    def told(model, dimensions):
        with refused("dimensions") as raised:
            model.embed("a", use_tqdm=False, pooling_params=PoolingParams(dimensions=dimensions))
        return str(raised.value)

    assert told(llm, 32) == (
        'Model "sentence-transformers/all-MiniLM-L6-v2" does not support matryoshka representation, '
        "changing output dimensions will lead to poor results."
    )
    assert told(matryoshka, 0) == "Dimensions must be greater than 0"
    assert "must not be greater than the embedding size of the model (384), got 385" in told(matryoshka, 385)
    some = LLM(hf_overrides={"matryoshka_dimensions": [64, 128]}, served_model_name="mine")
    assert told(some, 32) == (
        'Model "mine" only supports [64, 128] matryoshka dimensions, use other output dimensions will lead to poor results.'
    )


@pytest.mark.parametrize(
    ("fields", "error", "named"),
    [
        ({"normalize": True}, InputError, "Parameter `normalize` was removed; use `use_activation` instead."),
        ({"normalize": False}, InputError, "Parameter `normalize` was removed"),
        ({"dimensions": "32"}, InputTypeError, "'32'"),
        ({"dimensions": True}, InputTypeError, "True"),
        ({"use_activation": "yes"}, InputTypeError, "'yes'"),
    ],
)
def test_wrong_parameters_are_refused_when_they_are_made(fields, error, named):
    (field,) = fields
    with refused(field, named, error=error):
        PoolingParams(**fields)


def test_tasks_that_do_not_fit_are_refused_in_vllms_words(llm):
    with refused("pooling_task", "pooling_task required for `LLM.encode`"):
        llm.encode("a")
    with refused("pooling_task", "Unsupported task: 'plugin' Supported tasks"):
        llm.encode("a", pooling_task="plugin", use_tqdm=False)
    with refused("pooling_task", "Classification API is not supported by this model"):
        llm.encode("a", pooling_task="classify")
    with refused(None, "Classification API is not supported by this model"):
        llm.classify("a")
    with refused("task", "You cannot overwrite params.task='token_embed' with task='embed'!"):
        llm.embed("a", use_tqdm=False, pooling_params=PoolingParams(task="token_embed"))
    with refused("step_tag_id", match=r"Task embed only supports .* does not support \['step_tag_id'\] parameters"):
        llm.embed("a", use_tqdm=False, pooling_params=PoolingParams(step_tag_id=3))


def test_score_refuses_sides_that_do_not_pair(llm):
    with refused(None, "Input lengths must be either 1:1, 1:N or N:N"):
        llm.score(["a", "b"], ["c", "d", "e"])
    with refused("data_1", "At least one text element must be given"):
        llm.score([], ["a"])
    with refused("data_2", "At least one text_pair element must be given"):
        llm.score("a", [])


# The model.


def test_a_pooler_config_overrides_a_wrong_sentence_transformers_config(checkpoint):
    """As ssmits/Qwen2-7B-Instruct-embed-base needs: its files say otherwise, its vectors are means."""
    folder = str(checkpoint("pipeline-qwen2-last"))
    (hidden,) = LLM(folder).engine.run(_texts(folder, "w8 w9 w10"), task=HIDDEN)
    mean = hidden.mean(0) / np.linalg.norm(hidden.mean(0))
    for config in (PoolerConfig(pooling_type="MEAN"), {"seq_pooling_type": "MEAN"}):
        np.testing.assert_allclose(embed(LLM(folder, pooler_config=config), "w8 w9 w10")[0], mean, atol=1e-6)
    np.testing.assert_allclose(embed(LLM(folder), "w8 w9 w10")[0], hidden[-1] / np.linalg.norm(hidden[-1]), atol=1e-6)


def _texts(folder, text):
    from jaxembed.convert.checkpoint.loading import describe
    from jaxembed.packing.text import Text

    return [Text(ids) for ids in describe(folder).tokenizer.encode([text])]


def test_a_pooler_config_gives_the_defaults_of_every_text(vectors):
    llm = LLM(hf_overrides={"is_matryoshka": True}, pooler_config={"dimensions": 16, "use_activation": False})
    raw = embed(llm, TEXTS)
    assert raw.shape == (3, 16)
    unit = embed(llm, TEXTS, pooling_params=PoolingParams(use_activation=True))
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), unit, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "error", "field", "named"),
    [
        (
            {"pooling_type": "MEAN", "seq_pooling_type": "CLS"},
            InputError,
            "pooler_config.seq_pooling_type",
            "Cannot set both `pooling_type` and `seq_pooling_type`",
        ),
        ({"pooling_type": "MEDIAN"}, InputError, "pooler_config.pooling_type", "CLS, LAST, MEAN, ALL, STEP"),
        ({"pooling_type": "STEP"}, InputError, "pooler_config.pooling_type", "'STEP'"),
        ({"task": "classify"}, InputError, "pooler_config.task", "Unsupported task: 'classify' Supported tasks"),
        ({"use_activation": "False"}, InputTypeError, "pooler_config.use_activation", "'False'"),
        ({"dimensions": "abc"}, InputTypeError, "pooler_config.dimensions", "'abc'"),
        (
            {"enable_chunked_processing": True},
            InputError,
            "pooler_config.enable_chunked_processing",
            "enable_chunked_processing",
        ),
        ({"poolingtype": "MEAN"}, InputError, "pooler_config", "'poolingtype'"),
    ],
)
def test_wrong_pooler_configs_are_refused(fields, error, field, named):
    with refused(field, named, error=error):
        LLM(pooler_config=fields)


def test_a_pooler_config_is_not_changed_by_the_model_that_it_is_given_to():
    given = PoolerConfig(enable_chunked_processing=False)
    LLM(pooler_config=given)
    assert given.use_activation is None


def test_what_is_no_override_is_refused():
    with refused("hf_overrides", "str", error=InputTypeError):
        LLM(hf_overrides="x")
    assert PoolingParams(dimensions=np.int64(64)).dimensions == 64


def test_a_checkpoint_without_a_normalize_module_is_not_normalized_unless_asked(checkpoint):
    llm = LLM(str(checkpoint("pipeline-pooling-mean")))
    assert abs(np.linalg.norm(embed(llm, "w8 w9")) - 1) > 1e-3
    asked = embed(llm, "w8 w9", pooling_params=PoolingParams(use_activation=True))
    assert np.linalg.norm(asked) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"runner": "generate"}, InputError, "runner='pooling'"),
        ({"runner": "draft"}, InputError, "'draft'"),
        ({"convert": "classify"}, InputError, "'classify'"),
        ({"convert": "reward"}, InputError, "'reward'"),
        ({"tensor_parallel_size": 2}, InputError, "tensor_parallel_size=2"),
        ({"quantization": "awq"}, InputError, "'awq'"),
        ({"enable_lora": True}, InputError, "enable_lora"),
        ({"max_modellen": 3}, InputTypeError, "'max_modellen'"),
        ({"max_model_len": 10**6}, InputError, "greater than the derived max_model_len"),
    ],
)
def test_options_that_would_change_something_and_cannot_are_refused(options, error, named):
    (field,) = options
    with refused(field, named, error=error):
        LLM(**options)


def test_options_that_vllm_users_pass_by_habit_are_accepted():
    LLM(enforce_eager=True, gpu_memory_utilization=0.5, max_num_seqs=8, seed=0, tensor_parallel_size=1, trust_remote_code=True)


def test_a_bar_may_be_made_by_the_caller(llm):
    from tqdm import tqdm

    made = []

    def make(**options):
        made.append(tqdm(**options, file=open("/dev/null", "w")))  # noqa: SIM115
        return made[-1]

    llm.embed(TEXTS, use_tqdm=make)
    assert (made[0].n, made[0].total) == (3, 3)
    made[0].fp.close()


def test_lora_requests_are_refused(llm):
    with refused("lora_request", "lora_request"):
        llm.embed("a", lora_request=object(), use_tqdm=False)
