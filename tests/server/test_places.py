"""One bad text among many is named by its number and its field, wherever it is found out."""

import pytest
from served import served


@pytest.fixture(scope="module")
def client(llm):
    with served(llm) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/v1/embeddings", {"input": ["a", None, "b"]}, "input[1]: a prompt must be"),
        ("/v1/embeddings", {"input": ["a", "b", 3]}, "input[2]: a prompt must be"),
        ("/v1/embeddings", {"input": [[101, 102], [101, 40000]]}, "input[1]: Token id 40000"),
        ("/v1/embeddings", {"input": [[101, 102], [-4]]}, "input[1]: Token id -4"),
        ("/v1/embeddings", {"input": [[101, 102], [101], []]}, "input[2]: The prompt cannot be empty"),
        ("/v1/embeddings", {"input": ["a", {"prompt": 3}]}, "input[1]: a prompt must be"),
        ("/embed", {"inputs": ["a", ["b"]]}, "inputs[1]: a prompt must be"),
        ("/rerank", {"query": "a", "documents": ["a", "b", 3]}, "documents[2]: documents must hold texts"),
        ("/rerank", {"query": "a", "documents": ["a", {"content": []}]}, "documents[1]: "),
        ("/score", {"text_1": ["a", None], "text_2": ["a", "b"]}, "text_1[1]: text_1 must hold texts"),
        ("/score", {"queries": "a", "documents": ["b", {"content": [{"type": "image_url"}]}]}, "documents[1]: "),
        ("/v2/embed", {"inputs": [{"content": [{"type": "text", "text": "a"}]}, {"content": []}]}, "inputs.1.content"),
    ],
)
def test_the_text_is_named(client, path, body, place):
    answer = client.post(path, json=body)
    assert answer.status_code in (400, 422)
    found = answer.json()["error"]
    message = found["message"] if isinstance(found, dict) else found
    assert place in message or place in str(found["param"])
    assert message.startswith(place) or place.startswith("inputs.1")


def test_the_number_is_that_of_the_whole_request_and_not_of_a_part_of_it(client):
    """Texts are tokenized some thousand at a time."""
    texts = ["a"] * 2048
    texts[1500] = "word " * 400
    assert client.post("/v1/embeddings", json={"input": texts}).json()["message"].startswith("input[1500]: ")


@pytest.mark.parametrize("content", [[], {"content": []}])
def test_empty_content_is_refused_where_it_stands_for_a_text(client, content):
    item = content if isinstance(content, dict) else {"content": content}
    for body in ({"query": item, "documents": ["a"]}, {"query": "a", "documents": item}, {"query": "a", "documents": [item]}):
        answer = client.post("/rerank", json=body)
        assert (answer.status_code, "at least one part" in answer.text) == (400, True)
