"""A process that was forked after jax began has none of its threads: whatever it asks of a device waits for ever."""

import os

from jaxembed.errors import BackendError

# The process in which the first model was loaded; a fork inherits it with all other values.
_began: int | None = None


def begin() -> None:
    """Notes that this process runs models. Raises `BackendError` in a fork of one that did so before."""
    global _began
    check()
    _began = os.getpid()


def check() -> None:
    """Raises `BackendError` in a process that was forked after a model was loaded."""
    if _began is not None and _began != os.getpid():
        raise BackendError(
            "this process was forked after a model had been loaded, and jax does not survive a fork: load the model in each "
            'process (gunicorn without --preload), or start processes by "spawn" or "forkserver", which reload it.'
        )
