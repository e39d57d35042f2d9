"""More than a server can take: what it answers, how fast, and what is left of it."""

import asyncio
import re
import statistics
import time
from itertools import pairwise

import httpx2 as httpx
from crowd import closed_loop, open_loop, request
from processes import free_port

TEXT = "The quick brown fox jumps over the lazy dog near the bank of the river where it drank. " * 2
TEXTS_A_REQUEST, TEXTS_OF_BULK = 8, 48
DEADLINE, MOST_WAIT = 10.0, 2.0
BODY = {"input": [TEXT] * TEXTS_A_REQUEST, "encoding_format": "base64"}
BULK = {"input": [TEXT] * TEXTS_OF_BULK, "encoding_format": "base64"}
# The part of the tokens that bulk work gets while queries keep coming (jaxembed/engine/queue.py).
BULK_SHARE = 0.25


def metric(url: str, name: str) -> float:
    found = re.search(rf"^jaxembed_{name} (\S+)$", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    return float(found[1])


def goodput(seen, seconds: float, texts: int = TEXTS_A_REQUEST) -> float:
    return sum(one.status == 200 for one in seen) * texts / seconds


def quiet(url: str) -> None:
    """Waits until nothing is open any more."""
    end = time.monotonic() + DEADLINE
    while metric(url, "open_requests") and time.monotonic() < end:
        time.sleep(0.05)


def overload(start, *, slices: int, seconds: float, saturation_seconds: float) -> dict:
    """Offers a server 4 times what it can serve, a tenth of the clients hanging up; returns what was seen.

    Slices of overload alternate with slices of saturation, because the speed of a shared machine drifts: each is compared with
    its neighbors.
    """
    port = free_port()
    limits = ["--max-wait-seconds", f"{MOST_WAIT:g}", "--request-timeout-seconds", str(DEADLINE)]
    server = start("--port", port, "--disable-uvicorn-access-log", *limits)
    url, number = server.wait_ready(), int(port)
    message = request(BODY)

    def saturated() -> float:
        return goodput(asyncio.run(closed_loop(number, message, clients=8, seconds=saturation_seconds)), saturation_seconds)

    asyncio.run(closed_loop(number, message, clients=8, seconds=2))  # the server learns its rate
    memory, capacity = server.memory_mib(), [saturated()]
    rates, offered, answers, left = [], [], [], 0
    for turn in range(slices):
        offered.append(4 * max(capacity))
        begin = time.perf_counter()
        arrivals = {"per_second": offered[-1] / TEXTS_A_REQUEST, "seconds": seconds, "leave": 0.1, "seed": turn}
        seen, gone = asyncio.run(open_loop(number, message, **arrivals))
        rates.append(goodput(seen, time.perf_counter() - begin))
        answers, left = answers + seen, left + gone
        capacity.append(saturated())
    quiet(url)
    between = [(a + b) / 2 for a, b in pairwise(capacity)]
    result = {
        "saturation": [round(one, 1) for one in capacity],
        "offered": [round(one, 1) for one in offered],
        "goodput": [round(one, 1) for one in rates],
        "ratio": statistics.median(rate / full for rate, full in zip(rates, between, strict=True)),
        **described(answers),
        "slowest accepted": max(one.seconds for one in answers if one.status == 200),
        "hung up": left,
        **afterwards(server, url, memory),
    }
    assert server.end() == 0
    return result


def mixed_overload(start, *, seconds: float) -> dict:
    """Offers twice what a server can serve in queries and twice in bulk; returns what was seen of each lane."""
    port = free_port()
    limits = ["--max-wait-seconds", f"{MOST_WAIT:g}", "--request-timeout-seconds", "30"]
    server = start("--port", port, "--disable-uvicorn-access-log", *limits)
    url, number = server.wait_ready(), int(port)
    asyncio.run(closed_loop(number, request(BODY), clients=8, seconds=2))
    full = goodput(asyncio.run(closed_loop(number, request(BULK), clients=4, seconds=5)), 5, TEXTS_OF_BULK)
    memory = server.memory_mib()

    async def both():
        quick = {"per_second": 2 * full / TEXTS_A_REQUEST, "seconds": seconds, "leave": 0.05}
        bulk = {"per_second": 2 * full / TEXTS_OF_BULK, "seconds": seconds, "leave": 0.05, "seed": 1}
        return await asyncio.gather(open_loop(number, request(BODY), **quick), open_loop(number, request(BULK), **bulk))

    begin = time.perf_counter()
    (quick, _), (bulk, _) = asyncio.run(both())
    taken = time.perf_counter() - begin
    quiet(url)
    rate = goodput(quick, taken) + goodput(bulk, taken, TEXTS_OF_BULK)
    result = {
        "saturation": round(full, 1),
        "ratio": round(rate / full, 2),
        **described([*quick, *bulk]),
        "quick p50, p99": [round(percentile(quick, part), 2) for part in (0.5, 0.99)],
        "bulk p50, p99": [round(percentile(bulk, part), 2) for part in (0.5, 0.99)],
        # Beside the wait that was promised: its own texts at its lane's part of the rate that there was meanwhile.
        "own seconds": {
            "quick": round(TEXTS_A_REQUEST / min(rate, full) / (1 - BULK_SHARE), 2),
            "bulk": round(TEXTS_OF_BULK / min(rate, full) / BULK_SHARE, 2),
        },
        "missed deadlines": missed(url),
        **afterwards(server, url, memory),
    }
    assert server.end() == 0
    return result


def missed(url: str) -> float:
    """How many requests were taken and then not answered in time."""
    found = re.search(
        r'^jaxembed_ended_requests_total\{how="deadline"\} (\S+)$', httpx.get(f"{url}/metrics").text, re.MULTILINE
    )
    return float(found[1]) if found else 0.0


def percentile(seen, part: float) -> float:
    taken = sorted(one.seconds for one in seen if one.status == 200)
    return taken[int(part * len(taken))]


def described(answers) -> dict:
    statuses = {one.status for one in answers}
    return {
        "statuses": {status: sum(one.status == status for one in answers) for status in sorted(statuses)},
        "refusals without Retry-After": sum(one.status != 200 and "retry-after" not in one.headers for one in answers),
    }


def afterwards(server, url: str, memory: float) -> dict:
    return {
        "open afterwards": metric(url, "open_requests"),
        "waiting afterwards": metric(url, "queue_tokens"),
        "grown MiB": round(server.memory_mib() - memory, 1),
        "health": httpx.get(f"{url}/health").status_code,
    }


def check(result: dict, *, least_goodput: float) -> None:
    print(result)
    assert set(result["statuses"]) == {200, 429}, result
    assert result["refusals without Retry-After"] == 0, result
    assert result["open afterwards"] == result["waiting afterwards"] == 0, result
    assert result["grown MiB"] < 64, result
    assert result["health"] == 200
    # What hung up was served in part as well; what was answered is what counts.
    assert result["ratio"] >= least_goodput, result
    if "slowest accepted" in result:
        assert result["slowest accepted"] <= DEADLINE, result
