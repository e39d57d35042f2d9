"""infinity's forms under `/infinity`."""

import time

import pytest
from served import served


@pytest.fixture(scope="module")
def client(llm):
    with served(llm, served_model_names=("one", "two")) as client:
        yield client


def test_models_are_what_its_client_parses(client):
    for path in ("/infinity/models", "/models"):
        cards = client.get(path).json()["data"]
        assert [card["id"] for card in cards] == ["one", "two"]
        assert all(card["owned_by"] == "infinity" and card["stats"] == {} and card["object"] == "model" for card in cards)
    assert client.get("/v1/models").json()["data"][0]["owned_by"] == "jaxembed"


def test_health_has_a_body(client):
    assert abs(client.get("/infinity/health").json()["unix"] - time.time()) < 60


def test_health_needs_no_key_and_says_what_is_wrong(llm):
    with served(llm, api_keys=("k",)) as client:
        assert client.get("/infinity/health").status_code == 200
        assert client.get("/infinity/models").status_code == 401


def test_documents_are_strings_and_there_only_if_asked_for(client):
    body = {"query": "rabbit", "documents": ["stadium", "small mammal"]}
    plain = client.post("/rerank", json=body).json()["results"]
    ranked = client.post("/infinity/rerank", json={**body, "return_documents": True}).json()
    assert [result["document"] for result in ranked["results"]] == ["small mammal", "stadium"]
    assert [result["relevance_score"] for result in ranked["results"]] == [result["relevance_score"] for result in plain]
    for asked in ({}, {"return_documents": False}, {"return_documents": None}):
        found = client.post("/infinity/rerank", json={**body, **asked}).json()["results"]
        assert all("document" not in result for result in found)


def test_embeddings_are_openai_s(client):
    body = {"input": ["a", "b"], "model": "one"}
    assert (
        client.post("/infinity/embeddings", json=body).json()["data"] == client.post("/v1/embeddings", json=body).json()["data"]
    )
