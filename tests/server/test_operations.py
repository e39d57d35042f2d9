"""Keys, limits, ids, health, metrics, documentation: what operators rely on."""

import asyncio
import json
import logging
import re

import pytest
from fakes import FakeRunner
from fastapi.testclient import TestClient
from served import served

from jaxembed.errors import EngineError, OverloadedError, StoppedError
from jaxembed.server.app import create_app
from jaxembed.server.faces import Faces
from jaxembed.server.service import Asked, Service
from jaxembed.server.settings import Settings


@pytest.fixture(scope="module")
def client(llm):
    with served(llm, served_model_names=("big/name", "alias")) as client:
        yield client


def test_the_server_says_what_it_is(client):
    assert client.get("/health").content == b""
    assert client.get("/health").status_code == client.get("/ready").status_code == 200
    assert client.get("/ping").status_code == client.post("/ping").status_code == 200
    assert re.fullmatch(r"\d+\.\d+\.\d+", client.get("/version").json()["version"])
    assert client.get("/load").json() == {"server_load": 0}
    cards = client.get("/v1/models").json()["data"]
    assert [card["id"] for card in cards] == ["big/name", "alias"]
    assert cards[0]["owned_by"] == "jaxembed"
    known = {key: cards[0][key] for key in ("dimension", "max_model_len", "pooling", "prompts", "matryoshka_dimensions")}
    assert known == {
        "dimension": 384,
        "max_model_len": 256,
        "pooling": ["mean"],
        "prompts": {},
        "matryoshka_dimensions": None,
    }
    assert client.get("/models").json()["data"][0]["stats"] == {}


def test_a_model_is_asked_for_by_any_of_its_names(client):
    for name in ("big/name", "name", "alias", None):
        answer = client.post("/v1/embeddings", json={"input": "a", "model": name})
        assert answer.json()["model"] == (name or "big/name")
    assert client.post("/v1/embeddings", json={"input": "a", "model": "sentence-transformers/x"}).status_code == 404


def test_tokens_go_to_text_and_back(client):
    answer = client.post("/tokenize", json={"prompt": "Hello world", "return_token_strs": True}).json()
    assert answer == {
        "count": 4,
        "max_model_len": 256,
        "tokens": [101, 7592, 2088, 102],
        "token_strs": ["[CLS]", "hello", "world", "[SEP]"],
    }
    plain = client.post("/tokenize", json={"prompt": "Hello world", "add_special_tokens": False}).json()
    assert (plain["tokens"], plain["token_strs"]) == ([7592, 2088], None)
    assert client.post("/detokenize", json={"tokens": [7592, 2088]}).json() == {"prompt": "hello world"}
    tei = client.post("/tokenize", json={"inputs": ["Hello"]}).json()
    assert tei[0][1] == {"id": 7592, "text": "hello", "special": False}
    assert client.post("/detokenize", json={"tokens": [30522]}).json()["message"] == "Token id 30522 is out of vocabulary"
    assert client.post("/tokenize", json={}).status_code == 400


def test_every_guarded_route_wants_one_of_the_keys(llm):
    with served(llm, api_keys=("secret", "other")) as client:
        for path in ("/v1/models", "/version", "/docs", "/openapi.json", "/nope"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert client.post("/v1/embeddings", json={"input": "a"}).json()["error"]["message"] == "Unauthorized"
        for path in ("/health", "/ready", "/ping", "/metrics"):
            assert client.get(path).status_code == 200
        for path in ("/", "/embed", "/invocations", "/v2/embed", "/health", "/playground"):
            assert client.post(path, json={"inputs": "a"}).status_code == 401
        for header in ("Bearer secret", "bearer other"):
            assert client.get("/v1/models", headers={"authorization": header}).status_code == 200
        for header in ("Bearer secre", "Basic secret", "secret", "Bearer ", ""):
            assert client.get("/v1/models", headers={"authorization": header}).status_code == 401
    with served(llm, api_keys=("secret",), guard_metrics=True) as client:
        assert client.get("/metrics").status_code == 401


def test_cors_is_off_until_it_is_asked_for(llm, client):
    origin = {"origin": "http://page.example"}
    assert "access-control-allow-origin" not in client.get("/health", headers=origin).headers
    with served(llm, allowed_origins=("http://page.example",), api_keys=("k",)) as open_client:
        assert open_client.get("/health", headers=origin).headers["access-control-allow-origin"] == "http://page.example"
        ask = {**origin, "access-control-request-method": "POST"}
        assert open_client.options("/v1/embeddings", headers=ask).status_code == 200


def test_large_bodies_and_wrong_kinds_are_refused_in_a_sentence(llm):
    with served(llm, max_body_bytes=1000) as client:
        body = json.dumps({"input": "a" * 2000})
        headers = {"content-type": "application/json"}
        answer = client.post("/v1/embeddings", content=body, headers=headers)
        assert (answer.status_code, answer.json()["message"]) == (413, f"The body has {len(body)} bytes and may have 1000.")
        chunks = (part for part in [b'{"input": "', b"a" * 2000, b'"}'])
        assert client.post("/v1/embeddings", content=chunks, headers=headers).status_code == 413
        form = client.post("/v1/embeddings", content="input=a", headers={"content-type": "application/x-www-form-urlencoded"})
        assert form.status_code == 415
        assert "Only 'application/json' is allowed" in form.json()["message"]
        assert client.post("/v1/embeddings", content=b"{", headers=headers).status_code == 400
        assert "must be a JSON object, not an array" in client.post("/v1/embeddings", json=[1]).json()["message"]


def test_too_many_open_bytes_are_an_overload(llm):
    with served(llm, max_open_bytes=100) as client:
        answer = client.post("/v1/embeddings", json={"input": "a" * 200})
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1


def test_ids_of_requests_come_back_and_are_logged(client, caplog):
    with caplog.at_level(logging.INFO, "jaxembed.access"):
        answer = client.post("/v1/embeddings", json={"input": "a"}, headers={"x-request-id": "abc-1"})
    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.json()["id"] == "embd-abc-1"
    assert re.search(r'"POST /v1/embeddings" 200 [\d.]+ ms abc-1', caplog.text)
    assert len(client.get("/health").headers["x-request-id"]) == 32
    body = client.post("/v1/embeddings", json={"input": "a", "request_id": "日\n", "encoding_format": "bytes"})
    assert json.loads(body.headers["metadata"])["id"] == "embd-日\n"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (OverloadedError("too much", retry_after_seconds=7), 429, "RateLimitError"),
        (EngineError("broken", retry_after_seconds=7), 503, "ServiceUnavailableError"),
        (StoppedError("ending", retry_after_seconds=7), 503, "ServiceUnavailableError"),
    ],
)
def test_what_may_be_tried_again_says_when(llm, error, status, kind):
    with served(llm) as client:

        def refuse(*arguments, **options):
            raise error

        client.service.scheduler.submit = refuse
        answer = client.post("/v1/embeddings", json={"input": "a"})
        assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")
        assert answer.json()["error"]["type"] == kind


def test_a_fault_of_ours_is_a_500_that_shows_nothing_of_the_inside(llm, caplog):
    with served(llm) as client:

        def broken(*arguments, **options):
            raise ZeroDivisionError("secret of the house")

        client.service.scheduler.submit = broken
        answer = client.post("/v1/embeddings", json={"input": "a"}, headers={"x-request-id": "find-me"})
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "find-me" in caplog.text
        assert "secret of the house" in caplog.text


def test_health_tells_the_truth(llm):
    runner = FakeRunner()

    def broken(row):
        raise OSError("no device")

    with served(llm, runner=runner) as client:
        assert client.post("/v1/embeddings", json={"input": "a"}).status_code == 200
        runner.fail = broken
        answer = client.post("/v1/embeddings", json={"input": "a"})
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "ServiceUnavailableError")
        health = client.get("/health")
        assert (health.status_code, "OSError: no device" in health.text) == (503, True)
        assert client.get("/ready").status_code == 503
        runner.fail = None
        client.service.scheduler._supervisor.join(timeout=1)
        assert client.get("/health").status_code == 200
        client.service.scheduler.drain()
        assert (client.get("/health").status_code, client.get("/ready").status_code) == (200, 503)


def test_a_client_that_hangs_up_gives_its_place_back(llm):
    """Spoken to as uvicorn does, because a test client never hangs up."""
    runner = FakeRunner()
    service = Service(llm, Settings(), runner=runner)
    app = create_app(service)
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": headers, "query_string": b""}

    async def run() -> list[dict]:
        sent, hung_up = [], asyncio.Event()
        messages = [{"type": "http.request", "body": b'{"input": "a"}', "more_body": False}]

        async def receive() -> dict:
            if messages:
                return messages.pop()
            await hung_up.wait()
            return {"type": "http.disconnect"}

        async def send(message) -> None:
            sent.append(message)

        async with app.router.lifespan_context(app):
            runner.gate.clear()
            first = asyncio.ensure_future(service.run(Asked(prompts=["a"])))
            while not runner.rows:
                await asyncio.sleep(0.001)
            asking = asyncio.ensure_future(app(scope, receive, send))
            await asyncio.sleep(0.1)
            hung_up.set()
            await asyncio.wait_for(asking, 5)
            runner.gate.set()
            await first
            while service.scheduler.open_requests:
                await asyncio.sleep(0.001)
        return sent

    sent = asyncio.run(run())
    assert sent[0]["status"] == 499
    assert service.scheduler.stats.ended == {"done": 1, "cancelled": 1, "stopped": 0}
    assert len(runner.rows) == 1


def test_metrics_count_what_happened(llm):
    with served(llm, runner=FakeRunner()) as client:
        for status, body in ((200, {"input": ["a", "b"]}), (400, {"input": []})):
            assert client.post("/v1/embeddings", json=body).status_code == status
        text = client.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["jaxembed_texts_total"]) == 2
    assert float(values["jaxembed_tokens_total"]) == 6
    assert float(values['jaxembed_ended_requests_total{how="done"}']) == 1
    assert float(values['jaxembed_requests_total{route="/v1/embeddings",status="400"}']) == 1
    assert float(values['jaxembed_request_seconds_count{route="/v1/embeddings"}']) == 2
    for name in ("queue_tokens", "predicted_wait_seconds", "padding_ratio", "compiles_total", "device_seconds_total"):
        assert f"jaxembed_{name}" in values


def test_every_route_is_documented_with_its_bodies(client):
    schema = client.get("/openapi.json").json()
    body = schema["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = schema["components"]["schemas"][body["$ref"].rsplit("/", 1)[1]]["properties"]
    assert {"input", "messages", "encoding_format", "dimensions", "truncate_prompt_tokens"} <= set(fields)
    assert "text/html" in client.get("/docs").headers["content-type"]
    text = json.dumps(schema)
    for reference in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert reference in schema["components"]["schemas"]


def test_documentation_can_be_switched_off(llm):
    with served(llm, docs=False) as client:
        assert client.get("/docs").status_code == client.get("/openapi.json").status_code == 404


@pytest.mark.parametrize("more", [{}, {"docs": False, "tokenizer_info": True}])
def test_every_route_says_whose_clients_call_it(llm, more):
    app = create_app(Service(llm, Settings(**more), runner=FakeRunner()))
    faces = {route.path: app.state.faces.of({"path": route.path}) for route in app.routes}
    assert [path for path in faces if path not in app.state.faces] == []
    assert {path for path, face in faces.items() if face == "cohere"} == {"/v1/embed", "/v2/embed"}
    tei = {"/", "/embed", "/embed_all", "/similarity", "/decode", "/info"}
    assert {path for path, face in faces.items() if face == "tei"} == tei


def test_a_path_has_one_face_also_where_it_is_a_template_or_under_a_prefix():
    faces = Faces()
    faces.add("/mine/{name}", "tei")
    assert faces.of({"path": "/mine/x"}) == faces.of({"path": "/api/mine/x", "root_path": "/api"}) == "tei"
    assert faces.of({"path": "/mine"}) == faces.of({"path": "/apix/mine/x", "root_path": "/api"}) == "openai"
    with pytest.raises(AssertionError, match="is added with cohere"):
        faces.add("/mine/{name}", "cohere")


def test_unknown_paths_and_methods_are_answered_in_the_same_shape(client: TestClient):
    assert client.get("/nope").json()["error"]["code"] == 404
    assert client.get("/v1/embeddings").json()["error"]["code"] == 405
    assert set(client.get("/v2/embed").json()) == {"message", "error"}
    assert set(client.post("/embed_sparse", json={}).json()) == {"error", "error_type"}


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "org/two", "two"])
def test_one_model_is_found_by_its_name(llm, name):
    with served(llm, served_model_names=("all-MiniLM-L6-v2", "org/two")) as client:
        for path in (f"/v1/models/{name}", f"/models/{name}"):
            card = client.get(path).json()
            assert (card["id"], card["object"]) == (name, "model")
        missing = client.get("/v1/models/nobody/else")
        assert (missing.status_code, missing.json()["error"]["param"]) == (404, "model")
        assert "`org/two`" in missing.json()["error"]["message"]


def test_what_can_be_had_has_a_head(client):
    routes = [route for route in client.app.routes if "GET" in (route.methods or ()) and "{" not in route.path]
    assert len(routes) > 15
    for path in [*(route.path for route in routes), "/v1/models/all-MiniLM-L6-v2"]:
        got, head = client.get(path, follow_redirects=False), client.head(path, follow_redirects=False)
        assert (path, head.status_code) == (path, got.status_code)
        assert head.headers.get("content-type") == got.headers.get("content-type")
    assert client.head("/v1/embeddings").status_code == 405
