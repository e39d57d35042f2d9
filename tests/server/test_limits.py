"""What one request may ask of the server, and what those get that ask for more: a sentence, soon, while others are served."""

import asyncio
import json
import logging
import time

import orjson
import pytest
from fakes import FakeRunner
from fastapi.testclient import TestClient
from refusals import refused
from served import served

from jaxembed.errors import InputTypeError
from jaxembed.inputs.prompts import read_prompts
from jaxembed.server import bodies
from jaxembed.server.app import create_app
from jaxembed.server.encoding import json_response, large_json_response
from jaxembed.server.service import Service
from jaxembed.server.settings import Settings

JSON = {"content-type": "application/json"}
MANY = 300_000


@pytest.fixture(scope="module")
def client(llm):
    with served(llm, runner=FakeRunner(table=llm.engine.table)) as client:
        yield client


def post(client, path: str, body) -> tuple[int, str]:
    answer = client.post(path, content=orjson.dumps(body), headers=JSON)
    return answer.status_code, answer.text


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/decode", {"ids": ["a"] * MANY}, 422),
        ("/decode", {"ids": [1, *["a"] * MANY]}, 422),
        ("/v2/embed", {"texts": [1] * MANY}, 400),
        ("/v2/embed", {"inputs": [{}] * MANY}, 400),
        ("/v2/embed", {"inputs": [{"content": [{"type": "text", "text": "a"}] * MANY}]}, 400),
        ("/v1/embeddings", {"input": ["a"] * MANY}, 400),
        ("/v1/embeddings", {"input": [1] * (2 << 20)}, 400),
        ("/detokenize", {"tokens": [100] * (2 << 20)}, 400),
        ("/detokenize", {"tokens": [100] * 1_000_000}, 400),
        ("/tokenize", {"prompt": "a " * 6_000_000}, 400),
        ("/tokenize", {"nothing": [{"a": "b"}] * 2000}, 400),
    ],
)
def test_a_body_of_many_pieces_is_refused_at_once(client, path, body, status):
    begin = time.perf_counter()
    found, text = post(client, path, body)
    assert found == status
    assert len(text) < 5000
    assert time.perf_counter() - begin < 1.5


@pytest.mark.parametrize("text", ['a,"[{', "\\", '\\\\"', '",', "[{,", "x" * 9])
@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
def test_values_are_counted_outside_of_strings(monkeypatch, text, block):
    monkeypatch.setattr(bodies, "_BLOCK_BYTES", block)
    body = orjson.dumps({text: [text, 1, {"b": text}], "c": text})
    assert bodies.count_values(body, 6) == bodies.count_values(body, 7) == 7


def test_an_answer_of_too_many_numbers_is_refused_before_it_is_computed(llm):
    runner = FakeRunner(table=llm.engine.table)
    with served(llm, runner=runner, max_answer_values=384 * 10) as client:
        for path, body in (
            ("/embed_all", {"inputs": ["w " * 98]}),
            ("/pooling", {"input": "w " * 98, "task": "token_embed"}),
            ("/embed", {"inputs": ["a"] * 11}),
            ("/tokenize", {"inputs": ["w " * 900, "w " * 900]}),
        ):
            status, text = post(client, path, body)
            assert status in (400, 422)
            assert "--max-answer-values" in text
        assert not runner.rows
        assert post(client, "/embed", {"inputs": ["a"] * 10})[0] == 200


def test_a_large_answer_reads_as_a_small_one(llm):
    with served(llm) as client:
        texts = ["w " * 98] * 40
        whole = client.post("/embed_all", json={"inputs": texts})
        one = client.post("/embed_all", json={"inputs": texts[:1]})
        assert int(whole.headers["content-length"]) == len(whole.content) > 1 << 20
        assert len(whole.json()) == 40
        assert len(whole.json()[0]) == len(one.json()[0]) == 100
    body = {"a": [], "b": [{"c": [1, 2], "d": "x"}, {}], "e": {}}
    streamed = large_json_response(body)

    async def read() -> bytes:
        return b"".join([part async for part in streamed.body_iterator])

    assert asyncio.run(read()) == json_response(body).body


def ask(llm, messages: list, **settings) -> list[list[dict]]:
    """Speaks to the application as uvicorn does; each of `messages` is what a client sends, after which it is silent."""
    app = create_app(Service(llm, Settings(**settings), runner=FakeRunner(table=llm.engine.table)))
    scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "query_string": b""}
    scope["headers"] = [(b"content-type", b"application/json"), (b"content-length", b"90")]

    async def run() -> list[list[dict]]:
        async def one(messages: list) -> list[dict]:
            left, sent = list(messages), []

            async def receive() -> dict:
                if not left:
                    await asyncio.sleep(60)
                return left.pop(0)

            async def send(message) -> None:
                sent.append(message)

            await app(dict(scope), receive, send)
            return sent

        async with app.router.lifespan_context(app):
            return await asyncio.wait_for(asyncio.gather(*map(one, messages)), 10)

    return asyncio.run(run())


PART = {"type": "http.request", "body": b'{"input": ', "more_body": True}
REST = {"type": "http.request", "body": b'"a"}', "more_body": False}


def test_a_body_that_stops_coming_is_timed_out_and_holds_what_arrived_only(llm):
    stalled, served_ = ask(llm, [[PART], [PART, REST]], body_timeout_seconds=0.2, max_open_bytes=110)
    assert stalled[0]["status"] == 408
    assert (b"connection", b"close") in stalled[0]["headers"]
    assert served_[0]["status"] == 200


def test_bytes_count_as_they_arrive(llm):
    (answer,) = ask(llm, [[{**PART, "body": b" " * 60}, {**PART, "body": b" " * 60}, PART, REST]], max_open_bytes=100)
    assert answer[0]["status"] == 429


def test_a_client_that_hangs_up_while_it_sends_is_no_fault_of_ours(llm, caplog):
    (answer,) = ask(llm, [[PART, {"type": "http.disconnect"}]])
    assert answer[0]["status"] == 499
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("prefix", ["/api", "/models", "/embed", "/v1"])
@pytest.mark.parametrize("kind", ["takes it off", "passes it on"])
def test_a_prefix_is_found_behind_both_kinds_of_proxy(llm, prefix, kind):
    """uvicorn puts the prefix before whatever a proxy sends; here as there, in the path of the request."""
    sent = "" if kind == "takes it off" else prefix
    with TestClient(create_app(Service(llm, Settings(), runner=FakeRunner())), root_path=prefix) as client:
        for path in ("/v1/models", "/health", "/models", "/info", "/v1/models/all-MiniLM-L6-v2"):
            assert client.get(f"{prefix}{sent}{path}").status_code == 200, path
        for path, body in (("/v1/embeddings", {"input": "a"}), ("/embed", {"inputs": "a"}), ("/api/embed", {"input": "a"})):
            if sent + path in client.app.state.faces and sent:
                continue  # with the prefix it is another route: one of both has to be it
            assert client.post(f"{prefix}{sent}{path}", json=body).status_code == 200, path
        assert client.get(f"{prefix}{sent}/nope").status_code == 404


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_errors_keep_their_shape_under_a_root_path(llm, prefix):
    """uvicorn puts the prefix before the path that a proxy took it from."""
    app = create_app(Service(llm, Settings(api_keys=("k",)), runner=FakeRunner()))
    with TestClient(app, root_path="/api") as client:
        client.headers["authorization"] = "Bearer k"
        assert set(client.post(f"{prefix}/v2/embed", json={"texts": []}).json()) == {"message", "error"}
        answer = client.post(f"{prefix}/embed", json={"inputs": []})
        assert (answer.status_code, set(answer.json())) == (422, {"error", "error_type"})
        del client.headers["authorization"]
        assert set(client.post(f"{prefix}/v2/embed", json={}).json()) == {"message", "error"}


def test_a_prompt_in_a_prompt_is_refused_however_deep(client):
    body = b'{"input": ' + b'{"prompt": ' * 900 + b'"a"' + b"}" * 901
    assert client.post("/v1/embeddings", content=body, headers=JSON).status_code == 400
    deep = "a"
    for _ in range(5000):
        deep = {"prompt": deep}
    with refused("prompts", "'prompt'", "dict", error=InputTypeError):
        read_prompts(deep)


def test_a_page_may_read_why_it_was_refused(llm):
    origin = {"origin": "http://page.example"}
    with served(llm, allowed_origins=("http://page.example",), api_keys=("k",)) as client:
        answer = client.post("/v1/embeddings", json={"input": "a"}, headers=origin)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, origin["origin"])


def test_a_log_line_holds_what_the_server_wrote(llm, caplog):
    app = create_app(Service(llm, Settings(), runner=FakeRunner()))
    scope = {"type": "http", "method": "GET", "path": '/x" 200\n', "query_string": b"", "headers": []}

    async def ignore(message=None):
        return {"type": "http.disconnect"}

    with caplog.at_level(logging.INFO, "jaxembed.access"):
        asyncio.run(app({**scope, "client": ('evil - "GET /y" 200 \x9b31m', 1)}, ignore, ignore))
    (line,) = [record.getMessage() for record in caplog.records if record.name == "jaxembed.access"]
    assert line.startswith(r'evil\x20-\x20\x22GET\x20/y\x22\x20200\x20\x9b31m "GET /x\x22\x20200\n" 404 ')


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/v1/embeddings",
            {
                "input": "a",
                "user": 5,
                **dict.fromkeys(("encoding_format", "priority", "embed_dtype", "endianness", "dimensions")),
            },
        ),
        ("/v1/embeddings", {"input": "a", "add_generation_prompt": None, "continue_final_message": None}),
        ("/v2/embed", {"texts": ["a"], "priority": None, "images": None, "embedding_types": None}),
        ("/tokenize", {"prompt": "a", "return_token_strs": None, "add_generation_prompt": None}),
        ("/rerank", {"query": "a", "documents": ["b"], "return_text": None, "truncation_direction": None}),
        ("/embed", {"inputs": "a", "truncation_direction": None, "normalize": None}),
    ],
)
def test_null_is_what_leaving_it_out_is(client, path, body):
    assert post(client, path, body)[0] == 200


def test_a_description_that_no_header_holds_is_refused(client):
    body = {"input": ["a"] * 2048, "encoding_format": "bytes"}
    status, text = post(client, "/v1/embeddings", body)
    assert (status, "bytes_only" in text) == (400, True)
    assert post(client, "/v1/embeddings", {**body, "encoding_format": "bytes_only"})[0] == 200
    short = client.post("/v1/embeddings", json={**body, "input": ["a"] * 500})
    assert len(json.loads(short.headers["metadata"])["data"]) == 500


def test_looking_needs_no_key_and_an_empty_key_opens_nothing(llm):
    for keys in (("k",), ("", "k"), ("",)):
        with served(llm, api_keys=keys) as client:
            for path in ("/health", "/ready", "/ping"):
                assert client.head(path).status_code == 200
            for header in ({}, {"authorization": "Bearer "}, {"authorization": "Bearer"}):
                assert client.get("/v1/models", headers=header).status_code == 401
