"""Many clients at once, cheap enough to leave the machine to the server: bare HTTP/1.1 over asyncio."""

import asyncio
import random
import time
from dataclasses import dataclass, field

import orjson


@dataclass
class Seen:
    """One answer. status 0: no answer, because the connection broke."""

    status: int
    seconds: float
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def request(body: dict, path: str = "/v1/embeddings") -> bytes:
    """Returns a whole HTTP request."""
    content = orjson.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Client:
    """One connection, opened again when it breaks."""

    def __init__(self, port: int) -> None:
        self.port, self.writer = port, None

    async def ask(self, message: bytes) -> Seen:
        begin = time.perf_counter()
        try:
            if self.writer is None:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            self.writer.write(message)
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
            body = await self.reader.readexactly(int(headers["content-length"]))
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return Seen(0, time.perf_counter() - begin)
        if headers.get("connection") == "close":
            self.close()
        return Seen(int(head[0].split()[1]), time.perf_counter() - begin, headers, body)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


async def closed_loop(port: int, message: bytes, *, clients: int, seconds: float) -> list[Seen]:
    """Each client asks again as soon as it is answered: what comes out is what the server can do."""
    end = time.perf_counter() + seconds

    async def one() -> list[Seen]:
        client, seen = Client(port), []
        while time.perf_counter() < end:
            seen.append(await client.ask(message))
        client.close()
        return seen

    return [seen for each in await asyncio.gather(*[one() for _ in range(clients)]) for seen in each]


async def open_loop(
    port: int, message: bytes, *, per_second: float, seconds: float, leave: float = 0.0, seed: int = 0
) -> tuple[list[Seen], int]:
    """Requests come at random times, answered or not. leave: the part that hangs up before the answer; returned as a count."""
    rng = random.Random(seed)
    free: list[Client] = []
    seen: list[Seen] = []
    left = 0

    async def one(leaves: bool) -> None:
        nonlocal left
        client = free.pop() if free else Client(port)
        if leaves:
            try:
                await asyncio.wait_for(client.ask(message), rng.uniform(0, 0.3))
            except TimeoutError:
                left += 1
            client.close()
            return
        seen.append(await client.ask(message))
        free.append(client)

    begin, due, tasks = time.perf_counter(), 0.0, []
    while due < seconds:
        await asyncio.sleep(max(0.0, begin + due - time.perf_counter()))
        tasks.append(asyncio.ensure_future(one(rng.random() < leave)))
        due += rng.expovariate(per_second)
    await asyncio.gather(*tasks)
    for client in free:
        client.close()
    return seen, left
