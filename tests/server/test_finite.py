"""A text whose numbers are not finite is an error of its own, on every route and in every encoding; others are served."""

import json
from pathlib import Path

import numpy as np
import pytest
from poison import poison, rows
from reference import tiny
from served import served

from jaxembed import LLM
from jaxembed.errors import CheckpointError
from jaxembed.server.service import Service
from jaxembed.server.settings import Settings

GOLDENS = Path(__file__).parents[1] / "goldens"
GOOD, BAD = "w7 w8", "w9 w20"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    spec = json.loads((GOLDENS / "backbone-bert.json").read_text())["spec"]
    folder = tiny.write(spec, tmp_path_factory.mktemp("spoiled") / "bert")
    with served(
        LLM(str(poison(folder, rows({0: np.nan, 20: np.nan}))), served_model_name="m"), cohere_input_type="lenient"
    ) as client:
        yield client


ROUTES = {
    "/v1/embeddings": ({"input": [GOOD, BAD]}, "input[1]"),
    "/pooling": ({"input": [GOOD, BAD], "task": "embed"}, "input[1]"),
    "/v2/embed": ({"texts": [GOOD, BAD], "input_type": "search_query", "model": "m"}, "texts[1]"),
    "/v1/embed": ({"texts": [GOOD, BAD], "model": "m"}, "texts[1]"),
    "/embed": ({"inputs": [GOOD, BAD]}, "inputs[1]"),
    "/embed_all": ({"inputs": [GOOD, BAD]}, "inputs[1]"),
    "/invocations": ({"inputs": [GOOD, BAD]}, "inputs[1]"),
    "/similarity": ({"inputs": {"source_sentence": GOOD, "sentences": [GOOD, BAD]}}, "inputs[2]"),
    "/score": ({"text_1": GOOD, "text_2": [GOOD, BAD]}, "text_2[1]"),
    "/rerank": ({"query": GOOD, "documents": [GOOD, BAD]}, "documents[1]"),
    "/v2/rerank": ({"query": BAD, "documents": [GOOD, GOOD], "model": "m"}, "query[0]"),
}


def changed(value):
    """The same body with a text in place of the broken one."""
    if isinstance(value, dict):
        return {key: changed(each) for key, each in value.items()}
    return [changed(each) for each in value] if isinstance(value, list) else GOOD if value == BAD else value


@pytest.mark.parametrize("path", ROUTES)
def test_each_route_names_the_text_and_serves_the_others(client, path):
    body, name = ROUTES[path]
    before = client.service.nonfinite_texts
    answer = client.post(path, json=body)
    assert answer.status_code == 500, answer.text
    assert name in answer.text
    assert "not finite" in answer.text
    assert client.service.nonfinite_texts == before + 1
    assert client.post(path, json=changed(body)).status_code == 200


@pytest.mark.parametrize("encoding", ["float", "base64", "bytes", "bytes_only"])
def test_each_encoding_of_a_vector_is_the_same_error(client, encoding):
    answer = client.post("/v1/embeddings", json={"input": BAD, "encoding_format": encoding})
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "InternalServerError"
    assert answer.json()["error"]["param"] == "input"


@pytest.mark.parametrize("kind", ["float", "int8", "uint8", "binary", "ubinary", "base64"])
def test_each_type_of_coheres_is_the_same_error(client, kind):
    answer = client.post("/v1/embed", json={"texts": [BAD], "embedding_types": [kind], "model": "m"})
    assert answer.status_code == 500
    assert "texts[0]" in answer.json()["message"]


def test_they_are_counted_where_prometheus_looks(client):
    client.post("/v1/embeddings", json={"input": [BAD, GOOD, BAD]})
    counted = f"jaxembed_nonfinite_total {float(client.service.nonfinite_texts)}"
    assert client.service.nonfinite_texts >= 2
    assert counted in client.get("/metrics").text


def test_a_model_whose_probe_is_not_finite_is_not_served(checkpoint):
    def change(name, value):
        if "layer.1.output.dense.weight" in name:
            value[0, 0] = np.nan

    service = Service(LLM(str(poison(checkpoint("backbone-bert"), change))), Settings())
    with pytest.raises(CheckpointError, match="NaN or infinite values; nothing is served"):
        service.check_probe()


def test_a_model_that_is_well_passes(llm):
    Service(llm, Settings()).check_probe()
