"""`jaxembed serve` in processes of their own, for tests."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

START = 180  # seconds a start may take on a busy machine


class Process:
    """A server of its own, started with arguments; knows its address once it is ready."""

    def __init__(self, *arguments: str, env: dict | None = None) -> None:
        command = [sys.executable, "-m", "jaxembed", "serve", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})}
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_ready(self) -> str:
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            found = re.search(r"ready on (\S+) after [\d.]+ s", self.output)
            if found:
                return found[1]
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.output}")

    def memory_mib(self) -> float:
        """What the process holds in memory now."""
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def end(self, number: int = signal.SIGTERM, timeout: float = 60) -> int:
        self.process.send_signal(number)
        status = self.process.wait(timeout)
        self._reader.join(5)
        return status


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])
