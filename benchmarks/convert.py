"""Converting a large checkpoint: its peak memory, and its rate as a share of plainly reading and writing the same bytes.

The checkpoint is random, in the layout of a BERT of 2 GB in float32, in shards of at most 500 MB, with a tokenizer of whole
words. Rounds are interleaved: each copies all the bytes plainly (read a block, write it, fsync each file), then converts, each
in a process of its own; once with the checkpoint on the disk, once with it in the system's cache of files. What counts is the
ratio of the medians, for all that a conversion does: reading, turning, digests, writing, and the vectors that it records.
Memory is the largest resident set above that of a process that has only imported jax. Run it with
`python -P benchmarks/convert.py`.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
SHARD = 500 << 20
BLOCK = 16 << 20
# BERT-large, with as many layers as make two gigabytes.
CONFIG = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}


def shapes(layers: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a BERT's tensors."""
    d, f = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    named: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (CONFIG["vocab_size"], d),
        "embeddings.position_embeddings.weight": (CONFIG["max_position_embeddings"], d),
        "embeddings.token_type_embeddings.weight": (CONFIG["type_vocab_size"], d),
        "embeddings.LayerNorm.weight": (d,),
        "embeddings.LayerNorm.bias": (d,),
    }
    for i in range(layers):
        layer = f"encoder.layer.{i}."
        parts = {f"attention.self.{name}": (d, d) for name in ("query", "key", "value")}
        parts |= {"attention.output.dense": (d, d), "intermediate.dense": (f, d), "output.dense": (d, f)}
        for name, shape in parts.items():
            named[f"{layer}{name}.weight"], named[f"{layer}{name}.bias"] = shape, shape[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            named[f"{layer}{name}.weight"], named[f"{layer}{name}.bias"] = (d,), (d,)
    return named


def write_checkpoint(folder: Path, gigabytes: float) -> int:
    """Writes the checkpoint and returns the bytes of its tensors."""
    from safetensors.numpy import save_file

    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from reference import tiny

    table = 4 * CONFIG["vocab_size"] * CONFIG["hidden_size"]
    layer = 4 * 12 * CONFIG["hidden_size"] ** 2
    layers = max(1, round((gigabytes * 1e9 - table) / layer))
    (folder / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": layers}))
    tiny.write_tokenizer(folder, decoder=False, words=CONFIG["vocab_size"])
    rng = np.random.default_rng(0)
    places: dict[str, str] = {}
    shard: dict[str, np.ndarray] = {}
    total = number = size = 0

    def flush() -> None:
        nonlocal number, size, shard
        name = f"model-{number:05d}.safetensors"
        save_file(shard, folder / name)
        places.update(dict.fromkeys(shard, name))
        number, size, shard = number + 1, 0, {}

    for name, shape in shapes(layers).items():
        tensor = rng.standard_normal(shape, np.float32) * np.float32(0.02)
        if size + tensor.nbytes > SHARD:
            flush()
        shard[name] = tensor
        size, total = size + tensor.nbytes, total + tensor.nbytes
    flush()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return total


def copy_plainly(source: Path, target: Path) -> None:
    """Reads every file a block at a time, writes it, and has the disk keep it."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        with path.open("rb") as read, (target / path.name).open("wb") as write:
            while block := read.read(BLOCK):
                write.write(block)
            write.flush()
            os.fsync(write.fileno())


def convert(source: Path, target: Path) -> None:
    """Converts as the command does."""
    from jaxembed.convert.tool.conversion import convert as run

    begin = time.perf_counter()
    run(str(source), target)
    print(json.dumps({"seconds": time.perf_counter() - begin}))


def forget(folder: Path) -> None:
    """Has the system drop a folder's files from its cache, so that the next to read them reads the disk."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def child(what: str, *arguments: str) -> dict:
    """Runs a part of this file in a process of its own; its answer, with its time and its largest resident set."""
    begin = time.perf_counter()
    done = subprocess.Popen([sys.executable, __file__, "--child", what, *arguments], stdout=subprocess.PIPE, text=True)
    out, _ = done.communicate()
    assert done.returncode == 0, what
    lines = [json.loads(line) for line in out.splitlines()]
    return {"wall_seconds": time.perf_counter() - begin, **{key: value for line in lines for key, value in line.items()}}


def run_child(what: str, *arguments: str) -> None:
    """The other side of `child`."""
    if what == "import":
        import jax

        jax.devices()
    elif what == "copy":
        begin = time.perf_counter()
        copy_plainly(Path(arguments[0]), Path(arguments[1]))
        print(json.dumps({"seconds": time.perf_counter() - begin}))
    else:
        convert(Path(arguments[0]), Path(arguments[1]))
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Not ru_maxrss, which a process inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"peak_bytes": peak, "processor_seconds": used.ru_utime + used.ru_stime}))


def main() -> None:
    """Writes the checkpoint, runs the rounds, and keeps the log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where there is room for four times as much")
    parser.add_argument("--child", nargs="+")
    arguments = parser.parse_args()
    if arguments.child:
        run_child(*arguments.child)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        source = Path(scratch) / "source"
        source.mkdir()
        size = write_checkpoint(source, arguments.gigabytes)
        log: dict = {"bytes": size, "import": child("import")}
        log |= {f"{what}_{where}": [] for what in ("copy", "convert") for where in ("disk", "memory")}
        for number in range(arguments.rounds + 1):
            for where in ("disk", "memory"):
                for what in ("copy", "convert"):
                    target = Path(scratch) / what
                    if where == "disk":
                        forget(source)
                    found = child(what, str(source), str(target))
                    shutil.rmtree(target)
                    # The first round brings programs and libraries into the cache.
                    if number:
                        log[f"{what}_{where}"].append(found)
    seconds = {
        key: statistics.median(one["seconds"] for one in rounds) for key, rounds in log.items() if isinstance(rounds, list)
    }
    log |= {
        "median_seconds": seconds,
        "rate_from_disk": seconds["copy_disk"] / seconds["convert_disk"],
        "rate_from_memory": seconds["copy_memory"] / seconds["convert_memory"],
        "peak_above_import_bytes": max(one["peak_bytes"] for one in log["convert_disk"] + log["convert_memory"])
        - log["import"]["peak_bytes"],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared with other work (load {os.getloadavg()[0]:.1f})",
        "versions": {name: version(name) for name in ("jax", "orbax-checkpoint", "tensorstore", "numpy")},
        "python": platform.python_version(),
    }
    name = f"convert-{time.strftime('%Y%m%d-%H%M%S')}.json"
    (ROOT / "benchmarks" / "results" / name).write_text(json.dumps(log, indent=1) + "\n")
    print(f"{size / 1e9:.2f} GB, medians")
    for where in ("disk", "memory"):
        plain, ours = seconds[f"copy_{where}"], seconds[f"convert_{where}"]
        print(f"from {where}: plainly {plain:.2f} s, converting {ours:.2f} s, {plain / ours:.0%} of its rate")
    print(f"peak memory: {log['peak_above_import_bytes'] / 1e6:.0f} MB above a process that imported jax")
    print(f"log: benchmarks/results/{name}")


if __name__ == "__main__":
    main()
