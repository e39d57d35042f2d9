"""`/v1/embeddings` and `/pooling`: OpenAI's and vLLM's words over the real model, equal to the offline API."""

import base64
import json

import ml_dtypes
import numpy as np
import pytest
from served import served

from jaxembed import LLM, PoolingParams

TEXTS = ["The weather is lovely today.", "", "He drove to the stadium.", "naïve \x00 日本 🙂"]
CHATML = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<go>{% endif %}"


@pytest.fixture(scope="module")
def client(llm):
    with served(llm, chat_template=CHATML) as client:
        yield client


@pytest.fixture(scope="module")
def vectors(llm):
    # Until a row's own program is compiled a larger one runs it, whose sums may differ in the last bit.
    llm.warm_up()
    return np.array([output.outputs.array for output in llm.embed(TEXTS, use_tqdm=False)])


@pytest.fixture(scope="module")
def matryoshka():
    with served(LLM(hf_overrides={"matryoshka_dimensions": [32, 64]}, served_model_name="m")) as client:
        yield client


def ask(client, **body):
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def floats(answer) -> np.ndarray:
    assert [item["index"] for item in answer["data"]] == list(range(len(answer["data"])))
    return np.array([item["embedding"] for item in answer["data"]], np.float32)


def test_the_vectors_are_those_of_the_library_to_the_last_digit_that_matters(client, vectors):
    answer = ask(client, input=TEXTS, model="all-MiniLM-L6-v2", user="u", unknown_field=1)
    assert np.abs(floats(answer) - vectors).max() <= 1e-6
    assert set(answer) == {"id", "object", "created", "model", "data", "usage"}
    assert answer["id"].startswith("embd-")
    assert (answer["object"], answer["model"]) == ("list", "all-MiniLM-L6-v2")
    assert {item["object"] for item in answer["data"]} == {"embedding"}
    tokens = answer["usage"]["prompt_tokens"]
    assert answer["usage"] == {
        "prompt_tokens": tokens,
        "total_tokens": tokens,
        "completion_tokens": 0,
        "prompt_tokens_details": None,
    }
    assert tokens == sum(len(output.prompt_token_ids) for output in client.service.llm.embed(TEXTS, use_tqdm=False))


def test_all_shapes_of_input_say_the_same(client, vectors):
    tokenizer = client.service.tokenizer
    ids = [one.tolist() for one in tokenizer.encode(TEXTS)]
    assert np.abs(floats(ask(client, input=TEXTS[0])) - vectors[:1]).max() <= 1e-6
    assert np.abs(floats(ask(client, input=ids[0])) - vectors[:1]).max() <= 1e-6
    assert np.abs(floats(ask(client, input=ids)) - vectors).max() <= 1e-6
    assert np.abs(floats(ask(client, input=[TEXTS[0], ids[2]])) - vectors[[0, 2]]).max() <= 1e-6


@pytest.mark.parametrize("endianness", ["native", "little", "big"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "fp8_e4m3", "fp8_e5m2"])
@pytest.mark.parametrize("encoding", ["base64", "bytes", "bytes_only"])
def test_every_encoding_holds_the_same_numbers(client, vectors, encoding, dtype, endianness):
    body = {"input": TEXTS, "encoding_format": encoding, "embed_dtype": dtype, "endianness": endianness}
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200
    if encoding == "base64":
        raw = b"".join(base64.b64decode(item["embedding"]) for item in answer.json()["data"])
    else:
        raw = answer.content
        assert answer.headers["content-type"] == "application/octet-stream"
    kind = {
        "float32": np.dtype(np.float32),
        "float16": np.dtype(np.float16),
        "bfloat16": np.dtype(ml_dtypes.bfloat16),
        "fp8_e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
        "fp8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    }[dtype]
    if endianness == "big" and kind.itemsize > 1:
        raw = np.frombuffer(raw, f"V{kind.itemsize}").view(f"u{kind.itemsize}").byteswap().tobytes()
    got = np.frombuffer(raw, kind).reshape(vectors.shape)
    np.testing.assert_array_equal(got, np.array(vectors, np.float32).astype(kind))
    assert ("metadata" in answer.headers) == (encoding == "bytes")
    if encoding == "bytes":
        metadata = json.loads(answer.headers["metadata"])
        size = vectors.shape[1] * kind.itemsize
        places = [(item["start"], item["end"], item["shape"]) for item in metadata["data"]]
        assert places == [(i * size, (i + 1) * size, [384]) for i in range(len(TEXTS))]
        assert {(item["embed_dtype"], item["endianness"]) for item in metadata["data"]} == {(dtype, endianness)}
        assert metadata["usage"]["prompt_tokens"] > 0


def test_truncation_is_asked_for_or_it_is_an_error(client):
    long = "word " * 400
    answer = client.post("/v1/embeddings", json={"input": long})
    assert answer.status_code == 400
    assert "maximum context length is 256 tokens" in answer.json()["message"]
    assert "Please reduce the length of the input" in answer.json()["message"]
    assert ask(client, input=long, truncate_prompt_tokens=-1)["usage"]["prompt_tokens"] == 256
    assert ask(client, input=long, truncate_prompt_tokens=10)["usage"]["prompt_tokens"] == 10
    right = ask(client, input="a b c d e f", truncate_prompt_tokens=4, truncation_side="right", encoding_format="base64")
    left = ask(client, input="a b c d e f", truncate_prompt_tokens=4, truncation_side="left", encoding_format="base64")
    assert right["data"] == ask(client, input="a b", encoding_format="base64")["data"]
    assert left["data"] == ask(client, input="e f", encoding_format="base64")["data"]
    too_long = client.post("/v1/embeddings", json={"input": "a", "truncate_prompt_tokens": 257})
    assert (too_long.status_code, "cannot be greater than max_model_len" in too_long.text) == (400, True)


def test_a_book_is_refused_or_cut_before_it_is_tokenized(client, monkeypatch):
    book = "word " * 200_000
    sizes = []
    encode = client.service.tokenizer.encode

    def watched(texts, **options):
        sizes.append(sum(map(len, texts)))
        return encode(texts, **options)

    monkeypatch.setattr(client.service.tokenizer, "encode", watched)
    answer = client.post("/v1/embeddings", json={"input": book})
    assert (answer.status_code, "contains 1000000 characters" in answer.json()["message"]) == (400, True)
    assert not sizes
    for side in ("left", "right"):
        cut = ask(client, input=book, truncate_prompt_tokens=-1, truncation_side=side)
        assert cut["usage"]["prompt_tokens"] == 256
    assert ask(client, input=["word " * 300] * 1000, truncate_prompt_tokens=8)["usage"]["prompt_tokens"] == 8000
    assert max(sizes) <= 1 << 20


def test_special_tokens_and_length_are_the_callers_choice(client, llm):
    assert ask(client, input="hello", add_special_tokens=False)["usage"]["prompt_tokens"] == 1
    raw = floats(ask(client, input="hello", use_activation=False))[0]
    (expected,) = llm.embed("hello", use_tqdm=False, pooling_params=PoolingParams(use_activation=False))
    np.testing.assert_allclose(raw, expected.outputs.array, atol=1e-6)
    assert abs(np.linalg.norm(raw) - 1) > 0.1


def test_dimensions_need_a_matryoshka_model(client, matryoshka, vectors):
    """The message is that of vLLM's documentation, character by character."""
    name = client.service.names[0]
    answer = client.post("/v1/embeddings", json={"input": "a", "dimensions": 3})
    flat = {
        "message": f'Model "{name}" does not support matryoshka representation, '
        "changing output dimensions will lead to poor results.",
        "type": "BadRequestError",
        "param": "dimensions",
        "code": 400,
    }
    assert answer.status_code == 400
    assert answer.json() == {"object": "error", **flat, "error": flat}
    assert floats(ask(client, input="a", dimensions=384)).shape == (1, 384)  # the full width changes nothing
    short = floats(ask(matryoshka, input=TEXTS, dimensions=64))
    cut = vectors[:, :64] / np.linalg.norm(vectors[:, :64], axis=1, keepdims=True)
    np.testing.assert_allclose(short, cut, atol=1e-6)
    wrong = matryoshka.post("/v1/embeddings", json={"input": "a", "dimensions": 33})
    assert wrong.json()["message"].startswith('Model "m" only supports [32, 64] matryoshka dimensions')


def test_messages_go_through_the_chat_template(client, llm):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    one = ask(client, messages=messages, model=client.service.names[0], encoding_format="float")
    expected = llm.embed(
        "<system>Be brief.<user>Hi", use_tqdm=False, tokenization_kwargs={"add_special_tokens": False}
    )[0].outputs.array  # fmt: skip
    np.testing.assert_allclose(floats(one)[0], expected, atol=1e-6)
    in_input = ask(client, input=messages)
    np.testing.assert_array_equal(floats(in_input), floats(one))
    two = ask(client, messages=[messages, messages])
    assert floats(two).shape == (2, 384)
    assert two["usage"]["prompt_tokens"] == 2 * one["usage"]["prompt_tokens"]
    more = ask(client, messages=messages, add_generation_prompt=True)
    assert more["usage"]["prompt_tokens"] > one["usage"]["prompt_tokens"]
    assert ask(client, messages=messages, add_special_tokens=True)["usage"]["prompt_tokens"] == (
        one["usage"]["prompt_tokens"] + 2
    )


def test_an_instruction_inside_a_text_is_left_out_as_the_library_leaves_it_out(checkpoint):
    llm = LLM(str(checkpoint("backbone-gritlm")))
    text = "<|user|>\nfind\n<|embed|>\ntext"
    (expected,) = llm.embed(text, use_tqdm=False)
    ids = llm.engine.model.tokenizer.encode([text])[0].tolist()
    (whole,) = llm.embed([ids], use_tqdm=False)
    assert np.abs(np.subtract(whole.outputs.embedding, expected.outputs.embedding)).max() > 1e-3
    with served(llm) as client:
        for given, wanted in ((text, expected), (ids, whole)):
            np.testing.assert_allclose(floats(ask(client, input=given))[0], wanted.outputs.embedding, atol=1e-6)


def test_a_prompt_is_taken_by_name(checkpoint):
    with served(LLM(str(checkpoint("pipeline-pooling-without-prompt")))) as client:
        llm, prompt = client.service.llm, client.service.recipe.prompts["query"]
        expected = next(iter(llm.stream("w8 w9", prefix=prompt)))[0]
        np.testing.assert_allclose(floats(ask(client, input="w8 w9", prompt_name="query"))[0], expected, atol=1e-6)
        wrong = client.post("/v1/embeddings", json={"input": "w8", "prompt_name": "passage"})
        assert "no prompt named 'passage'; it has document, query" in wrong.json()["message"]


BAD = [
    ({}, 400, "'type': 'missing'", "body.input"),
    ({"input": []}, 400, "You must pass at least one prompt", "input"),
    ({"input": [[]]}, 400, "cannot be empty", "input"),
    ({"input": None}, 400, "Field required", "body.input"),
    ({"input": 3}, 400, "a prompt must be", "input"),
    ({"input": ["a", 3]}, 400, "a prompt must be", "input"),
    ({"input": [True]}, 400, "a prompt must be", "input"),
    ({"input": [1.5]}, 400, "a prompt must be", "input"),
    ({"input": [30522]}, 400, "Token id 30522 is out of vocabulary", "input"),
    ({"input": [-1]}, 400, "Token id -1 is out of vocabulary", "input"),
    ({"input": [2**63]}, 400, "", None),
    ({"input": [2**70]}, 400, "", "input"),
    ({"input": "word " * 400}, 400, "maximum context length is 256 tokens", "input"),
    ({"input": "a", "model": "x"}, 404, "The model `x` does not exist.", "model"),
    ({"input": "a", "encoding_format": "hex"}, 400, "'type': 'literal_error'", "body.encoding_format"),
    ({"input": "a", "embed_dtype": "int4"}, 400, "literal_error", "body.embed_dtype"),
    ({"input": "a", "endianness": "middle"}, 400, "literal_error", "body.endianness"),
    ({"input": "a", "truncation_side": "up"}, 400, "literal_error", "body.truncation_side"),
    ({"input": "a", "truncate_prompt_tokens": -2}, 400, "greater_than_equal", "body.truncate_prompt_tokens"),
    ({"input": "a", "truncate_prompt_tokens": 0}, 400, "leaves nothing to embed", "truncate_prompt_tokens"),
    ({"input": "a", "truncate_prompt_tokens": 1}, 400, "no room for the 2 special tokens", "truncate_prompt_tokens"),
    ({"input": "a", "dimensions": "x"}, 400, "int_type", "body.dimensions"),
    ({"input": "a", "dimensions": True}, 400, "int_type", "body.dimensions"),
    ({"input": "a", "prompt_name": "query"}, 400, "no prompt named 'query'", "prompt_name"),
    ({"input": "a", "normalize": True}, 400, "Parameter `normalize` was removed; use `use_activation` instead.", "normalize"),
    ({"input": "a", "cache_salt": ""}, 400, "string_too_short", "body.cache_salt"),
    ({"input": "a", "priority": 2**64}, 400, "", "body.priority"),
    ({"input": ["a"] * 2049}, 400, "input list length 2049 exceeds the limit of 2048", "input"),
    ({"input": "a", "messages": [{"role": "user", "content": "a"}]}, 400, "not both", "messages"),
    ({"messages": []}, 400, "'messages' must be a list of messages", "messages"),
    ({"messages": [{"content": "a"}]}, 400, "'messages' must be", "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "takes text only", "messages"),
    ({"input": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "takes text only", "input"),
    ({"messages": [{"role": "user", "content": "word " * 400}]}, 400, "maximum context length", "messages"),
    (
        {"messages": [{"role": "u", "content": "a"}], "chat_template": "{{ 1 }}"},
        400,
        "--trust-request-chat-template is not set",
        "chat_template",
    ),
    (
        {"messages": [{"role": "u", "content": "a"}], "add_generation_prompt": True, "continue_final_message": True},
        400,
        "Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
        "continue_final_message",
    ),
]


@pytest.mark.parametrize(("body", "status", "message", "field"), BAD, ids=range(len(BAD)))
def test_a_bad_request_is_told_why_in_a_shape_that_old_and_new_clients_read(client, body, status, message, field):
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == status, answer.text
    found = answer.json()
    assert message in found["message"]
    assert found["param"] == field
    assert found["object"] == "error"
    assert {key: found[key] for key in ("message", "type", "param", "code")} == found["error"]
    assert found["code"] == status
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("kind", ["embed", "token_embed"])
def test_pooling_gives_what_encode_gives(client, llm, kind):
    answer = client.post("/pooling", json={"input": TEXTS, "task": kind})
    assert answer.status_code == 200, answer.text
    outputs = llm.encode(TEXTS, pooling_task=kind, use_tqdm=False)
    for item, output in zip(answer.json()["data"], outputs, strict=True):
        assert item["object"] == "pooling"
        np.testing.assert_allclose(np.array(item["data"], np.float32), output.outputs.data, atol=1e-6)
    raw = client.post("/pooling", json={"input": TEXTS, "task": kind, "encoding_format": "bytes"})
    shapes = [item["shape"] for item in json.loads(raw.headers["metadata"])["data"]]
    assert shapes == [list(output.outputs.data.shape) for output in outputs]


@pytest.mark.parametrize(
    ("body", "message", "field"),
    [
        ({"input": "a", "task": "classify"}, "Unsupported task: 'classify'", "task"),
        ({"input": "a", "task": "plugin"}, "Unsupported task: 'plugin'", "task"),
        ({"input": "a", "dimensions": 32}, "dimensions is currently not supported", "dimensions"),
        ({"data": {}, "task": "plugin"}, "No IOProcessor plugin installed.", "data"),
    ],
)
def test_pooling_refuses_what_it_has_not(client, body, message, field):
    answer = client.post("/pooling", json=body)
    found = answer.json()
    assert (answer.status_code, message in found["message"], found["param"]) == (400, True, field)


@pytest.mark.parametrize("agent", ["OpenAI/Python 3.54.0", "AsyncOpenAI/Python 2.1.0", "langchain/1.0", "my-LangChain"])
@pytest.mark.parametrize(("path", "field"), [("/v1/embeddings", "input"), ("/pooling", "input"), ("/embed", "inputs")])
def test_token_ids_of_another_tokenizer_are_refused_unless_they_are_meant(llm, agent, path, field):
    headers = {"user-agent": agent}
    with served(llm) as client:
        for ids in ([[101, 102]], [101, 102], ["a text", [101, 102]]):
            answer = client.post(path, json={field: ids}, headers=headers)
            assert answer.status_code in (400, 422)
            assert "check_embedding_ctx_length=False" in answer.text
            assert "--token-ids" in answer.text
        assert client.post(path, json={field: ["a text"]}, headers=headers).status_code == 200
        assert client.post(path, json={field: [[101, 102]]}, headers={"user-agent": "curl/8.0"}).status_code == 200
    with served(llm, token_ids=True) as client:
        assert client.post(path, json={field: [[101, 102]]}, headers=headers).status_code == 200
    with served(llm, token_ids=False) as client:
        answer = client.post(path, json={field: [[101, 102]]})
        assert (answer.status_code in (400, 422), "takes texts only" in answer.text) == (True, True)
        assert client.post(path, json={field: "a"}).status_code == 200


def test_a_model_that_is_not_there_is_answered_with_those_that_are(llm):
    with served(llm, served_model_names=("one", "org/two")) as client:
        for path, body in (("/v1/embeddings", {"input": "a"}), ("/v2/embed", {"texts": ["a"]})):
            answer = client.post(path, json={**body, "model": "text-embedding-3-small"})
            message = answer.json()["error"]["message"]
            assert answer.status_code == 404
            assert message == answer.json()["message"]
            for known in ("`text-embedding-3-small` does not exist", "`one`", "`org/two`", "--served-model-name"):
                assert known in message
