"""What all connections share before the gate: how many there may be, how much of unfinished heads is kept, what was refused.

A connection costs whoever opens it nothing and shows no key, so everything that it may hold here has a limit of its own.
"""

import logging
import sys
import time
from collections import Counter
from typing import Protocol

from starlette.types import Receive, Scope, Send

from jaxembed.errors import InputError
from jaxembed.server.errors import Problem
from jaxembed.server.settings import Settings

if sys.platform != "win32":
    import resource

# One head, the path in it, and the unfinished heads of all connections together.
MOST_HEAD_BYTES, MOST_PATH_BYTES, MOST_KEPT_BYTES = 64 << 10, 16 << 10, 16 << 20
# An unfinished head of so many bytes is kept however many others there are: those of honest clients are smaller and pass.
FREE_HEAD_BYTES = 2 << 10
# Answered although there are too many connections, because orchestrators end a server that does not answer these.
PROBES = (b"/health", b"/ready", b"/ping")
# However many files the system allows: each connection takes some 6 KiB.
_MOST_BY_DEFAULT = 32_768
# Files that are open besides connections.
_OWN_FILES = 64
_WARN_EVERY_SECONDS = 1.0

logger = logging.getLogger("jaxembed.server")


class Connection(Protocol):
    """What the door knows of a connection."""

    def cut(self) -> None:
        """Closes it at once."""
        ...


class Door:
    """The limits of one server's connections.

    Attributes:
        most: connections that are served.
        head_seconds: the time for a head.
        write_seconds: the time in which a client must take something of its answer.
        refused: heads and connections that were refused, by reason.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises `InputError` for more connections than the system allows files."""
        self.most = _most_connections(settings.max_connections)
        self.head_seconds, self.write_seconds = settings.head_timeout_seconds, settings.request_timeout_seconds
        self.refused = Counter[str]()
        # Connections beyond `most`, oldest first: they are told so, or asked for a probe, and closed.
        self._spare: dict[Connection, None] = {}
        self._most_spare = max(self.most // 4, 8)
        self._kept = 0
        self._silent_until, self._unsaid = 0.0, 0

    def enter(self, connection: Connection, count: int) -> bool:
        """Takes a new connection, one of `count`. Returns whether it is one too many."""
        if count <= self.most:
            return False
        if len(self._spare) >= self._most_spare:
            next(iter(self._spare)).cut()
        self._spare[connection] = None
        return True

    def leave(self, connection: Connection) -> None:
        """Forgets a connection."""
        self._spare.pop(connection, None)

    def keep(self, size: int, head: int) -> bool:
        """Counts bytes of an unfinished head, which has `head` now. Returns whether there is room for it."""
        self._kept += size
        return self._kept <= MOST_KEPT_BYTES or head <= FREE_HEAD_BYTES

    def forget(self, size: int) -> None:
        """Counts the bytes of a head that is done."""
        self._kept -= size

    def refuse(self, reason: str, client: object) -> None:
        """Counts what was refused, and says so in the log, a line a second at most."""
        self.refused[reason] += 1
        now = time.monotonic()
        if now < self._silent_until:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} more since the last such line)" if self._unsaid else ""
        logger.warning("refused before the gate: %s, from %s%s", reason, client or "a socket", more)
        self._silent_until, self._unsaid = now + _WARN_EVERY_SECONDS, 0

    async def answer_full(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tells a connection beyond `most` so; an ASGI application."""
        problem = overloaded(f"The server is overloaded: it has {self.most} connections (--max-connections).")
        await problem.response("openai")(scope, receive, send)


def overloaded(why: str) -> Problem:
    """Returns the answer to what there is no room for before the gate."""
    return Problem(503, why, "ServiceUnavailableError", None, {"Retry-After": "1"})


def _most_connections(given: int | None) -> int:
    """Returns how many connections are served, by default half as many as the process may have files."""
    if sys.platform == "win32":  # which counts no files
        return given or _MOST_BY_DEFAULT
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return given or _MOST_BY_DEFAULT
    if given is None:
        return max(min(files // 2, _MOST_BY_DEFAULT), 1)
    if given > files - _OWN_FILES:
        raise InputError(
            f"--max-connections {given} is more than the {files} files that the system lets this process open; raise the "
            "limit (ulimit -n) or ask for fewer.",
            field="--max-connections",
        )
    return given
