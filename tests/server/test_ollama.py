"""`/api/embed` and `/api/embeddings` in Ollama's words."""

import numpy as np
import pytest
from served import served

TEXTS = ["The weather is lovely today.", "He drove to the stadium."]
LONG = "word " * 400


@pytest.fixture(scope="module")
def client(llm):
    with served(llm, served_model_names=("all-MiniLM-L6-v2",)) as client:
        yield client


@pytest.fixture(scope="module")
def vectors(llm):
    return np.array([output.outputs.array for output in llm.embed(TEXTS, use_tqdm=False)])


def ask(client, path="/api/embed", **body):
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_vectors_are_those_of_the_library(client, vectors):
    answer = ask(client, model="all-MiniLM-L6-v2", input=TEXTS, options={"temperature": 0}, keep_alive="5m")
    assert np.abs(np.array(answer["embeddings"], np.float32) - vectors).max() <= 1e-6
    assert answer["prompt_eval_count"] == sum(len(ids) for ids in client.service.tokenizer.encode(TEXTS))
    assert answer["total_duration"] > 0
    assert answer["model"] == "all-MiniLM-L6-v2"
    one = ask(client, input=TEXTS[0])["embeddings"]
    assert np.abs(np.array(one, np.float32) - vectors[:1]).max() <= 1e-6
    old = ask(client, "/api/embeddings", model="all-MiniLM-L6-v2", prompt=TEXTS[0])
    assert set(old) == {"embedding"}
    assert np.abs(np.array(old["embedding"], np.float32) - vectors[0]).max() <= 1e-6


def test_names_may_carry_ollama_s_tag(client):
    assert ask(client, model="all-MiniLM-L6-v2:latest", input="a")["model"] == "all-MiniLM-L6-v2:latest"
    answer = client.post("/api/embed", json={"model": "nomic-embed-text", "input": "a"})
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]
    assert "`all-MiniLM-L6-v2`" in answer.json()["error"]


def test_an_empty_input_has_no_vector_and_an_empty_text_of_several_has_one(client):
    assert ask(client, input="")["embeddings"] == []
    assert ask(client, input=[])["embeddings"] == []
    assert ask(client, "/api/embeddings", prompt="") == {"embedding": []}
    assert ask(client, "/api/embeddings", model="all-MiniLM-L6-v2") == {"embedding": []}
    assert len(ask(client, input=["", "a"])["embeddings"]) == 2


def test_texts_are_cut_unless_the_request_says_no(client):
    assert ask(client, input=["a", LONG])["prompt_eval_count"] == 256 + 3
    assert ask(client, input=LONG, options={"num_ctx": 16})["prompt_eval_count"] == 16
    assert ask(client, input=LONG, options={"num_ctx": 8192})["prompt_eval_count"] == 256
    assert len(ask(client, "/api/embeddings", prompt=LONG)["embedding"]) == 384
    refused = client.post("/api/embed", json={"input": ["a", LONG], "truncate": False})
    assert refused.status_code == 400
    assert refused.json()["error"].startswith("input[1]: This model's maximum context length is 256 tokens.")
    assert "truncate: true" in refused.json()["error"]
    assert "prompt contains 402" in client.post("/api/embeddings", json={"prompt": LONG, "truncate": False}).json()["error"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "'input' is needed"),
        ({"input": 3}, "validation error"),
        ({"input": ["a", None]}, "validation error"),
        ({"input": "a", "dimensions": 3}, "matryoshka"),
        ({"input": ["a"] * 2049}, "input list length 2049 exceeds"),
        ({"input": "a", "options": {"num_ctx": "many"}}, "options.num_ctx"),
        ({"input": "a", "options": {"num_ctx": 1}}, "no room for the 2 special tokens"),
        ({"input": "a", "options": {"num_ctx": 16}, "truncate": False}, "truncate: true"),
    ],
)
def test_errors_have_ollama_s_shape(client, body, message):
    answer = client.post("/api/embed", json=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert message in answer.json()["error"]


def test_what_clients_ask_beside(client):
    (tag,) = client.get("/api/tags").json()["models"]
    assert (tag["name"], tag["model"]) == ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2")
    assert client.get("/api/version").json()["version"]
