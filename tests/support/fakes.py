"""Stand-ins for an engine, so that queues and servers can be tested at any speed and made to fail at will."""

import threading
import time
from dataclasses import dataclass, field

import numpy as np

from jaxembed.packing.planning import Table


@dataclass
class FakeRunner:
    """An engine whose vector of a text is [sum of its ids, its length]; it takes its time, or fails as told.

    rows: every row that was started, as the first ids of its texts. fail: called with the row before it runs. gate: rows wait
    until it is set.
    """

    tokens_per_second: float = 1e9
    table: Table = field(default_factory=lambda: Table(row=64, smallest=16, cell=16, tokens_per_text=4))
    rows: list = field(default_factory=list)
    fail: object = None
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        self.gate.set()

    def start(self, task, row, texts):
        self.rows.append([int(texts[index].ids[0]) for index in row.texts])
        if self.fail is not None:
            self.fail(row)
        return time.monotonic()

    def finish(self, task, row, texts, output):
        self.gate.wait()
        time.sleep(row.tokens / self.tokens_per_second)
        return [np.array([texts[i].ids.sum(), len(texts[i].ids)], np.float32) for i in row.texts]


class silent:
    """A progress that shows nothing."""

    def __init__(self, total: int) -> None:
        pass

    def __enter__(self):
        return lambda count: None

    def __exit__(self, *exception) -> None:
        pass
