"""Texts over the model's length: what each API does by default, with `--truncate`, and where its clients say so themselves."""

import pytest
from served import served

LONG = "word " * 400
TEXTS = ["a", "b", LONG, "c"]
# Of each API whose users expect an error: the body of several texts, and what its error must say besides the text.
ERRORS = [
    ("/v1/embeddings", {"input": TEXTS}, "input[2]: ", "truncate_prompt_tokens: -1"),
    ("/pooling", {"input": TEXTS}, "input[2]: ", "truncate_prompt_tokens: -1"),
    ("/embed", {"inputs": TEXTS}, "inputs[2]: ", "truncate: true"),
    ("/embed_all", {"inputs": TEXTS}, "inputs[2]: ", "truncate: true"),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": TEXTS}}, "inputs.sentences[2]: ", "parameters.truncate"),
    ("/rerank", {"query": "a", "documents": TEXTS}, "documents[2]: ", "truncate_prompt_tokens: -1"),
    ("/rerank", {"query": "a", "texts": TEXTS}, "texts[2]: ", "truncate: true"),
    ("/score", {"text_1": "a", "text_2": TEXTS}, "text_2[2]: ", "truncate_prompt_tokens: -1"),
    ("/score", {"queries": TEXTS, "documents": ["a"] * 4}, "queries[2]: ", "truncate_prompt_tokens: -1"),
]


@pytest.fixture(scope="module")
def client(llm):
    with served(llm) as client:
        yield client


@pytest.fixture(scope="module")
def cutting(llm):
    with served(llm, truncate=True) as client:
        yield client


@pytest.mark.parametrize(("path", "body", "place", "way_out"), ERRORS)
def test_an_error_names_the_text_and_the_way_out_and_the_flag_cuts(client, cutting, path, body, place, way_out):
    refused = client.post(path, json=body)
    assert refused.status_code in (400, 422)
    answer = refused.json()
    message = answer["error"]["message"] if isinstance(answer["error"], dict) else answer["error"]
    assert message.startswith(f"{place}This model's maximum context length is 256 tokens.")
    assert way_out in message
    assert "--truncate" in message
    before = cutting.service.truncated_texts
    assert cutting.post(path, json=body).status_code == 200
    assert cutting.service.truncated_texts == before + 1


def test_a_lone_text_has_no_number(client):
    for path, body in (("/v1/embeddings", {"input": LONG}), ("/v1/embeddings", {"input": [LONG]})):
        assert client.post(path, json=body).json()["message"].startswith("This model's maximum context length is 256 tokens.")


def test_text_embeddings_inference_s_clients_can_say_otherwise(cutting):
    for body in ({"inputs": TEXTS, "truncate": False}, {"inputs": LONG, "truncate": False}):
        assert cutting.post("/embed", json=body).status_code == 422
    assert cutting.post("/rerank", json={"query": "a", "texts": TEXTS, "truncate": False}).status_code == 400
    assert cutting.post("/embed", json={"inputs": TEXTS, "truncate": None}).status_code == 200


def test_what_is_cut_by_the_flag_is_what_is_cut_by_request(client, cutting):
    asked = {"encoding_format": "base64"}
    by_flag = cutting.post("/v1/embeddings", json={"input": LONG, **asked}).json()
    by_request = client.post("/v1/embeddings", json={"input": LONG, "truncate_prompt_tokens": -1, **asked}).json()
    assert by_flag["data"] == by_request["data"]
    assert by_flag["usage"]["prompt_tokens"] == 256
    shorter = cutting.post("/v1/embeddings", json={"input": LONG, "truncate_prompt_tokens": 9}).json()
    assert shorter["usage"]["prompt_tokens"] == 9


def test_cohere_s_routes_cut_by_default_and_name_the_text_where_they_must_not(client):
    for path in ("/v2/embed", "/v1/embed"):
        assert client.post(path, json={"texts": TEXTS}).status_code == 200
        refused = client.post(path, json={"texts": TEXTS, "truncate": "NONE"})
        assert refused.status_code == 400
        assert refused.json()["message"].startswith("texts[2]: This model's maximum context length")
        assert "truncate: END or START" in refused.json()["message"]
        refused = client.post(path, json={"texts": ["a", "a b c"], "truncate": "NONE", "max_tokens": 4})
        assert refused.json()["message"].startswith("texts[1]: Input of 5 tokens exceeds max_tokens=4")
    ranked = client.post("/v2/rerank", json={"query": LONG, "documents": TEXTS})
    assert (ranked.status_code, len(ranked.json()["results"])) == (200, 4)


def test_cohere_s_none_is_not_overruled_by_the_flag(cutting):
    assert cutting.post("/v2/embed", json={"texts": TEXTS, "truncate": "NONE"}).status_code == 400


def test_info_and_metrics_say_it_and_the_log_says_it_once(llm, caplog):
    with served(llm, truncate=True) as client:
        assert client.get("/info").json()["auto_truncate"] is True
        for _ in range(3):
            client.post("/v1/embeddings", json={"input": TEXTS})
        assert "jaxembed_truncated_texts_total 3.0" in client.get("/metrics").text
        assert len([one for one in caplog.records if "--truncate" in one.getMessage()]) == 1
    with served(llm) as client:
        assert client.get("/info").json()["auto_truncate"] is False


def test_a_book_is_named_too_without_being_tokenized(client):
    answer = client.post("/v1/embeddings", json={"input": ["a", "word " * 100_000]})
    assert answer.json()["message"].startswith("input[1]: This model's maximum context length is 256 tokens.")
    assert "characters" in answer.json()["message"]
