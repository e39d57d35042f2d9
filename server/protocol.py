"""HTTP/1.1 as uvicorn speaks it with httptools, within limits on what comes before a request is one.

httptools keeps a head until it ends, and uvicorn waits for that as long as it takes. Here a head has a size and a time, an
`Upgrade` that nobody here answers is passed over with its body kept (RFC 9110, 7.8), and what is no HTTP never cuts into the
answer of a request before it. Knows nothing about routes.
"""

import asyncio
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from jaxembed.server.door import MOST_HEAD_BYTES, MOST_PATH_BYTES, PROBES, Door, overloaded
from jaxembed.server.errors import HttpError, Problem

# Parsed at once, so that limits are looked at in between.
_PART_BYTES = 16 << 10
# Requests that wait on one connection for the answers of those before them.
_MOST_PIPELINED = 16
# How long, and to how many bytes, a refused client is listened to, or a reset would overtake the answer that tells it why.
_LAST_WORDS_SECONDS = 1.0
_MOST_DROPPED = 1 << 20
# The time for a head on a connection that is one too many.
_SPARE_SECONDS = 2.0
_HOP_BY_HOP = (b"upgrade", b"http2-settings")


class Limited(HttpToolsProtocol):
    """One connection.

    Its place in the stream of requests is "between" two, in a "head", or in a "body".
    """

    def __init__(self, *arguments: Any, door: Door, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._door = door
        self._place, self._begun = "between", 0
        self._head = 0  # bytes of the unfinished head, at most a part too many
        self._size = 0  # bytes of its fields that are whole
        self._mute = 0  # bytes within a body that were none of it: fields behind the last chunk, or beside a chunk's size
        self._problem: Problem | None = None  # what a callback refuses
        self._open: list[RequestResponseCycle] = []  # requests that are not answered yet, in order
        self._dropped = 0
        self._deaf = self._spare = self._upgrades = False
        self._timer: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first head."""
        super().connection_made(transport)
        self._spare = self._door.enter(self, len(self.connections))
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells every request that nobody waits for its answer."""
        self._abandon()
        self._deaf = True
        self._forget_head()
        self._door.leave(self)
        for timer in (self._timer, self._stuck):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Counts as hung up: the transport closes."""
        self._abandon()

    def cut(self) -> None:
        """Closes the connection, whatever waits to be written."""
        self._abandon()
        self._door.leave(self)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Takes bytes: a part at a time, until something in them is refused."""
        view = memoryview(data)
        for at in range(0, len(view), _PART_BYTES):
            if self._deaf:
                self._drop(len(view) - at)
                return
            self._take(view[at : at + _PART_BYTES])
        if self._place != "between":
            self._unset_keepalive_if_required()
        self._watch()

    def _drop(self, size: int) -> None:
        """Takes what a refused client still sends, so that it hears why, but not without end."""
        self._dropped += size
        if self._dropped > _MOST_DROPPED and not self._open:
            self.transport.close()

    def _take(self, part: memoryview) -> None:
        place, begun = self._place, self._begun
        try:
            self._parse(part)
        except httptools.HttpParserError:
            self._refuse(self._problem or _bad())
            return
        if self._place == "head":
            # One that began in the middle of this part is counted with what came before it.
            if place != "head" or begun != self._begun:
                self._forget_head()
            self._head += len(part)
            room = self._door.keep(len(part), self._head)
            if self._head > MOST_HEAD_BYTES + _PART_BYTES:
                self._refuse(_large_head())
            elif not room:
                self._refuse(overloaded("The server is overloaded: too many heads are unfinished."))
        elif self._head:
            self._forget_head()
        if place == self._place == "body" and begun == self._begun:
            self._mute += len(part)
            if self._mute > MOST_HEAD_BYTES + _PART_BYTES:
                self._refuse(_large_head())

    def _parse(self, part: memoryview) -> None:
        while len(part):
            try:
                self.parser.feed_data(part)
                return
            except httptools.HttpParserUpgrade as upgrade:
                part = part[upgrade.args[0] :]
            self._go_on_without_upgrade()

    def _go_on_without_upgrade(self) -> None:
        """Parses the head anew as if it had not offered to change protocols: the parser leaves out the body otherwise."""
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() not in _HOP_BY_HOP)
            if name not in _HOP_BY_HOP and value:
                lines.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn sets it
        self._upgrades = False
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    # What the parser finds.

    def on_message_begin(self) -> None:
        """Begins a head."""
        super().on_message_begin()
        self._place, self._size = "head", 0
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        """Takes a piece of the path."""
        super().on_url(url)
        if len(self.url) > MOST_PATH_BYTES:
            self._problem = Problem.of(HttpError(414, f"The path may have {MOST_PATH_BYTES} bytes and has more."))
            raise ValueError("the path is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a field, and passes over one behind a body: whatever it says, the head has been looked at already."""
        if self._place == "head":
            super().on_header(name, value)
        self._size += len(name) + len(value) + 4
        if self._size + len(self.url) > MOST_HEAD_BYTES:
            self._problem = _large_head()
            raise ValueError("the head is too large")

    def on_headers_complete(self) -> None:
        """Begins a request."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._problem = Problem.of(HttpError(405, "This server is no proxy."))
                raise ValueError("CONNECT")
            self._upgrades = True  # `_go_on_without_upgrade` comes next
            return
        if len(self._open) >= _MOST_PIPELINED:
            self._problem = overloaded("One connection sent too many requests without waiting for their answers.")
            raise ValueError("too many requests")
        if self._spare:
            self._door.leave(self)
            if self.url.partition(b"?")[0].removeprefix(self.root_path.encode()) not in PROBES:
                self._door.refuse("too many connections", self.client)
                self.app = self._door.answer_full
        super().on_headers_complete()
        self._place, self._size, self._mute = "body", 0, 0
        self._open.append(self.cycle)
        if self._spare:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Takes a piece of a body."""
        self._mute = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Ends a request."""
        if not self._upgrades:
            super().on_message_complete()
            self._place = "between"

    # Answers.

    def on_response_complete(self) -> None:
        """Goes on with the next request, or waits for one."""
        self._open = [cycle for cycle in self._open if not cycle.response_complete]
        super().on_response_complete()
        if self._place != "between":
            self._unset_keepalive_if_required()
        self._watch()

    def pause_writing(self) -> None:
        """Waits for the client to take what was written, and not for ever."""
        super().pause_writing()
        self._stuck = self.loop.call_later(self._door.write_seconds, self._cut_stuck)

    def resume_writing(self) -> None:
        """Goes on writing."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _cut_stuck(self) -> None:
        self._door.refuse("an answer that nobody reads", self.client)
        self.cut()

    def _refuse(self, problem: Problem) -> None:
        """Answers what is no request, behind the answers of the requests before it, and listens to nothing more."""
        if self.transport.is_closing():
            return
        self._deaf = True
        self._forget_head()
        self._unset_keepalive_if_required()
        self._door.refuse(HTTPStatus(problem.status).phrase, self.client)
        if self._place == "body" and not self._open:
            self.transport.close()  # answered already
            return
        if self._place == "body":
            # The body of the last request is broken, and its answer is this one.
            broken = self._open.pop()
            broken.disconnected = True
            broken.message_event.set()
            self.pipeline = type(self.pipeline)(each for each in self.pipeline if each[0] is not broken)
            if broken.response_started:
                self.transport.close()
                return
        if self._open:
            self._open[-1].keep_alive = False
            return
        self._say(problem)

    def _say(self, problem: Problem) -> None:
        head, body = _written(problem.status, problem.message)
        date = [name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers]
        self.transport.write(b"".join([head, *date, b"\r\n", body]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._set_timer(_LAST_WORDS_SECONDS, self.transport.close)

    def _abandon(self) -> None:
        for cycle in self._open:
            cycle.disconnected = True
            cycle.message_event.set()
        self.pipeline.clear()

    # Time.

    def _watch(self) -> None:
        """Sees to it that a head, or the rest of a body whose request is answered, arrives in time."""
        if self._deaf:
            return
        idle = self._place == "between" and self.cycle is not None
        if idle and not self._open and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        if self._open or idle:
            self._set_timer(None)
        elif self._timer is None:
            self._set_timer(_SPARE_SECONDS if self._spare else self._door.head_seconds, self._late)

    def _late(self) -> None:
        if self._place == "head":
            self._refuse(Problem.of(HttpError(408, f"The head did not end within {self._door.head_seconds:g} s.")))
        else:
            self.transport.close()

    def _set_timer(self, seconds: float | None, then: Any = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, then)

    def _forget_head(self) -> None:
        self._door.forget(self._head)
        self._head = 0


@lru_cache(maxsize=32)
def _written(status: int, message: str) -> tuple[bytes, bytes]:
    """Returns an answer's head, without its end, and its body. Thousands may be due at once."""
    problem = overloaded(message) if status == 503 else Problem.of(HttpError(status, message))
    response = problem.response("openai")
    lines = [name + b": " + value + b"\r\n" for name, value in (*response.raw_headers, (b"connection", b"close"))]
    return b"".join([f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode(), *lines]), bytes(response.body)


def _bad() -> Problem:
    return Problem.of(HttpError(400, "What was sent is not HTTP/1.1."))


def _large_head() -> Problem:
    return Problem.of(HttpError(431, f"The head of a request may have {MOST_HEAD_BYTES} bytes and has more."))
