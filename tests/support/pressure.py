"""Many connections that ask for nothing, and what somebody else sees of the server meanwhile."""

import socket
import subprocess
import sys
import time
from pathlib import Path

PROBE = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def look(port: int) -> tuple[float, bytes]:
    """Asks `/health` on a new connection. Returns the seconds and the answer."""
    begin = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        one.sendall(PROBE)
        answer = b""
        while part := one.recv(4096):
            answer += part
    return time.perf_counter() - begin, answer


def flooded(server, port: int, count: int, seconds: float) -> dict:
    """Holds so many connections for some seconds; returns what `/health` took meanwhile, and how memory grew."""
    for _ in range(50):
        look(port)
    before, looks, peak = server.memory_mib(), [], 0.0
    command = [sys.executable, str(Path(__file__).with_name("flood.py")), str(port), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as flood:
        end = None
        while end is None or time.monotonic() < end:
            looks.append(look(port))
            peak = max(peak, server.memory_mib())
            if end is None and flood.poll() is None and _said(flood):
                end = time.monotonic() + seconds
            time.sleep(0.02)
        opened = int(flood.stdout_line.split()[1])
        flood.stdin.close()
        flood.wait(30)
    times = sorted(one for one, _ in looks)
    return {
        "connections": opened,
        "looks": len(looks),
        "answers": {answer[9:12] for _, answer in looks},
        "p50_ms": round(1000 * times[len(times) // 2], 1),
        "p99_ms": round(1000 * times[int(0.99 * len(times))], 1),
        "grown_mib": round(peak - before, 1),
    }


def _said(flood) -> bool:
    """Whether the flood has said that it is there."""
    import select

    if not select.select([flood.stdout], [], [], 0)[0]:
        return False
    flood.stdout_line = flood.stdout.readline()
    return True
