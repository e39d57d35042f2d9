"""The threads in which work is done that would hold up the event loop. Knows nothing about requests or models."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial


class Threads:
    """A few threads for what is large; what is small is done where it is, for the hop to a thread and back costs more."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="jaxembed-large")

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

    def stop(self) -> None:
        """Takes no more; what has not begun is cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)
