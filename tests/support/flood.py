"""Opens connections and holds them, in a process of its own so that whoever measures beside it is not slowed: PORT COUNT.

A third is idle, a third stops within its head, a third sends a head of many bytes and does not end it. Says "open N" and waits
until its standard input closes.
"""

import socket
import sys

KINDS = (b"", b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: ", b"GET /health HTTP/1.1\r\nHost: x\r\nX-B: " + b"b" * 60_000)


def main(port: int, count: int) -> None:
    held = []
    for number in range(count):
        try:
            one = socket.create_connection(("127.0.0.1", port), timeout=10)
            one.setblocking(False)
            held.append(one)
            one.send(KINDS[number % len(KINDS)] or b"\r\n")
        except OSError:
            continue
    print("open", len(held), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
