"""Memory over many requests, with the device in the loop."""

import asyncio
import random

import numpy as np
import pytest
from crowd import Client, request
from processes import free_port

WORDS = "river stone zebra market quiet violet engine harbor winter letter copper garden shadow bridge".split()


@pytest.mark.abuse
def test_memory_does_not_grow_with_the_number_of_requests(start, amount, show):
    port = free_port()
    server = start("--port", port, "--disable-uvicorn-access-log", "--max-wait-seconds", "60")
    server.wait_ready()
    total, clients, points = amount(200_000, 2_000), 16, []
    rng = random.Random(0)
    messages = [request({"input": " ".join(rng.choices(WORDS, k=rng.randint(1, 12)))}) for _ in range(500)]
    messages += [request({"input": 5}), request({}, "/nowhere"), request({"texts": ["a"]}, "/v2/embed")]
    done = 0

    async def one(number: int) -> None:
        nonlocal done
        own, client = random.Random(number), Client(int(port))
        while done < total:
            await client.ask(own.choice(messages))
            done += 1
            if done % (total // 40) == 0:
                points.append((done, server.memory_mib()))
        client.close()

    async def all_() -> None:
        await asyncio.gather(*map(one, range(clients)))

    asyncio.run(all_())
    # The first quarter is what buffers and caches take once.
    counts, sizes = np.array([point for point in points if point[0] > total / 4]).T
    slope = float(np.polyfit(counts / 100_000, sizes, 1)[0])
    show(requests=done, slope_mib_per_100_000=round(slope, 2), first=round(sizes[0], 1), last=round(sizes[-1], 1))
    if total >= 100_000:
        assert slope < 2
    assert sizes[-1] - sizes[0] < 8
    assert server.end() == 0
