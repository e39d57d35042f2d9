"""Starting and stopping: the socket first, then the model, then the server; and a quiet end on SIGTERM, SIGHUP or Ctrl-C.

The socket is taken before the model is loaded, so that a port in use is told at once and not after a minute. uvicorn stops
taking connections when it is told to end and waits for open requests; the queue is closed at that moment, and what is not
answered by the end of the drain fails with a 503 instead of a broken connection.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from jaxembed.errors import JaxEmbedError
from jaxembed.server.app import create_app
from jaxembed.server.door import Door
from jaxembed.server.listen import Listen
from jaxembed.server.protocol import Limited
from jaxembed.server.service import Service
from jaxembed.server.settings import Settings
from jaxembed.vllm.llm import LLM

# After the drain, answers that say so still have to be written.
_LAST_WORDS_SECONDS = 2
# How often the end of the drain is looked for.
_LOOK_SECONDS = 0.1
# What begins the end. SIGHUP comes from a terminal that closes and from some supervisors; Windows has none.
_ENDS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
# The exit status of a command that Ctrl-C ended.
_INTERRUPTED = 130
# How long a thread may hold the interpreter while others wait for it, against Python's 5 ms. The engine's thread needs it for
# a moment several times a row, and would lose 5 ms each time to a busy event loop.
_SWITCH_SECONDS = 0.0005

logger = logging.getLogger("jaxembed.server")

Say = Callable[[str], None]


class Server(uvicorn.Server):
    """uvicorn, closing the queue when it begins to end, and ending at SIGHUP too.

    Attributes:
        hurried: whether a second SIGINT ended the drain.
    """

    def __init__(self, config: uvicorn.Config, service: Service, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._when_ready = service, when_ready
        self.hurried = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen, and says so. As uvicorn does, but that a TLS handshake has the time of a head, not a minute."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            self.should_exit = True
            return
        config, state = self.config, self.lifespan.state
        make: Callable[[], asyncio.Protocol] = partial(
            config.http_protocol_class,
            config=config,  # type: ignore[call-arg]
            server_state=self.server_state,
            app_state=state,
        )
        options: dict[str, Any] = {"backlog": config.backlog}
        if config.ssl is not None:
            seconds = self._service.settings.head_timeout_seconds
            options |= {"ssl": config.ssl, "ssl_handshake_timeout": seconds or None}
        loop = asyncio.get_running_loop()
        self.servers = [await loop.create_server(make, sock=each, **options) for each in sockets or ()]
        self.started = True
        self._when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains, and cuts what is left at the deadline, or at a second SIGINT."""
        scheduler, drain = self._service.scheduler, self._service.settings.drain_seconds
        scheduler.drain()
        logger.info("draining %d open requests for up to %g s", scheduler.open_requests, drain)
        cut = asyncio.ensure_future(self._cut(drain))
        try:
            await super().shutdown(sockets)
        finally:
            cut.cancel()

    async def _cut(self, drain: float) -> None:
        end = time.monotonic() + drain
        while time.monotonic() < end and not self.hurried:
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.to_thread(self._service.scheduler.stop)
        if self.hurried:
            # What waits for something else than the queue, such as the rest of its body; the gate answers for it.
            await asyncio.sleep(_LOOK_SECONDS)
            for task in self.server_state.tasks:
                task.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins the end; a second SIGINT hurries it, a third ends the process on the spot."""
        if sig == signal.SIGINT and self.hurried:
            os._exit(_INTERRUPTED)
        self.hurried = sig == signal.SIGINT and self.should_exit
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Takes the signals while it serves. uvicorn would raise them once more afterwards, and make a clean end a kill."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # One that is ignored stays so: that is what nohup asks for.
        taken = [each for each in _ENDS if signal.getsignal(each) is not signal.SIG_IGN or each == signal.SIGINT]
        before = {each: signal.signal(each, self.handle_exit) for each in taken}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def serve(load: Callable[[], LLM], settings: Settings, listen: Listen, *, say: Say, log_level: str = "info") -> None:
    """Binds, loads, warms up and serves until SIGTERM, SIGHUP or SIGINT.

    say: is told what happens, a line at a time. Raises `JaxEmbedError` for what goes wrong before it serves, and
    `KeyboardInterrupt` where a second SIGINT ended the drain.
    """
    begin = time.perf_counter()
    _log(log_level)
    listen.check_files()
    for warning in warnings(settings, listen):
        logger.warning(warning)
    sys.setswitchinterval(_SWITCH_SECONDS)
    Door(settings)  # what it refuses is refused before the model is loaded
    try:
        with listen.bind() as taken:
            llm = load()
            service = Service(llm, settings)
            say(_card(service))
            say(_warm_up(llm))
            service.check_probe()
            hurried = _run(service, listen, taken, begin, say, log_level)
    finally:
        if listen.uds:
            with suppress(FileNotFoundError):
                Path(listen.uds).unlink()
    if service.threads.held:
        # Python would wait for them, and nothing can end them but the end of the process.
        logger.warning("the model's tokenizer still works on %d texts and is given up", service.threads.held)
        sys.stdout.flush()
        os._exit(_INTERRUPTED if hurried else 0)
    if hurried:
        raise KeyboardInterrupt


def warnings(settings: Settings, listen: Listen) -> list[str]:
    """Returns what the operator may not have meant, a sentence each."""
    found = []
    if not listen.is_local and not settings.api_keys:
        found.append(
            f"--host {listen.host} without a key: whoever reaches this machine can use the server. Set --api-key-file, or "
            "--host 127.0.0.1."
        )
    if "*" in settings.allowed_origins and settings.allow_credentials:
        found.append(
            "--allowed-origins '[\"*\"]' with --allow-credentials: every page that a user opens may ask in that user's name. "
            "Name the origins."
        )
    return found


def serve_loaded(service: Service, listen: Listen, *, say: Say, log_level: str = "info") -> None:
    """Serves what is loaded already, without a warm-up: for measuring the server alone."""
    _log(log_level)
    sys.setswitchinterval(_SWITCH_SECONDS)
    with listen.bind() as taken:
        _run(service, listen, taken, time.perf_counter(), say, log_level)


def _run(service: Service, listen: Listen, taken: socket.socket, begin: float, say: Say, log_level: str) -> bool:
    """Serves. Returns whether a second SIGINT ended it."""

    def ready() -> None:
        say(f"ready on {listen.address} after {time.perf_counter() - begin:.1f} s")

    server = Server(configured(service, listen, log_level), service, ready)
    server.run(sockets=[taken])
    if not server.started:
        raise JaxEmbedError("the server did not start; the lines above say why.")
    return server.hurried


def configured(service: Service, listen: Listen, log_level: str = "info") -> uvicorn.Config:
    """Returns uvicorn's settings."""
    app = create_app(service)
    return uvicorn.Config(
        app,
        http=partial(Limited, door=app.state.door),  # type: ignore[arg-type]
        ws="none",
        timeout_keep_alive=service.settings.keep_alive_seconds,  # type: ignore[arg-type]
        log_level=log_level,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=listen.forwarded_allow_ips is not None,
        forwarded_allow_ips=listen.forwarded_allow_ips,
        lifespan="on",
        timeout_graceful_shutdown=int(service.settings.drain_seconds + _LAST_WORDS_SECONDS),
        ssl_keyfile=listen.ssl_keyfile,
        ssl_certfile=listen.ssl_certfile,
        ssl_ca_certs=listen.ssl_ca_certs,
        ssl_cert_reqs=listen.ssl_cert_reqs,
        root_path=service.settings.root_path,
    )


def _card(service: Service) -> str:
    model, engine = service.model, service.llm.engine
    allowed = model.recipe.matryoshka
    matryoshka = "" if allowed is None else f" ({', '.join(map(str, allowed)) or 'any'} too)"
    return (
        f"{', '.join(service.names)}: {model.family}, {model.width} dimensions{matryoshka}, "
        f"pooling {' + '.join(model.recipe.modes)}, up to {model.max_length} tokens, {_name(model.dtype)} on "
        f"{engine.target.name}, attention {engine.choices.attention.backend.name}"
    )


def _name(dtype: Any) -> str:
    return str(getattr(dtype, "__name__", dtype))


def _warm_up(llm: LLM) -> str:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shapes = llm.engine.table.shapes(llm.engine.model.max_length)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("compiling", total=len(shapes))
        for done in llm.engine.warm_up_steps((llm.task,)):
            progress.update(bar, completed=done)
    return f"{len(shapes)} programs compiled"


def _log(level: str) -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for name in ("jaxembed", "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())
