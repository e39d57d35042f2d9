"""A device that fails while it is asked: at the start of a row, in its end, on the way back, in the compiler, for long.

Whatever happens, what is open is answered within a second, and an answer is its own text's vectors.
"""

import asyncio
import random
import time

import numpy as np
import orjson
import pytest
from amounts import nightly
from crowd import Client, request
from listening import listening

from jaxembed.heads.vectors import EMBED

TEXTS = [f"a river of stone number {number} " * (1 + number % 7) for number in range(40)]


class Faulty:
    """A real engine that fails when it is told to."""

    def __init__(self, engine) -> None:
        self.engine, self.table = engine, engine.table
        self.at, self.error, self.silent = None, OSError("the device is gone"), 0.0

    def start(self, task, row, texts):
        if self.at == "start":
            raise self.error
        return self.engine.start(task, row, texts)

    def finish(self, task, row, texts, output):
        if self.at == "finish":
            raise self.error
        results = self.engine.finish(task, row, texts, output)
        if self.at == "transfer":  # the row ran, and what came of it is lost
            raise self.error
        return results


def vectors_of(answer) -> np.ndarray:
    return np.array([each["embedding"] for each in orjson.loads(answer.body)["data"]], np.float32)


async def asking(port: int, expected: dict, seconds: float, seen: list) -> None:
    """Four clients ask until the time is over; each notes when, the status, how long it took, and whether it was its own."""
    end, rng = time.monotonic() + seconds, random.Random(0)

    async def one() -> None:
        client = Client(port)
        while time.monotonic() < end:
            texts = rng.sample(TEXTS, rng.randint(1, 6))
            answer = await client.ask(request({"input": texts}))
            own = answer.status != 200 or np.allclose(
                vectors_of(answer), np.stack([expected[text] for text in texts]), atol=2e-5
            )
            seen.append((time.monotonic(), answer.status, answer.seconds, own, answer.headers.get("retry-after")))
            await asyncio.sleep(0.002 if answer.status == 200 else 0.05)
        client.close()

    await asyncio.gather(*[one() for _ in range(4)])


def disturbed(llm, at: str, seconds: float, after: float, error: BaseException) -> tuple[list, float, float]:
    """Serves, lets the device fail for some seconds, and goes on. Returns what was seen, and when it was gone and back."""
    llm.engine.warm_up()
    expected = {text: np.asarray(one.outputs.embedding) for text, one in zip(TEXTS, llm.embed(TEXTS), strict=True)}
    faulty, seen = Faulty(llm.engine), []
    faulty.error = error

    async def run(port: int) -> tuple[float, float]:
        clients = asyncio.ensure_future(asking(port, expected, 1 + seconds + after, seen))
        await asyncio.sleep(1)
        faulty.at, gone = at, time.monotonic()
        await asyncio.sleep(seconds)
        faulty.at, back = None, time.monotonic()
        await clients
        return gone, back

    with listening(llm, runner=faulty) as server:
        gone, back = asyncio.run(run(server.port))
    return seen, gone, back


@pytest.mark.abuse
@pytest.mark.parametrize("at", ["start", "finish", "transfer"])
@pytest.mark.parametrize(
    "error", [OSError("the device is gone"), pytest.param(MemoryError(), marks=nightly)], ids=["error", "memory"]
)
def test_what_is_open_is_answered_and_what_comes_later_is_served(llm, amount, show, at, error):
    seen, gone, back = disturbed(llm, at, amount(10, 1), amount(12, 4), error)
    statuses = {status for _, status, *_ in seen}
    served_again = min((when for when, status, *_ in seen if when > back and status == 200), default=float("inf")) - back
    slowest = max((took for when, status, took, *_ in seen if gone < when and status != 200), default=0.0)
    figures = {"served_again_s": round(served_again, 1), "slowest_refusal_s": round(slowest, 2)}
    show(statuses=sorted(statuses), answers=len(seen), **figures)
    assert statuses == {200, 503}
    assert served_again < 10
    assert slowest < 2.0  # one second, and a busy machine
    assert all(own for *_, own, _ in seen), "a vector of another text"
    assert all(retry is not None and 1 <= int(retry) <= 10 for _, status, _, _, retry in seen if status == 503)


@nightly
@pytest.mark.abuse
def test_a_device_that_is_gone_for_long_is_served_again_soon(llm, amount, show):
    seen, _, back = disturbed(llm, "start", amount(60, 8), 12, OSError("the device is gone"))
    served_again = min(when for when, status, *_ in seen if when > back and status == 200) - back
    show(served_again_s=round(served_again, 1))
    assert served_again < 10
    assert all(own for *_, own, _ in seen)


@pytest.mark.abuse
def test_a_compiler_that_fails_does_not_fail_for_ever(llm, show, monkeypatch):
    programs = llm.engine._programs
    lowered, failures = programs.lowered, iter([MemoryError("no memory to compile"), OSError("no compiler")])

    def failing(task, shape):
        error = next(failures, None)
        if error is not None:
            raise error
        return lowered(task, shape)

    monkeypatch.setattr(programs, "lowered", failing)
    monkeypatch.setattr(programs, "_futures", {key: one for key, one in programs._futures.items() if key[0] is EMBED})
    statuses = []

    async def run(port: int) -> None:
        client, end = Client(port), time.monotonic() + 40
        while time.monotonic() < end and (not statuses or statuses[-1] != 200):
            statuses.append((await client.ask(request({"input": "a", "task": "token_embed"}, "/pooling"))).status)
            await asyncio.sleep(0.3)
        client.close()

    with listening(llm) as server:
        asyncio.run(run(server.port))
    show(statuses=statuses)
    assert statuses[-1] == 200
    assert set(statuses) == {200, 503}
