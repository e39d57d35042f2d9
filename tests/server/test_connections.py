"""What comes before a request is one: heads, paths, idle connections, offers to speak something else, and what is no HTTP."""

import json
import logging
import socket
import time

import pytest
from fakes import FakeRunner
from listening import connected, everything, listening, say

BODY = b'{"input": "a"}'
POST = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
WHOLE = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n"
CLOSE = b"Connection: close\r\n\r\n"


@pytest.fixture(scope="module")
def server(llm):
    with listening(llm, runner=FakeRunner(table=llm.engine.table), head_timeout_seconds=1.0) as server:
        yield server


def statuses(raw: bytes) -> list[int]:
    return [int(part[:3]) for part in raw.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (GET + b"X-Long: " + b"a" * (100 << 10) + b"\r\n" + CLOSE, 431),
        (GET + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(70)) + CLOSE, 431),
        (GET + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(60)) + CLOSE, 200),
        (GET + b"a" * (100 << 10) + b": 1\r\n" + CLOSE, 431),
        (b"GET /" + b"a" * (17 << 10) + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE, 414),
        (b"GET /health?" + b"a" * (17 << 10) + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE, 414),
        (b"GET /health?" + b"a" * (15 << 10) + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE, 200),
        (b"no http at all\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ],
)
def test_a_head_has_a_size_and_what_is_beyond_it_is_an_answer_in_json(server, raw, status):
    answer, seconds = say(server.port, raw)
    assert statuses(answer) == [status]
    assert seconds < 5
    if status != 200:
        assert b"connection: close" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == status


@pytest.mark.parametrize("piece", [b"X-Endless: ", b"a" * 65536, b"X-%06d: b\r\n" * 4000, b"\r\n X-Folded"])
def test_a_head_without_end_is_not_kept(server, piece):
    with connected(server.port) as one:
        one.sendall(GET)
        sent = 0
        try:
            while sent < 30 << 20:
                sent += one.send(piece)
        except OSError:
            pass
    assert sent < 30 << 20, "it would have been listened to for ever"


TAIL = POST + b"Transfer-Encoding: chunked\r\n\r\ne\r\n" + BODY + b"\r\n0\r\n"


@pytest.mark.parametrize("rest", [b"X-Endless: " + b"a" * 200_000, b"X-A: b\r\n" * 20_000])
@pytest.mark.parametrize("keys", [(), ("k",)], ids=["open", "guarded"])
def test_fields_behind_a_body_have_a_size_too(llm, rest, keys):
    with listening(llm, runner=FakeRunner(table=llm.engine.table), api_keys=keys) as server:
        answer, seconds = say(server.port, TAIL, rest, pause=0.3)
        assert statuses(answer) == [401 if keys else 431]
        assert seconds < 5


def test_fields_behind_a_body_are_passed_over(server):
    answer, _ = say(server.port, TAIL + b"Content-Type: text/plain\r\nX-A: b\r\n\r\n" + GET + CLOSE)
    assert statuses(answer) == [200, 200]


def test_a_size_of_a_chunk_has_no_endless_words_beside_it(server):
    answer, _ = say(server.port, POST + b"Transfer-Encoding: chunked\r\n\r\ne;" + b"a" * 200_000)
    assert statuses(answer) == [431]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(b"", []), (b"\r\n", []), (GET, [408]), (b"GE", [408]), (GET + b"\r\n" + b"GET /heal", [200, 408])],
    ids=["nothing", "an empty line", "half a head", "half a word", "half a second head"],
)
def test_a_head_has_a_time(server, raw, expected):
    answer, seconds = say(server.port, raw)
    assert statuses(answer) == expected
    assert 0.9 < seconds < 6


def test_a_head_that_drips_has_no_more_time(server):
    with connected(server.port) as one:
        begin = time.monotonic()
        one.sendall(GET)
        while time.monotonic() - begin < 8:
            try:
                one.sendall(b"X-A: b\r\n")
            except OSError:
                break
            time.sleep(0.1)
        assert time.monotonic() - begin < 5


def test_the_rest_of_a_body_that_is_answered_has_a_time(llm):
    settings = {"api_keys": ("k",), "head_timeout_seconds": 0.5}
    with listening(llm, runner=FakeRunner(), **settings) as server, connected(server.port) as one:
        one.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        begin = time.monotonic()
        while time.monotonic() - begin < 8:
            try:
                one.sendall(b"1\r\na\r\n")
            except OSError:
                break
            time.sleep(0.05)
        assert time.monotonic() - begin < 4


def test_a_connection_is_kept_between_requests_as_long_as_it_says(llm):
    settings = {"keep_alive_seconds": 1.5, "head_timeout_seconds": 0.3}
    with listening(llm, runner=FakeRunner(), **settings) as server, connected(server.port) as one:
        for _ in range(3):
            one.sendall(WHOLE)
            assert one.recv(1 << 16).startswith(b"HTTP/1.1 200")
            time.sleep(0.6)
        begin = time.monotonic()
        assert everything(one, begin + 10) == b""
        assert 0.5 < time.monotonic() - begin < 4


@pytest.mark.parametrize("offer", [b"h2c", b"websocket", b"TLS/1.0, h2c"])
@pytest.mark.parametrize("cut", [None, 1, 40, 120, 200, 260])
def test_an_offer_to_speak_something_else_is_passed_over(server, offer, cut):
    head = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + offer + b"\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    raw = WHOLE.replace(b"Host: x\r\n", b"Host: x\r\n" + head)
    pieces = [raw] if cut is None else [raw[:cut], raw[cut:]]
    with connected(server.port) as one:
        for _ in range(2):  # the connection lives on
            for piece in pieces:
                one.sendall(piece)
                time.sleep(0.02 if cut else 0)
            answer = one.recv(1 << 16)
            assert answer.startswith(b"HTTP/1.1 200"), answer
            assert b'"embedding"' in answer


def test_offers_in_a_pipeline_of_chunks_are_answered_in_order(server):
    offer = b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = POST + offer + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    answer, _ = say(server.port, chunked * 5 + GET + b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n")
    assert statuses(answer) == [200] * 6


def test_a_pipeline_is_answered_up_to_a_depth_and_closed_behind_it(server):
    answer, _ = say(server.port, (GET + b"\r\n") * 12 + GET + CLOSE)
    assert statuses(answer) == [200] * 13
    answer, _ = say(server.port, (GET + b"\r\n") * 300)
    assert 1 <= len(statuses(answer)) <= 300
    assert set(statuses(answer)) == {200}
    assert answer.count(b"connection: close") == 1


SMUGGLED = {
    "two lengths": b"Content-Length: 14\r\nContent-Length: 2\r\n\r\n" + BODY,
    "length and chunks": b"Content-Length: 14\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length with a sign": b"Content-Length: +14\r\n\r\n" + BODY,
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked is not last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Content-Length : 14\r\n\r\n" + BODY,
    "a bare line feed": b"X: y\nContent-Length: 14\r\n\r\n" + BODY,
    "a bad chunk": b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
}


@pytest.mark.parametrize("rest", SMUGGLED.values(), ids=SMUGGLED)
def test_a_length_that_two_readers_may_read_differently_is_refused(server, rest):
    answer, _ = say(server.port, POST + rest + WHOLE)
    assert statuses(answer)[-1] == 400
    assert b"connection: close" in answer
    assert len(statuses(answer)) == 1


def test_what_is_no_http_never_cuts_into_an_answer_before_it(server, caplog):
    with caplog.at_level(logging.INFO):
        for bad in (b"\x00\x01garbage\r\n\r\n", GET + b"X-Long: " + b"a" * (90 << 10)):
            answer, _ = say(server.port, WHOLE + WHOLE + bad)
            assert statuses(answer) == [200, 200]
            assert answer.count(b'"embedding":[') == 2
            assert answer.count(b"connection: close") == 1
        raw = [WHOLE + b"\x00\x01\r\n\r\n", WHOLE + POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n"]
        for number in range(100):
            with connected(server.port) as one:
                one.sendall(raw[number % 2])
                if number % 3 == 0:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    assert "Traceback" not in caplog.text


def test_one_line_a_second_says_that_heads_are_refused(server, caplog):
    with caplog.at_level(logging.INFO):
        for _ in range(100):
            say(server.port, b"no http\r\n\r\n" + CLOSE)
    lines = [record for record in caplog.records if "refused before the gate" in record.getMessage()]
    assert len(lines) < 30
    assert server.config.app.state.door.refused["Bad Request"] >= 100


def test_one_connection_too_many_is_told_so_and_may_still_look(llm):
    with listening(llm, runner=FakeRunner(), max_connections=10) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10)]
        for _ in range(20):
            answer, _ = say(server.port, WHOLE)
            assert statuses(answer) == [503]
            assert b"retry-after: 1\r\n" in answer
            assert b"--max-connections" in answer
            answer, _ = say(server.port, GET + b"\r\n")
            assert statuses(answer) == [200]
            assert b"connection: close" in answer
        more = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
        time.sleep(0.3)
        assert len(server.server_state.connections) <= 10 + 8 + 1
        assert statuses(say(server.port, GET + b"\r\n")[0]) == [200]
        for one in (*idle, *more):
            one.close()
        time.sleep(0.3)
        assert statuses(say(server.port, WHOLE.replace(b"Host: x", b"Host: x\r\nConnection: close"))[0]) == [200]


def test_unfinished_heads_of_all_connections_have_one_limit(llm, monkeypatch):
    monkeypatch.setattr("jaxembed.server.door.MOST_KEPT_BYTES", 100 << 10)
    with listening(llm, runner=FakeRunner()) as server:
        held = []
        for _ in range(20):
            held.append(socket.create_connection(("127.0.0.1", server.port)))
            held[-1].sendall(GET + b"X: " + b"a" * 15_000)
        time.sleep(0.3)
        assert server.config.app.state.door._kept <= 100 << 10
        assert statuses(say(server.port, WHOLE.replace(b"Host: x", b"Host: x\r\nConnection: close"))[0]) == [200]
        for one in held:
            one.close()
        time.sleep(0.3)
        assert server.config.app.state.door._kept == 0


def test_an_answer_that_nobody_takes_is_not_kept_for_ever(llm):
    settings = {"request_timeout_seconds": 1.0}
    with listening(llm, runner=FakeRunner(table=llm.engine.table), **settings) as server, connected(server.port) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = json.dumps({"inputs": ["a " * 250] * 600}).encode()
        one.sendall(POST.replace(b"/v1/embeddings", b"/tokenize") + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        until = time.monotonic() + 15
        while server.server_state.connections and time.monotonic() < until:
            time.sleep(0.05)
        assert not server.server_state.connections


def test_two_authorization_headers_are_refused(llm):
    with listening(llm, runner=FakeRunner(), api_keys=("k",)) as server:
        for keys in (["k", "wrong"], ["wrong", "k"], ["k", "k"]):
            lines = b"".join(b"Authorization: Bearer %s\r\n" % key.encode() for key in keys)
            answer, _ = say(server.port, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + lines + CLOSE)
            assert statuses(answer) == [400]
            assert b"Authorization" in answer
