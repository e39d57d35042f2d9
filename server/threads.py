"""The threads in which work is done that would hold up the event loop. Knows nothing about requests or models."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from jaxembed.errors import DeadlineError

_MOST_APART = 4


class Threads:
    """A few threads for what is large; what is small is done where it is, for the hop to a thread and back costs more.

    And a few apart from them for what may never end: a stranger's regular expressions cannot be stopped, and shall hold up
    nothing else.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="jaxembed-large")
        self._apart = ThreadPoolExecutor(_MOST_APART, thread_name_prefix="jaxembed-apart")
        self._running: set[object] = set()

    async def run[**P, R](self, large: bool, work: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
        """Returns what `work` returns.

        Args:
            large: whether it is worth a thread.
            work: a function.
            arguments: of `work`.
            options: of `work`.
        """
        if not large:
            return work(*arguments, **options)
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *arguments, **options))

    async def apart[**P, R](self, seconds: float, work: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
        """Returns what `work` returns, which is waited for so long. Raises `DeadlineError`.

        Args:
            seconds: how long.
            work: a function.
            arguments: of `work`.
            options: of `work`.
        """

        def counted() -> R:
            mark = object()
            self._running.add(mark)
            try:
                return work(*arguments, **options)
            finally:
                self._running.discard(mark)

        try:
            return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(self._apart, counted), seconds)
        except TimeoutError:
            raise DeadlineError(f"The deadline passed after {seconds:g} s in the model's tokenizer or template.") from None

    @property
    def held(self) -> int:
        """How many threads apart have not ended; Python waits for them before it ends."""
        return len(self._running)

    def stop(self) -> None:
        """Takes no more; what has not begun is cancelled."""
        for pool in (self._pool, self._apart):
            pool.shutdown(wait=False, cancel_futures=True)
