"""Bytes that are hardly HTTP, and bodies that are hardly requests: an answer or an end, and a server that goes on."""

import asyncio
import json
import random
from contextlib import suppress

import pytest
from crowd import Client, request
from processes import free_port

_AT_ONCE = 32
BODY = b'{"input": "a"}'
HEAD = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\ne\r\n" + BODY + b"\r\n0\r\n\r\n"
SEEDS = [
    WHOLE,
    CHUNKED,
    WHOLE + WHOLE,
    b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /health HTTP/1.0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    WHOLE.replace(b"Host: x\r\n", b"Host: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"),
    WHOLE.replace(b"Host: x\r\n", b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
    WHOLE.replace(b"Host: x\r\n", b"Host: x\r\nExpect: 100-continue\r\n"),
    HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + WHOLE,
    HEAD + b"Content-Length: 3\r\nContent-Length: 14\r\n\r\n" + BODY,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]
PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b" ",
    b":",
    b"\t",
    b"\xff",
    b"chunked",
    b"Content-Length: 1\r\n",
    b"0\r\n\r\n",
    b"ffffffff\r\n",
]
PIECES += [b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1", b"HTTP/9.9", b"%", b"A" * 5000, b"Connection: close\r\n", b";" * 50]
ROUTES = [
    "/v1/embeddings",
    "/pooling",
    "/v2/embed",
    "/score",
    "/rerank",
    "/tokenize",
    "/detokenize",
    "/embed",
    "/similarity",
    "/",
]
FIELDS = """input texts inputs query documents messages text_1 text_2 prompt tokens ids model dimensions truncate priority
task""".split()


def mutated(rng: random.Random) -> bytes:
    raw = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw) + 1)
        kind = rng.random()
        if kind < 0.4:
            raw[at:at] = rng.choice(PIECES)
        elif kind < 0.6:
            del raw[at : at + rng.randint(1, 20)]
        elif kind < 0.8 and at < len(raw):
            raw[at] = rng.randrange(256)
        else:
            raw[at:at] = rng.choice(SEEDS)[: rng.randint(1, 200)]
    return bytes(raw)


async def send(port: int, raw: bytes, rng: random.Random, limit: float) -> bytes:
    """Sends bytes, whole, in pieces or slowly, and returns what comes until the server closes or has nothing to say."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        cut = rng.randrange(len(raw) + 1) if rng.random() < 0.3 else len(raw)
        writer.write(raw[:cut])
        if cut < len(raw):
            await asyncio.sleep(rng.random() / 20)
            writer.write(raw[cut:])
        if rng.random() < 0.1:  # hangs up, politely or not
            if rng.random() < 0.5:
                writer.transport.abort()
            return answer
        async with asyncio.timeout(limit):
            while part := await reader.read(1 << 16):
                answer += part
    except OSError:
        pass
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return answer


def statuses_of(answer: bytes) -> set[int]:
    return {int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()}


@pytest.mark.abuse
def test_bytes_that_are_hardly_http_get_an_answer_or_an_end(start, amount, show):
    port = free_port()
    times = ["--head-timeout-seconds", "1", "--body-timeout-seconds", "1", "--keep-alive-seconds", "1"]
    server = start("--port", port, "--disable-uvicorn-access-log", *times)
    server.wait_ready()
    left, seen, before = amount(20_000, 500), set(), server.memory_mib()

    async def one(number: int) -> None:
        nonlocal left
        rng = random.Random(number)
        while left > 0:
            left -= 1
            raw = mutated(rng)
            try:
                seen.update(statuses_of(await send(int(port), raw, rng, 20)))
            except TimeoutError:
                raise AssertionError(f"neither answered nor closed: {raw!r}") from None

    async def all_() -> None:
        await asyncio.gather(*map(one, range(_AT_ONCE)))
        answer = await send(int(port), b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", random.Random(4), 20)
        assert statuses_of(answer) <= {200}

    asyncio.run(all_())
    show(statuses=sorted(seen), grown_mib=round(server.memory_mib() - before, 1), lines_of_log=len(server.lines))
    assert not {status for status in seen if status >= 500 and status != 503}
    assert server.memory_mib() - before < 50
    assert "Traceback" not in server.output
    assert len(server.lines) < 500
    assert server.end() == 0


def value(rng: random.Random, depth: int = 0):
    kind = rng.randrange(10 if depth < 4 else 6)
    if kind < 3:
        return rng.choice(["", "a", "a\x00b", "\ud800", "word " * 400, "ü" * 50])
    if kind < 6:
        return rng.choice([None, True, 0, -1, 2**31, 2**64, 1e308, 5, 30_521, 30_522])
    if kind < 8:
        return [value(rng, depth + 1) for _ in range(rng.choice([0, 1, 3, 30]))]
    return {rng.choice([*FIELDS, "role", "content", "type", "text"]): value(rng, depth + 1) for _ in range(rng.randint(0, 4))}


@pytest.mark.abuse
def test_bodies_that_are_hardly_requests_are_the_clients_error(start, amount, show):
    port = free_port()
    template = "{{ messages | tojson }}"
    server = start("--port", port, "--disable-uvicorn-access-log", "--chat-template", template, "--max-wait-seconds", "60")
    server.wait_ready()
    left, seen = amount(50_000, 1_000), {}

    async def one(number: int) -> None:
        nonlocal left
        rng, client = random.Random(number), Client(int(port))
        while left > 0:
            left -= 1
            body = {rng.choice(FIELDS): value(rng) for _ in range(rng.randint(1, 5))}
            content = json.dumps(body).encode()
            if rng.random() < 0.1:
                content = content[: rng.randrange(len(content) + 1)]
            raw = request({}, rng.choice(ROUTES)).replace(
                b"Content-Length: 2\r\n\r\n{}", b"Content-Length: %d\r\n\r\n" % len(content)
            )
            answer = await client.ask(raw + content)
            assert answer.status != 500, (body, answer.body[:300])
            seen[answer.status] = seen.get(answer.status, 0) + 1
        client.close()

    async def all_() -> None:
        await asyncio.gather(*map(one, range(_AT_ONCE)))

    asyncio.run(all_())
    show(statuses=dict(sorted(seen.items())))
    assert not {status for status in seen if status >= 500 and status not in (501, 503)}
    assert 0 not in seen
    assert "Traceback" not in server.output
    assert server.end() == 0
