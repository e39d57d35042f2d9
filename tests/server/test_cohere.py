"""`/v2/embed` and `/v1/embed` in Cohere's words."""

import base64
import json

import numpy as np
import pytest
from served import served

from jaxembed import LLM
from jaxembed.server.encoding import cohere_embeddings, to_int8

TEXTS = ["The weather is lovely today.", "He drove to the stadium."]
ARCTIC = {"query": "Represent this sentence for searching relevant passages: "}
CHATML = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"


@pytest.fixture(scope="module")
def client(llm):
    with served(llm) as client:
        yield client


@pytest.fixture(scope="module")
def strict(llm):
    with served(llm, cohere_input_type="strict") as client:
        yield client


@pytest.fixture(scope="module")
def arctic(tmp_path_factory):
    """The real model with the prompts that arctic-embed-xs has in its files."""
    from jaxembed.convert.checkpoint.hub import find_model

    source, folder = find_model(None), tmp_path_factory.mktemp("arctic")
    for path in source.rglob("*"):
        if path.is_file() and path.name != "config_sentence_transformers.json":
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": ARCTIC}))
    with served(LLM(str(folder))) as client:
        yield client


@pytest.fixture(scope="module")
def vectors(llm):
    return np.array([output.outputs.array for output in llm.embed(TEXTS, use_tqdm=False)])


def ask(client, path="/v2/embed", **body):
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_answer_has_all_that_the_client_reads(client, vectors):
    answer = ask(client, model="all-MiniLM-L6-v2", texts=TEXTS)
    assert np.abs(np.array(answer["embeddings"]["float"], np.float32) - vectors).max() <= 1e-6
    tokens = sum(len(ids) for ids in client.service.tokenizer.encode(TEXTS))
    assert answer["meta"] == {
        "api_version": {"version": "2"},
        "billed_units": {"input_tokens": tokens, "image_tokens": 0},
    }
    assert answer["texts"] == TEXTS
    assert answer["response_type"] == "embeddings_by_type"
    assert set(answer["embeddings"]) == {"float"}


def test_every_type_is_made_of_the_same_vector(client, vectors):
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    found = ask(client, texts=TEXTS, embedding_types=types, truncate=None)["embeddings"]
    assert list(found) == types
    decoded = [np.frombuffer(base64.b64decode(text), "<f4") for text in found["base64"]]
    np.testing.assert_allclose(decoded, vectors, atol=1e-6)
    int8, uint8 = np.array(found["int8"]), np.array(found["uint8"])
    np.testing.assert_array_equal(int8 + 128, uint8)
    assert np.abs(int8 / (127 * np.sqrt(384) / 4) - vectors).max() <= 0.5 / (127 * np.sqrt(384) / 4) + 1e-6
    unpacked = np.unpackbits(np.array(found["ubinary"], np.uint8), axis=-1)
    np.testing.assert_array_equal(unpacked, vectors >= 0)
    np.testing.assert_array_equal(np.array(found["binary"]) + 128, found["ubinary"])


@pytest.mark.parametrize(
    ("values", "ubinary", "binary"), [([1, -1] * 4, 170, 42), ([1] * 8, 255, 127), ([-1] * 8, 0, -128), ([0] * 8, 255, 127)]
)
def test_bits_are_cohere_s(values, ubinary, binary):
    made = cohere_embeddings([np.array(values, np.float32)], ["ubinary", "binary"])
    assert (made["ubinary"][0, 0], made["binary"][0, 0]) == (ubinary, binary)


def test_integers_keep_the_order_of_similarities():
    rng = np.random.RandomState(0)
    vectors = rng.randn(50, 384).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    integers = to_int8(vectors).astype(np.float32)
    integers /= np.linalg.norm(integers, axis=1, keepdims=True)
    assert np.abs(integers @ integers.T - vectors @ vectors.T).max() < 0.005
    # What a model gives that does not normalize, and a text of which nothing is pooled.
    np.testing.assert_array_equal(to_int8(7 * vectors), to_int8(vectors))
    assert not to_int8(np.zeros((1, 8), np.float32)).any()


def test_version_1_gives_a_plain_list_unless_types_are_named(client, vectors):
    plain = ask(client, "/v1/embed", texts=TEXTS)
    assert plain["response_type"] == "embeddings_floats"
    assert np.abs(np.array(plain["embeddings"], np.float32) - vectors).max() <= 1e-6
    typed = ask(client, "/v1/embed", texts=TEXTS, embedding_types=["float"])
    assert typed["response_type"] == "embeddings_by_type"
    assert typed["meta"]["api_version"] == {"version": "1"}


def test_an_input_type_puts_the_models_prompt_before_each_text(arctic, llm):
    answer = ask(arctic, texts=TEXTS, input_type="query")
    expected = llm.embed([ARCTIC["query"] + text for text in TEXTS], use_tqdm=False)
    vectors = np.array([output.outputs.array for output in expected])
    np.testing.assert_allclose(np.array(answer["embeddings"]["float"], np.float32), vectors, atol=1e-6)
    refused = arctic.post("/v2/embed", json={"texts": TEXTS, "input_type": "passage"})
    assert refused.json()["message"] == "Unsupported input_type 'passage'. Supported values: query"


def test_task_instructions_come_before_prompts(checkpoint):
    def instruct(spec):
        spec["files"]["config.json"]["task_instructions"] = {"retrieval": "w9 w10 "}

    with served(LLM(str(checkpoint("pipeline-pooling-mean", instruct)))) as client:
        one = ask(client, texts=["w11"], input_type="retrieval")
        other = ask(client, texts=["w9 w10 w11"])
        assert one["embeddings"] == other["embeddings"]


@pytest.mark.parametrize("input_type", ["search_query", "search_document", "classification", "clustering"])
@pytest.mark.parametrize("path", ["/v2/embed", "/v1/embed"])
def test_a_model_without_prompts_takes_cohere_s_own_input_types_unless_it_is_strict(client, strict, path, input_type):
    refused = strict.post(path, json={"texts": TEXTS, "input_type": input_type})
    assert refused.status_code == 400
    message = f"Unsupported input_type '{input_type}'. This model does not define any input_type task instructions."
    assert refused.json()["message"].startswith(message)
    assert "without --cohere-input-type strict" in refused.json()["message"]
    taken = ask(client, path, texts=TEXTS, input_type=input_type)
    assert f"no prompt for input_type '{input_type}'" in taken["meta"]["warnings"][0]
    assert taken["embeddings"] == ask(strict, path, texts=TEXTS)["embeddings"]
    for one in (client, strict):
        answer = one.post(path, json={"texts": TEXTS, "input_type": "nonsense"})
        assert answer.status_code == 400
        assert "nonsense" in answer.json()["error"]["message"]


def test_lenient_finds_the_models_own_name_for_a_cohere_type(checkpoint):
    with served(LLM(str(checkpoint("pipeline-pooling-prompt")))) as client:
        one = ask(client, texts=["w11"], input_type="search_query")
        assert one["embeddings"] == ask(client, texts=["w11"], input_type="query")["embeddings"]
        assert one["embeddings"] != ask(client, texts=["w11"])["embeddings"]
        assert "warnings" not in one["meta"]


def test_truncation_takes_from_either_end_or_is_refused(client):
    def tokens(answer):
        return answer["meta"]["billed_units"]["input_tokens"]

    long = "word " * 400
    assert tokens(ask(client, texts=[long])) == 256
    assert tokens(ask(client, texts=[long], max_tokens=10)) == 10
    end, start = ask(client, texts=["a b c d"], max_tokens=4), ask(client, texts=["a b c d"], max_tokens=4, truncate="START")
    assert end["embeddings"] == ask(client, texts=["a b"])["embeddings"]
    assert start["embeddings"] == ask(client, texts=["c d"])["embeddings"]
    refused = client.post("/v2/embed", json={"texts": [long], "truncate": "NONE"})
    assert "maximum context length" in refused.json()["message"]
    refused = client.post("/v2/embed", json={"texts": ["a b c d"], "truncate": "NONE", "max_tokens": 4})
    assert refused.json()["message"] == (
        "Input of 6 tokens exceeds max_tokens=4 with truncate=NONE. Set truncate to END or START to allow truncation."
    )


def test_inputs_of_text_parts_go_through_the_chat_template_if_there_is_one(client, llm):
    inputs = [{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
    assert ask(client, inputs=inputs)["embeddings"] == ask(client, texts=["a\nb"])["embeddings"]
    with served(llm, chat_template=CHATML) as chatting:
        assert ask(chatting, inputs=inputs)["embeddings"] == ask(client, texts=["<user>a\nb"])["embeddings"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Exactly one of texts, images, or inputs must be provided, and it must be non-empty"),
        ({"texts": []}, "Exactly one of texts, images, or inputs must be provided, and it must be non-empty"),
        ({"texts": ["a"], "images": ["data:"]}, "Exactly one of texts, images, or inputs must be provided"),
        ({"images": ["data:image/png;base64,AAAA"]}, "takes text only"),
        ({"inputs": [{"content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}, "takes text only"),
        ({"inputs": [{"content": [{"type": "text"}]}]}, "CohereEmbedContent with type='text' requires text"),
        ({"inputs": [{"content": [{"type": "image_url"}]}]}, "with type='image_url' requires image_url.url"),
        ({"texts": [3]}, "string_type"),
        ({"texts": ["a"], "embedding_types": ["int4"]}, "literal_error"),
        ({"texts": ["a"], "embedding_types": []}, "too_short"),
        ({"texts": ["a"], "truncate": "MIDDLE"}, "literal_error"),
        ({"texts": ["a"], "max_tokens": 0}, "greater_than_equal"),
        ({"texts": ["a"], "max_tokens": 1}, "no room for the 2 special tokens"),
        ({"texts": ["a"], "output_dimension": 32}, "does not support matryoshka representation"),
        ({"texts": ["a"] * 2049}, "texts list length 2049 exceeds"),
    ],
)
def test_errors_are_read_by_cohere_s_clients_and_by_vllm_s(client, body, message):
    answer = client.post("/v2/embed", json=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["message", "error"]
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert message in answer.json()["message"] == answer.json()["error"]["message"]


def test_an_odd_width_has_no_bits(checkpoint):
    with served(LLM(str(checkpoint("pipeline-pooling-mean")), hf_overrides={"is_matryoshka": True})) as client:
        answer = client.post("/v2/embed", json={"texts": ["w9"], "output_dimension": 12, "embedding_types": ["binary"]})
        message = "Embedding dimension must be a multiple of 8 for binary embedding types, but got 12."
        assert (answer.status_code, answer.json()["message"]) == (400, message)
