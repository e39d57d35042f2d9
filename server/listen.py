"""Where the server listens: the socket, and TLS with everything that can be wrong about it said before a model is loaded."""

import errno
import ipaddress
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jaxembed.errors import InputError


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

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        with suppress(ValueError):
            return self.uds is not None or ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"

    def check_files(self) -> None:
        """Raises `InputError` for TLS files that cannot be used, and for flags that would leave a door open that they close."""
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise InputError("TLS needs both --ssl-certfile and --ssl-keyfile.", field="--ssl-certfile")
        asks = self.ssl_cert_reqs != ssl.CERT_NONE
        if self.ssl_certfile is None or self.ssl_keyfile is None:
            if asks or self.ssl_ca_certs:
                flag = "--ssl-cert-reqs" if asks else "--ssl-ca-certs"
                raise InputError(
                    f"{flag} needs TLS, and without --ssl-certfile and --ssl-keyfile the server speaks plain HTTP.", field=flag
                )
            return
        if asks and not self.ssl_ca_certs:
            raise InputError(
                f"--ssl-cert-reqs {self.ssl_cert_reqs} needs --ssl-ca-certs FILE: without authorities no client's certificate "
                "is taken.",
                field="--ssl-ca-certs",
            )
        if self.ssl_ca_certs and not asks:
            raise InputError(
                "--ssl-ca-certs asks no client for a certificate by itself; add --ssl-cert-reqs 2 (or 1, for those that have "
                "one), or leave it out.",
                field="--ssl-cert-reqs",
            )
        _check_certificate(self.ssl_certfile, self.ssl_keyfile)
        if self.ssl_ca_certs:
            _check_authorities(self.ssl_ca_certs)


def _check_certificate(certificate: str, key: str) -> None:
    for path, flag in ((certificate, "--ssl-certfile"), (key, "--ssl-keyfile")):
        _check_readable(path, flag)
    encrypted = False

    def password() -> str:
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password)
    except (OSError, ValueError) as error:
        if encrypted:
            raise InputError(
                f"--ssl-keyfile {key} is encrypted and cannot be used; write it without a passphrase "
                f"(openssl pkey -in {key} -out plain.pem), readable by the server alone.",
                field="--ssl-keyfile",
            ) from None
        raise InputError(f"--ssl-certfile and --ssl-keyfile cannot be used: {error}.", field="--ssl-certfile") from None


def _check_authorities(path: str) -> None:
    _check_readable(path, "--ssl-ca-certs")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_verify_locations(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--ssl-ca-certs {path} cannot be used, certificates in PEM are expected: {error}.", field="--ssl-ca-certs"
        ) from None


def _check_readable(path: str, flag: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise InputError(f"{flag} {path} cannot be used: {error.strerror}.", field=flag) from None


def _remove_stale(path: str) -> None:
    """Removes a Unix socket that nobody listens on any more."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
