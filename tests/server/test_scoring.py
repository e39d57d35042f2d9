"""Scores, reranking, and the routes of text-embeddings-inference."""

import numpy as np
import pytest
from served import served

from jaxembed import LLM, PoolerConfig

QUERY, TEXTS = "The weather is lovely today.", ["He drove to the stadium.", "It's so sunny outside!"]
KNOWN = [0.1046, 0.6660]


@pytest.fixture(scope="module")
def client(llm):
    with served(llm) as client:
        yield client


@pytest.fixture(scope="module")
def vectors(llm):
    return np.array([output.outputs.array for output in llm.embed([QUERY, *TEXTS], use_tqdm=False)])


def post(client, path, **body):
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("names", [("queries", "documents"), ("queries", "items"), ("data_1", "data_2"), ("text_1", "text_2")])
def test_a_query_is_compared_with_each_text_under_any_names(client, names):
    answer = post(client, "/score", **dict(zip(names, (QUERY, TEXTS), strict=True)))
    assert [round(item["score"], 4) for item in answer["data"]] == KNOWN
    assert [item["index"] for item in answer["data"]] == [0, 1]
    lengths = [len(ids) for ids in client.service.tokenizer.encode([QUERY, *TEXTS])]
    assert answer["usage"]["prompt_tokens"] == 2 * lengths[0] + lengths[1] + lengths[2]
    assert answer["id"].startswith("score-")


def test_pairs_may_be_one_to_one_and_many_to_many(client):
    one = post(client, "/v1/score", text_1=QUERY, text_2=TEXTS[1])
    many = post(client, "/v1/score", text_1=[QUERY, QUERY], text_2=TEXTS)
    parts = post(client, "/score", text_1={"content": [{"type": "text", "text": QUERY}]}, text_2=[{"text": TEXTS[1]}])
    assert one["data"][0]["score"] == pytest.approx(many["data"][1]["score"], abs=1e-6)
    assert parts["data"][0]["score"] == pytest.approx(one["data"][0]["score"], abs=1e-6)


def test_reranking_puts_the_nearest_first(client):
    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        answer = post(client, path, query=QUERY, documents=TEXTS, max_tokens_per_doc=None, return_documents=True)
        assert [item["index"] for item in answer["results"]] == [1, 0]
        assert [round(item["relevance_score"], 4) for item in answer["results"]] == KNOWN[::-1]
        assert answer["results"][0]["document"] == {"text": TEXTS[1]}
    assert len(post(client, "/rerank", query=QUERY, documents=TEXTS, top_n=1)["results"]) == 1
    assert len(post(client, "/rerank", query=QUERY, documents=TEXTS, top_n=None)["results"]) == 2
    tei = post(client, "/rerank", query=QUERY, texts=TEXTS, return_text=True)
    assert [(item["index"], item["text"]) for item in tei] == [(1, TEXTS[1]), (0, TEXTS[0])]


def test_documents_can_be_cut(client):
    cut = post(client, "/score", queries=QUERY, documents="a b c d", max_tokens_per_doc=4)
    whole = post(client, "/score", queries=QUERY, documents="a b")
    assert cut["data"] == whole["data"]


@pytest.mark.parametrize(
    ("path", "body", "message", "field"),
    [
        ("/score", {"text_1": ["a", "b"], "text_2": ["a"]}, "Input lengths must be either 1:1, 1:N or N:N", None),
        ("/score", {"text_1": [], "text_2": ["a"]}, "At least one text element must be given", "text_1"),
        ("/score", {"text_1": "a", "text_2": []}, "At least one text_pair element must be given", "text_2"),
        ("/score", {"text_1": "a"}, "give the two sides as one of these pairs", None),
        ("/score", {"text_1": "a", "data_2": "a"}, "give the two sides as one of these pairs", None),
        ("/score", {"text_1": 3, "text_2": "a"}, "text_1 must hold texts", "text_1"),
        ("/score", {"text_1": "a", "text_2": {"content": [{"type": "image_url"}]}}, "takes text only", "text_2"),
        ("/score", {"queries": "word " * 400, "items": "a"}, "maximum context length is 256 tokens", "queries"),
        (
            "/score",
            {"text_1": "a", "text_2": "a", "max_tokens_per_doc": 256},
            "(256) must be less than max_model_len (256).",
            "max_tokens_per_doc",
        ),
        (
            "/score",
            {"text_1": "a", "text_2": "a", "max_tokens_per_query": 1},
            "no room for the 2 special tokens",
            "max_tokens_per_query",
        ),
        ("/rerank", {"query": "a"}, "a 'query' and 'documents' are needed", "documents"),
        ("/rerank", {"query": ["a", "b"], "documents": ["a"]}, "the query must be one text", "query"),
        ("/rerank", {"query": "a", "documents": ["a"] * 2049}, "documents list length 2049 exceeds", "documents"),
        ("/rerank", {"query": "a", "documents": ["word " * 400]}, "maximum context length is 256 tokens", "documents"),
        ("/rerank", {"query": "a", "texts": ["word " * 400]}, "maximum context length is 256 tokens", "texts"),
    ],
)
def test_bad_pairs_are_refused_in_vllm_s_words(client, path, body, message, field):
    answer = client.post(path, json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert answer.json()["error"]["param"] == field


def test_a_model_served_for_tokens_scores_by_late_interaction(llm):
    served_llm = LLM(pooler_config=PoolerConfig(task="token_embed"))
    query, document = (
        output.outputs.data for output in llm.encode([QUERY, TEXTS[0]], pooling_task="token_embed", use_tqdm=False)
    )
    expected = sum(max(float(q @ d) for d in document) for q in query)
    with_library = served_llm.score(QUERY, {"content": [{"type": "text", "text": TEXTS[0]}]}, use_tqdm=False)
    assert with_library[0].outputs.score == pytest.approx(expected, abs=1e-4)
    with served(served_llm) as client:
        assert post(client, "/score", text_1=QUERY, text_2=TEXTS[0])["data"][0]["score"] == pytest.approx(expected, abs=1e-4)
        assert len(post(client, "/pooling", input=QUERY)["data"][0]["data"]) == len(query)
        for path, body in (("/v1/embeddings", {"input": "a"}), ("/v2/embed", {"texts": ["a"]})):
            answer = client.post(path, json=body)
            assert (answer.status_code, "does not support Embeddings API" in answer.text) == (501, True)


def test_classification_is_not_there(client):
    answer = client.post("/classify", json={"input": "a"})
    assert answer.status_code == 501
    assert answer.json()["error"] == {
        "message": "The model does not support Classification API",
        "type": "NotImplementedError",
        "param": None,
        "code": 501,
    }


def test_tei_gives_bare_lists(client, vectors):
    one = client.post("/embed", json={"inputs": QUERY})
    np.testing.assert_allclose(np.array(one.json(), np.float32), vectors[:1], atol=1e-6)
    assert one.headers["x-compute-tokens"] == "8"
    many = post(client, "/", inputs=[QUERY, *TEXTS], truncate=True, normalize=True)
    np.testing.assert_allclose(np.array(many, np.float32), vectors, atol=1e-6)
    raw = np.array(post(client, "/embed", inputs=QUERY, normalize=False)[0])
    assert abs(np.linalg.norm(raw) - 1) > 0.1
    tokens = post(client, "/embed_all", inputs=[QUERY])
    assert (len(tokens[0]), len(tokens[0][0])) == (8, 384)
    similar = {"source_sentence": QUERY, "sentences": TEXTS}
    for path in ("/similarity", "/"):
        assert [round(score, 4) for score in post(client, path, inputs=similar, parameters={})] == KNOWN
    info = client.get("/info").json()
    assert (info["max_input_length"], info["model_type"]) == (256, {"embedding": {"pooling": "mean"}})
    assert post(client, "/decode", ids=[[101, 7592, 102]]) == ["hello"]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"inputs": []}, 422, "Validation"),
        ({"inputs": "word " * 400}, 422, "Validation"),
        ({"inputs": "a", "prompt_name": "query"}, 422, "Validation"),
        ({"inputs": {"source_sentence": "a", "sentences": []}}, 422, "Validation"),
        ([], 422, "Validation"),
    ],
)
def test_tei_errors_have_tei_s_shape(client, body, status, kind):
    answer = client.post("/", json=body)
    assert (answer.status_code, answer.json()["error_type"]) == (status, kind)
    assert set(answer.json()) == {"error", "error_type"}


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"input": "a"}, "data"),
        ({"texts": ["a"]}, "embeddings"),
        ({"inputs": [{"content": [{"type": "text", "text": "a"}]}]}, "embeddings"),
        ({"query": "a", "documents": ["a"]}, "results"),
        ({"text_1": "a", "text_2": "b"}, "data"),
        ({"input": "a", "task": "token_embed"}, "data"),
    ],
)
def test_invocations_takes_the_body_of_any_route(client, body, key):
    assert key in post(client, "/invocations", **body)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input": "a", "dimensions": 3}, "dimensions"),
        ({"texts": ["a"], "output_dimension": 3}, "output_dimension"),
        ({"texts": ["a"], "max_tokens": 1}, "max_tokens"),
        ({"texts": ["word " * 400], "truncate": "NONE"}, "texts"),
        ({"texts": ["a b c"], "truncate": "NONE", "max_tokens": 3}, "max_tokens"),
        ({"inputs": "word " * 400}, "inputs"),
        ({"inputs": "a", "prompt_name": "x"}, "prompt_name"),
        (
            {"inputs": {"source_sentence": "a", "sentences": ["b"]}, "parameters": {"prompt_name": "x"}},
            "parameters.prompt_name",
        ),
        ({"query": "word " * 400, "documents": ["a"]}, "query"),
    ],
)
def test_an_error_names_its_field_as_the_body_does(client, body, field):
    answer = client.post("/invocations", json=body)
    assert (answer.status_code, answer.json()["param"]) == (400, field)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_documents_are_left_out_where_they_are_not_wanted(client, path):
    body = {"query": "a", "documents": ["b", "c"]}
    for asked, there in (({}, True), ({"return_documents": True}, True), ({"return_documents": False}, False)):
        results = post(client, path, **body, **asked)["results"]
        assert [("document" in result) for result in results] == [there, there]


@pytest.mark.parametrize("top_n", [-1, -(2**40), "2", 1.5])
def test_a_top_n_that_is_no_count_is_refused(client, top_n):
    answer = client.post("/rerank", json={"query": "a", "documents": ["b", "c"], "top_n": top_n})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "body.top_n")
    for none in (0, None):
        assert len(post(client, "/rerank", query="a", documents=["b", "c"], top_n=none)["results"]) == 2
