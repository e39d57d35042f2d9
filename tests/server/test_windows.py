"""Texts longer than the model takes, in windows: vLLM's `enable_chunked_processing` with `max_embed_len`."""

import argparse

import numpy as np
import pytest
from refusals import refused
from served import served

from jaxembed import PoolingParams
from jaxembed.cli import flags, serve
from jaxembed.cli.spelling import spelled
from jaxembed.packing.text import Options, Text
from jaxembed.server.windows import joined, windows

LONG = " ".join(f"word{number}" for number in range(400))


@pytest.fixture(scope="module")
def client(llm):
    with served(llm, max_embed_tokens=3000) as client:
        yield client


def near(found, expected) -> None:
    """To 1e-5 of its length: until a row's own program is compiled a larger one runs it, which rounds otherwise."""
    assert np.linalg.norm(np.asarray(found, np.float32) - expected) <= 1e-5 * np.linalg.norm(expected)


def slow(llm, text: str, *, normalize: bool = True) -> np.ndarray:
    """The ids of the whole text in windows, each embedded by the library, their mean by tokens, unit length again."""
    (ids,) = llm.engine.model.tokenizer.encode([text])
    parts = [ids[start : start + 256].tolist() for start in range(0, len(ids), 256)]
    assert len(parts) > 2
    outputs = llm.embed(parts, use_tqdm=False, pooling_params=PoolingParams(use_activation=normalize))
    mean = sum(len(part) * output.outputs.array for part, output in zip(parts, outputs, strict=True)) / len(ids)
    return mean / np.linalg.norm(mean) if normalize else mean


@pytest.mark.parametrize("normalize", [True, False])
def test_the_vector_is_the_mean_of_the_windows_by_their_tokens(client, llm, normalize):
    body = {"input": ["short", LONG, "another"], "use_activation": normalize}
    answer = client.post("/v1/embeddings", json=body).json()
    found = [np.array(item["embedding"], np.float32) for item in answer["data"]]
    near(found[1], slow(llm, LONG, normalize=normalize))
    params = PoolingParams(use_activation=normalize)
    for place, text in ((0, "short"), (2, "another")):
        expected = llm.embed(text, use_tqdm=False, pooling_params=params)[0].outputs.array
        near(found[place], expected)
    whole = sum(len(ids) for ids in client.service.tokenizer.encode(body["input"]))
    assert answer["usage"]["prompt_tokens"] == whole > 512


def test_other_apis_have_it_where_they_cut_nothing(client, llm):
    expected = slow(llm, LONG)
    near(client.post("/embed", json={"inputs": LONG}).json()[0], expected)
    cut = client.post("/embed", json={"inputs": LONG, "truncate": True}).json()[0]
    assert abs(float(np.dot(cut, expected))) < 1.0001
    cohere = client.post("/v2/embed", json={"texts": [LONG]}).json()
    assert cohere["meta"]["billed_units"]["input_tokens"] == 256


def test_what_is_longer_still_is_an_error_that_names_it(client):
    answer = client.post("/v1/embeddings", json={"input": ["a", "word " * 4000]})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("input[1]: This model's maximum context length is 3000 tokens.")


def test_truncation_that_is_asked_for_comes_first(client):
    answer = client.post("/v1/embeddings", json={"input": LONG, "truncate_prompt_tokens": -1}).json()
    assert answer["usage"]["prompt_tokens"] == 256


def test_tokens_and_scores_have_no_windows(client):
    for path, body in (
        ("/pooling", {"input": LONG, "task": "token_embed"}),
        ("/score", {"text_1": "a", "text_2": LONG}),
        ("/embed_all", {"inputs": LONG}),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code in (400, 422)
        assert "maximum context length is 256 tokens" in answer.text


def test_a_longest_text_below_the_model_s_length_is_a_limit(llm):
    with served(llm, max_embed_tokens=64) as client:
        assert client.post("/v1/embeddings", json={"input": "word " * 60}).status_code == 200
        answer = client.post("/v1/embeddings", json={"input": "word " * 80})
        assert (answer.status_code, "maximum context length is 64" in answer.text) == (400, True)
        assert client.post("/v2/embed", json={"texts": [LONG]}).json()["meta"]["billed_units"]["input_tokens"] == 64
        assert client.post("/api/embed", json={"input": LONG}).json()["prompt_eval_count"] == 64
        assert client.get("/v1/models").json()["data"][0]["max_model_len"] == 64


def test_windows_cover_the_text_and_leave_out_its_prompt():
    text = Text(np.arange(10, dtype=np.int32), Options(skip=5, dimensions=3))
    parts = windows(text, 4)
    assert [part.ids.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [(part.options.skip, part.options.dimensions) for part in parts] == [(4, 3), (1, 3), (0, 3)]
    assert windows(text, 10) == [text]
    vectors = [np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)]
    plain = [Text(np.zeros(3, np.int32), Options(normalize=False)), Text(np.zeros(1, np.int32), Options(normalize=False))]
    np.testing.assert_allclose(joined(vectors, plain), [0.75, 0.25])


def test_the_flags_are_vllm_s():
    def parsed(*argv: str) -> dict:
        parser = argparse.ArgumentParser()
        serve.add_arguments(parser)
        declared = [flag.name for flag in serve.FLAGS if "." in flag.name]
        return flags.read(serve.FLAGS, parser.parse_args(spelled(argv, declared=declared, serving=True)), {})

    whole = parsed("--pooler-config", '{"pooling_type": "MEAN", "enable_chunked_processing": true, "max_embed_len": 10000}')
    assert serve.settings(whole, {}).max_embed_tokens == 10000
    single = parsed("--pooler-config.enable_chunked_processing", "true", "--pooler-config.max_embed_len", "77")
    assert serve.settings(single, {}).max_embed_tokens == 77
    assert serve.settings(parsed("--pooler-config.enable_chunked_processing", "true"), {}).max_embed_tokens is None
    assert serve.without_windows(serve.pooler_config(whole)) == {"pooling_type": "MEAN"}
    assert serve.without_windows({"max_embed_len": 77}) == {"max_embed_len": 77}
    for length in (0, "77", True):
        with refused("pooler_config.max_embed_len"):
            serve.max_embed_tokens({"enable_chunked_processing": True, "max_embed_len": length})
