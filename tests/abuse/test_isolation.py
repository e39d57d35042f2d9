"""Many clients at once: each answer is its own texts', whatever lies beside them in a row."""

import asyncio
import random

import numpy as np
import orjson
import pytest
from crowd import Client, request
from processes import free_port

_CLIENTS = 64
WORDS = "river stone zebra market quiet violet engine harbor winter letter copper garden shadow bridge".split()


@pytest.mark.abuse
def test_sixty_four_clients_each_get_the_vectors_of_their_own_texts(llm, start, amount, show):
    rng = random.Random(3)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 60))) for _ in range(400)]
    expected = [np.asarray(one.outputs.embedding) for one in llm.embed(texts)]
    port = free_port()
    server = start("--port", port, "--disable-uvicorn-access-log", "--max-wait-seconds", "60")
    server.wait_ready()
    worst, statuses = [], []

    async def one(number: int) -> None:
        own, client = random.Random(number), Client(int(port))
        for _ in range(amount(60, 2)):
            chosen = own.choices(range(len(texts)), k=own.choice((1, 2, 5, 20)))
            leaves = own.random() < 0.1
            asked = asyncio.ensure_future(client.ask(request({"input": [texts[each] for each in chosen]})))
            if leaves:  # hangs up in the middle
                await asyncio.sleep(own.random() / 20)
                client.close()
            answer = await asked
            statuses.append(answer.status)
            if answer.status == 200:
                data = orjson.loads(answer.body)["data"]
                assert [each["index"] for each in data] == list(range(len(chosen)))
                vectors = np.array([each["embedding"] for each in data], np.float32)
                worst.append(np.abs(vectors - np.stack([expected[each] for each in chosen])).max())
        client.close()

    async def all_() -> None:
        await asyncio.gather(*map(one, range(_CLIENTS)))

    asyncio.run(all_())
    show(answers=len(worst), largest_difference=float(max(worst)))
    assert set(statuses) <= {0, 200, 429}
    assert max(worst) < 2e-5  # rows of another size add up in another order
    assert server.end() == 0
