"""Bodies as clients write them: compressed, in other charsets, with half an emoji; served, or refused with the true cause."""

import gzip
import json
import zlib

import pytest
from fakes import FakeRunner
from served import served

from jaxembed.server.decoding import charset_of

JSON = {"content-type": "application/json"}
BODY = json.dumps({"input": ["a café", "🐇"]}, ensure_ascii=False)


@pytest.fixture(scope="module")
def client(llm):
    with served(llm) as client:
        yield client


def ask(client, body: bytes, path="/v1/embeddings", **headers):
    return client.post(path, content=body, headers={**JSON, **{name.replace("_", "-"): text for name, text in headers.items()}})


def vectors(answer) -> list:
    assert answer.status_code == 200, answer.text
    return [item["embedding"] for item in answer.json()["data"]]


@pytest.mark.parametrize(
    ("path", "body", "whole"),
    [
        ("/v1/embeddings", rb'{"input": ["fine", "half \ud83d"]}', {"input": ["fine", "half \ufffd"]}),
        ("/v1/embeddings", rb'{"input": "\udc00 half"}', {"input": "\ufffd half"}),
        ("/v1/embeddings", rb'{"input": "\uD83D\uD83D\uDE00 \uDE00"}', {"input": "\ufffd😀 \ufffd"}),
        ("/embed", rb'{"inputs": ["\ud800a\udbff"]}', {"inputs": ["\ufffda\ufffd"]}),
        ("/v2/embed", rb'{"texts": ["x \udfff"]}', {"texts": ["x \ufffd"]}),
        ("/rerank", rb'{"query": "\ud800", "documents": ["\udfff", "b"]}', {"query": "\ufffd", "documents": ["\ufffd", "b"]}),
        ("/tokenize", rb'{"prompt": "\ud83d \\ud83d"}', {"prompt": "\ufffd \\ud83d"}),
    ],
)
def test_half_a_pair_is_the_replacement_character(client, path, body, whole):
    def told(answer):
        assert answer.status_code == 200, answer.text
        found = answer.json()
        return {key: found[key] for key in found if key not in ("id", "created")} if isinstance(found, dict) else found

    assert told(ask(client, body, path)) == told(client.post(path, json=whole))


@pytest.mark.parametrize(
    "body",
    [
        rb'{"input": "\ud83d}',
        rb'{"input": "\ud83d", "x": NaN}',
        rb'{"input": "\ud83"}',
        b'{"x": "\\ud83d", "input": ' + b"[" * 5000,
    ],
)
def test_what_is_no_json_for_another_reason_stays_a_400(client, body):
    answer = ask(client, body)
    assert (answer.status_code, "is not valid JSON" in answer.json()["message"]) == (400, True)


@pytest.mark.parametrize(("name", "compress"), [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_says_the_same(client, name, compress):
    assert vectors(ask(client, compress(BODY.encode()), content_encoding=name)) == vectors(ask(client, BODY.encode()))
    long = json.dumps({"input": ["a", "b"], "user": "u" * 3_000_000}).encode()
    assert len(vectors(ask(client, compress(long), content_encoding=name))) == 2


@pytest.mark.parametrize(
    ("body", "encoding", "status", "message"),
    [
        (BODY.encode(), "gzip", 400, "not what its Content-Encoding says"),
        (gzip.compress(BODY.encode())[:-9], "gzip", 400, "ends too early"),
        (gzip.compress(BODY.encode()) + b"more", "gzip", 400, "something else"),
        (BODY.encode(), "br", 415, "Content-Encoding: br"),
        (BODY.encode(), "gzip, gzip", 415, "gzip, deflate"),
    ],
)
def test_what_is_not_compressed_as_it_says_is_told_so(client, body, encoding, status, message):
    answer = ask(client, body, content_encoding=encoding)
    assert (answer.status_code, message in answer.json()["message"]) == (status, True)
    assert ("gzip" in answer.headers.get("accept-encoding", "")) == (status == 415)


def test_a_bomb_is_refused_before_it_is_whole(llm):
    with served(llm, runner=FakeRunner(table=llm.engine.table), max_body_bytes=1 << 22) as client:
        bomb = gzip.compress(b" " * (1 << 26))
        assert len(bomb) < 1 << 17
        assert ask(client, bomb, content_encoding="gzip").status_code == 413
        assert ask(client, BODY.encode()).status_code == 200
    with served(llm, runner=FakeRunner(table=llm.engine.table), max_open_bytes=1 << 22) as client:
        assert ask(client, bomb, content_encoding="gzip").status_code == 429
        assert ask(client, BODY.encode()).status_code == 200


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "utf-16", "UTF-16LE", '"utf-8"', "us-ascii", "utf-32"])
def test_a_charset_that_is_named_is_read(client, charset):
    python = charset.strip('"').lower().replace("windows-", "cp")
    text = '{"input": "a \\u00e9t\\u00e9"}' if python == "us-ascii" else '{"input": "a été"}'
    answer = client.post(
        "/v1/embeddings", content=text.encode(python), headers={"content-type": f"application/json; charset={charset}"}
    )
    assert vectors(answer) == vectors(ask(client, b'{"input": "a \\u00e9t\\u00e9"}'))


@pytest.mark.parametrize(
    ("body", "charset", "status", "message"),
    [
        ('{"input": "café"}'.encode("latin-1"), "", 400, "0xe9 at 14"),
        ('{"input": "café"}'.encode("latin-1"), "utf-8", 400, "UTF-8"),
        ('{"input": "café"}'.encode("utf-16"), "", 400, "charset=utf-16"),
        (b'{"input": "a"}', "rot13", 415, "'rot13'"),
        (b'{"input": "a"}', "zlib_codec", 415, "UTF-8"),
        (b'{"input": "a" }', "utf-32", 400, "utf-32"),
    ],
)
def test_what_is_not_of_its_charset_is_told_so(client, body, charset, status, message):
    kind = f"application/json; charset={charset}" if charset else "application/json"
    answer = client.post("/v1/embeddings", content=body, headers={"content-type": kind})
    assert (answer.status_code, message in answer.json()["message"]) == (status, True)
    assert "surrogate" not in answer.text


def test_a_byte_order_mark_is_no_part_of_json(client):
    assert vectors(ask(client, b"\xef\xbb\xbf" + BODY.encode())) == vectors(ask(client, BODY.encode()))


def test_the_charset_is_found_among_other_parameters():
    assert charset_of("application/json") == charset_of("application/json; q=1") == ""
    assert charset_of('application/json; q=1 ; Charset="ISO-8859-1"') == "iso-8859-1"
