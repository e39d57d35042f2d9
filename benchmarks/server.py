"""What HTTP costs: the server against the library on the same machine, and the server alone against a model that does nothing.

Two measurements, each in interleaved rounds because the speed of a machine drifts:

- **tax**: texts a second of `LLM.embed` over a corpus, and of a client that sends the same corpus over HTTP, 32 texts a
  request, eight requests at a time. Both sides are processes of their own with the same model and the same threads.
- **ceiling**: requests a second, one text each, 64 at a time, against a server whose engine returns vectors at once: all that
  is left is HTTP, tokenizing, queueing and JSON. The client shares the machine with it.

Run it with `make bench-server`; `--write` keeps the raw log.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from crowd import Client, closed_loop, request  # noqa: E402
from offline import corpus, processor  # noqa: E402

TEXTS_A_REQUEST = 32
CLIENTS = 8
MAX_TOKENS = 256
SHORT = "the quick brown fox jumps over the lazy dog near the river bank"


def offline(count: int) -> None:
    """Answers each line on standard input with the seconds of one pass over the corpus."""
    from jaxembed import LLM

    llm = LLM(max_model_len=MAX_TOKENS)
    llm.warm_up()
    texts = texts_of(count)
    llm.embed(texts[:64], use_tqdm=False)
    print(json.dumps({"tokens": sum(len(ids) for ids in llm.engine.model.tokenizer.encode(texts))}), flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        llm.embed(texts, use_tqdm=False)
        print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)


def noop(port: int) -> None:
    """Serves the default model's tokenizer, and vectors of its width that are no model's."""
    import numpy as np

    from jaxembed import LLM
    from jaxembed.server import run
    from jaxembed.server.service import Service
    from jaxembed.server.settings import Settings

    llm = LLM()

    class Nothing:
        table = llm.engine.table
        vectors = np.random.RandomState(0).randn(1024, 384).astype(np.float32)

        def start(self, task, row, texts):
            return None

        def finish(self, task, row, texts, output):
            return list(self.vectors[: len(row.texts)].copy())

    service = Service(llm, Settings(access_log=False), runner=Nothing())
    run.serve_loaded(service, run.Listen(port=port), say=lambda line: print(line, flush=True), log_level="warning")


def texts_of(count: int) -> list[str]:
    """Returns the corpus of the offline benchmark, no text longer than the model takes."""
    return [" ".join(text.split()[: MAX_TOKENS - 2]) for text in corpus(count, seed=0)]


class Peer:
    """A process of this file that answers a line with a line."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.about = json.loads(self.process.stdout.readline())

    def round(self) -> float:
        """One pass, in seconds."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["seconds"]

    def end(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


class Server:
    """A server process, and the port it is ready on."""

    def __init__(self, *command: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [*command, str(self.port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self.process.stdout:
            if re.match(r"ready on", line):
                return
        sys.exit(f"a server ended early: {' '.join(command)}")

    def end(self) -> None:
        """Ends the process."""
        self.process.terminate()
        self.process.wait()


async def send_all(port: int, messages: list[bytes]) -> float:
    """Sends every request, `CLIENTS` at a time, and returns the seconds that took."""
    waiting = list(messages)

    async def one() -> None:
        client = Client(port)
        while waiting:
            seen = await client.ask(waiting.pop())
            assert seen.status == 200, seen
        client.close()

    begin = time.perf_counter()
    await asyncio.gather(*[one() for _ in range(CLIENTS)])
    return time.perf_counter() - begin


def measure_tax(count: int, rounds: int, encoding: str) -> dict:
    """Returns the seconds of each round, offline and over HTTP, and the ratio of the medians."""
    texts = texts_of(count)
    groups = [texts[i : i + TEXTS_A_REQUEST] for i in range(0, len(texts), TEXTS_A_REQUEST)]
    messages = [request({"input": group, "encoding_format": encoding}) for group in groups]
    peer = Peer("--role", "offline", "--texts", str(count))
    server = Server(
        sys.executable, "-m", "jaxembed", "serve", "--max-model-len", str(MAX_TOKENS), "--disable-uvicorn-access-log", "--port"
    )
    asyncio.run(send_all(server.port, messages[:8]))
    seconds: dict[str, list[float]] = {"offline": [], "server": []}
    for number in range(rounds):
        seconds["offline"].append(peer.round())
        seconds["server"].append(asyncio.run(send_all(server.port, messages)))
        rates = {name: count / values[-1] for name, values in seconds.items()}
        print(f"  round {number + 1}: " + ", ".join(f"{name} {rate:,.1f} texts/s" for name, rate in rates.items()), flush=True)
    peer.end()
    server.end()
    ratios = [a / b for a, b in zip(seconds["offline"], seconds["server"], strict=True)]
    return {"tokens": peer.about["tokens"], "encoding": encoding, "seconds": seconds, "ratio": statistics.median(ratios)}


def measure_ceiling(rounds: int, seconds: float) -> dict:
    """Returns requests a second and latencies of each round, for both encodings."""
    server = Server(sys.executable, __file__, "--role", "noop", "--port")
    found: dict[str, list[dict]] = {"float": [], "base64": []}
    for number in range(rounds):
        for encoding, results in found.items():
            message = request({"input": SHORT, "encoding_format": encoding})
            begin = time.perf_counter()
            seen = asyncio.run(closed_loop(server.port, message, clients=64, seconds=seconds))
            took = time.perf_counter() - begin
            assert all(one.status == 200 for one in seen)
            ordered = sorted(one.seconds * 1000 for one in seen)
            percentiles = {f"p{p}_ms": round(ordered[len(ordered) * p // 100], 1) for p in (50, 99)}
            results.append({"requests_per_second": round(len(seen) / took, 1), **percentiles})
            print(f"  round {number + 1}, {encoding}: {results[-1]}", flush=True)
    server.end()
    medians = {name: statistics.median(one["requests_per_second"] for one in each) for name, each in found.items()}
    return {"rounds": found, "requests_per_second": medians}


def main() -> None:
    """Runs both measurements and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each round of the ceiling")
    parser.add_argument("--note", default="", help="what else the machine was doing, for the log")
    parser.add_argument("--write", action="store_true", help="write the log to benchmarks/results/server-cpu.json")
    parser.add_argument("--role", choices=["offline", "noop"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role == "offline":
        return offline(args.texts)
    if args.role == "noop":
        return noop(args.port)
    load = os.getloadavg()[0]
    print(
        f"{args.texts} texts, {TEXTS_A_REQUEST} a request, {CLIENTS} requests at a time; load of the machine before: {load:.1f}"
    )
    tax = measure_tax(args.texts, args.rounds, "base64")
    print("one text a request, 64 at a time, no model")
    ceiling = measure_ceiling(args.rounds, args.seconds)
    alone = ", ".join(f"{rate:,.0f} ({name})" for name, rate in ceiling["requests_per_second"].items())
    print(f"the server reaches {tax['ratio']:.1%} of the library's rate; without a model it answers {alone} requests a second")
    if args.write:
        log = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": f"{len(os.sched_getaffinity(0))} cores, {processor()}",
            "load_before": round(load, 1),
            "note": args.note,
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("jax", "fastapi", "uvicorn", "orjson", "tokenizers")},
            "texts": args.texts,
            "tax": tax,
            "ceiling": ceiling,
        }
        (ROOT / "benchmarks" / "results" / "server-cpu.json").write_text(json.dumps(log, indent=2) + "\n")
    return None


if __name__ == "__main__":
    main()
