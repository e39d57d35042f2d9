"""Starting and stopping: the socket first, then the model, then the server; and a quiet end on SIGTERM.

The socket is taken before the model is loaded, so that a port in use is told at once and not after a minute. uvicorn stops
taking connections when it is told to end and waits for open requests; the queue is closed at that moment, and what is not
answered by the end of the drain fails with a 503 instead of a broken connection.
"""

import asyncio
import errno
import logging
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from jaxembed.errors import InputError, JaxEmbedError
from jaxembed.server.app import create_app
from jaxembed.server.service import Service
from jaxembed.server.settings import Settings
from jaxembed.vllm.llm import LLM

# After the drain, answers that say so still have to be written.
_LAST_WORDS_SECONDS = 2
# How long a thread may hold the interpreter while others wait for it, against Python's 5 ms. The engine's thread needs it for
# a moment several times a row, and would lose 5 ms each time to a busy event loop.
_SWITCH_SECONDS = 0.0005

logger = logging.getLogger("jaxembed.server")

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Listen:
    """Where the server listens. uds: path of a Unix socket, instead of host and port.

    forwarded_allow_ips: proxies whose word on the client's address is taken, separated by commas; None for no one's.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    uds: str | None = None
    forwarded_allow_ips: str | None = None
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_ca_certs: str | None = None
    ssl_cert_reqs: int = ssl.CERT_NONE

    @property
    def address(self) -> str:
        """What to type into a client."""
        if self.uds:
            return f"unix:{self.uds}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.ssl_certfile else ''}://{host}:{self.port}"

    def bind(self) -> socket.socket:
        """Takes the address. Raises `InputError` if it is in use or not ours."""
        family = socket.AF_UNIX if self.uds else socket.AF_INET6 if ":" in self.host else socket.AF_INET
        taken = socket.socket(family, socket.SOCK_STREAM)
        try:
            if self.uds:
                _remove_stale(self.uds)
                taken.bind(self.uds)
            else:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind((self.host, self.port))
        except OSError as error:
            taken.close()
            if error.errno == errno.EADDRINUSE:
                advice = "another --uds path" if self.uds else "another --port"
                raise InputError(
                    f"{self.address} is in use by another server; choose {advice}.", field="--uds" if self.uds else "--port"
                ) from None
            raise InputError(
                f"{self.address} cannot be listened on: {error.strerror or error}.", field="--uds" if self.uds else "--host"
            ) from None
        return taken

    def check_files(self) -> None:
        """Raises `InputError` for TLS files that cannot be used."""
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise InputError("TLS needs both --ssl-certfile and --ssl-keyfile.", field="--ssl-certfile")
        if self.ssl_certfile and self.ssl_keyfile:
            try:
                ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(self.ssl_certfile, self.ssl_keyfile)
            except OSError as error:
                raise InputError(f"--ssl-certfile and --ssl-keyfile cannot be used: {error}.", field="--ssl-certfile") from None


class Server(uvicorn.Server):
    """uvicorn, closing the queue when it begins to end."""

    def __init__(self, config: uvicorn.Config, service: Service, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._when_ready = service, when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen, and says so."""
        await super().startup(sockets)
        if self.started:
            self._when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains, and cuts what is left at the deadline."""
        scheduler, drain = self._service.scheduler, self._service.settings.drain_seconds
        scheduler.drain()
        logger.info("draining %d open requests for up to %g s", scheduler.open_requests, drain)
        cut = asyncio.get_running_loop().call_later(drain, lambda: asyncio.ensure_future(asyncio.to_thread(scheduler.stop)))
        try:
            await super().shutdown(sockets)
        finally:
            cut.cancel()


def serve(load: Callable[[], LLM], settings: Settings, listen: Listen, *, say: Say, log_level: str = "info") -> None:
    """Binds, loads, warms up and serves until SIGTERM or SIGINT.

    say: is told what happens, a line at a time. Raises `JaxEmbedError` for what goes wrong before it serves.
    """
    begin = time.perf_counter()
    _log(log_level)
    listen.check_files()
    sys.setswitchinterval(_SWITCH_SECONDS)
    with listen.bind() as taken:
        llm = load()
        service = Service(llm, settings)
        say(_card(service))
        say(_warm_up(llm))
        service.check_probe()
        _run(service, listen, taken, begin, say, log_level)
    if listen.uds:
        with suppress(FileNotFoundError):
            Path(listen.uds).unlink()


def serve_loaded(service: Service, listen: Listen, *, say: Say, log_level: str = "info") -> None:
    """Serves what is loaded already, without a warm-up: for measuring the server alone."""
    _log(log_level)
    sys.setswitchinterval(_SWITCH_SECONDS)
    with listen.bind() as taken:
        _run(service, listen, taken, time.perf_counter(), say, log_level)


def _run(service: Service, listen: Listen, taken: socket.socket, begin: float, say: Say, log_level: str) -> None:
    config = uvicorn.Config(
        create_app(service),
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
    server = Server(config, service, lambda: say(f"ready on {listen.address} after {time.perf_counter() - begin:.1f} s"))
    # uvicorn raises the signal again when it is done, which would make a clean end look like a kill.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        server.run(sockets=[taken])
    except KeyboardInterrupt:
        return
    if not server.started:
        raise JaxEmbedError("the server did not start; the lines above say why.")


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


def _remove_stale(path: str) -> None:
    """Removes a Unix socket that nobody listens on any more."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
