"""Chat templates and tokenizers from strangers hold up nobody but those who use them."""

import asyncio
import time

import pytest
import tokenizers
from crowd import Client, Seen, request
from fakes import FakeRunner
from listening import listening
from served import served
from tokenizers import Regex, models, pre_tokenizers

from jaxembed.errors import InputError
from jaxembed.inputs.tokenizer import Tokenizer

BOMB = "{% for i in range(99999) %}{{ i | string | center(9999999) | length }}{% endfor %}"
MESSAGES = {"messages": [{"role": "user", "content": "hi"}]}
HONEST = {"messages": [{"role": "user", "content": "hi"}], "chat_template": "{{ messages[0].content }}"}


async def ask(port: int, message: bytes) -> Seen:
    client = Client(port)
    seen = await client.ask(message)
    client.close()
    await asyncio.sleep(0)
    return seen


async def beside(port: int, body: dict, path: str, count: int = 4) -> tuple[list, list]:
    """Asks for something costly some times at once, and looks at `/health` meanwhile."""
    costly = [asyncio.ensure_future(ask(port, request(body, path))) for _ in range(count)]
    health = []
    while not all(one.done() for one in costly):
        health.append(await ask(port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"))
        await asyncio.sleep(0.02)
    return [one.result() for one in costly], health


@pytest.mark.parametrize("path", ["/v1/embeddings", "/tokenize", "/v2/embed"])
def test_a_template_without_end_holds_up_nobody_else(llm, path):
    body = MESSAGES if path != "/v2/embed" else {"inputs": [{"content": [{"type": "text", "text": "a"}]}]}
    with listening(llm, runner=FakeRunner(table=llm.engine.table), chat_template=BOMB) as server:
        answers, health = asyncio.run(beside(server.port, body, path, 2))
    assert {answer.status for answer in answers} == {400}
    assert all(b"chat template" in answer.body for answer in answers)
    assert {one.status for one in health} <= {200}
    assert all(one.seconds < 2 for one in health)


def test_a_template_of_a_request_is_rendered_apart_too(llm):
    with served(llm, runner=FakeRunner(table=llm.engine.table), trust_request_chat_template=True) as client:
        for source in ("{{ 'a' * 10**10 }}", BOMB, "{% for %}", "{{ '\\ud800' }}"):
            answer = client.post("/v1/embeddings", json={**MESSAGES, "chat_template": source})
            assert (answer.status_code, "Traceback" in answer.text) == (400, False)
        assert client.post("/v1/embeddings", json=HONEST).status_code == 200
        kwargs = {"chat_template_kwargs": {"n": 10**10}, "chat_template": "{{ 'a' * n }}"}
        assert client.post("/v1/embeddings", json={**MESSAGES, **kwargs}).status_code == 400


@pytest.fixture
def wild(llm):
    """The model with a tokenizer whose expression goes back and forth."""
    rust = tokenizers.Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.Split(Regex(r"(a+)+$"), "isolated")
    encoder = llm.engine.model.encoder
    before = encoder.tokenizer
    object.__setattr__(encoder, "tokenizer", Tokenizer(rust))
    yield llm
    object.__setattr__(encoder, "tokenizer", before)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/tokenize", "/embed", "/rerank"])
def test_a_panicking_tokenizer_is_a_400_and_holds_up_nobody_else(wild, path):
    text = "a" * 40 + "b"
    bodies = {
        "/v1/embeddings": {"input": text},
        "/tokenize": {"prompt": text},
        "/embed": {"inputs": text},
        "/rerank": {"query": text, "documents": ["a"]},
    }
    with listening(wild, runner=FakeRunner(table=wild.engine.table)) as server:
        answers, health = asyncio.run(beside(server.port, bodies[path], path))
    assert {answer.status for answer in answers} <= {400, 422}
    assert all(b"tokenizer" in answer.body for answer in answers)
    assert {one.status for one in health} <= {200}
    assert all(one.seconds < 2 for one in health)


def test_a_tokenizer_that_does_not_end_is_a_503_at_the_deadline(wild, monkeypatch):
    def slow(*arguments, **options):
        time.sleep(1.5)
        raise InputError("it ended", field="prompts")

    settings = {"request_timeout_seconds": 0.3}
    with served(wild, runner=FakeRunner(table=wild.engine.table), **settings) as client:
        monkeypatch.setattr(client.service, "_texts", slow)
        begin = time.monotonic()
        answer = client.post("/v1/embeddings", json={"input": "a"})
        assert time.monotonic() - begin < 1.2
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert client.service.threads.held == 1


def test_a_panic_anywhere_is_a_500_in_the_apis_shape(llm, monkeypatch, caplog):
    class PanicException(BaseException):
        pass

    def panic(*arguments, **options):
        raise PanicException("index out of bounds")

    with listening(llm, runner=FakeRunner()) as server:
        monkeypatch.setattr(server.service, "check_model", panic)
        (answer,), _ = asyncio.run(beside(server.port, {"texts": ["a"], "model": "x"}, "/v2/embed", 1))
        assert answer.status == 500
        assert b'"message"' in answer.body
        assert b"out of bounds" not in answer.body
        text = asyncio.run(ask(server.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")).body.decode()
        assert 'status="500"' in text
        assert 'status="499"' not in text
