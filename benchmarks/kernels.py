"""One short visit to a device: are the kernels right on it, and how fast beside what else there is.

First every operation against float32 (relative error at most 1e-2 in bfloat16, the same bits twice, and a text that changes
must not change one bit of another), then the ceilings of this very card, then times: the kernel, the XLA path, jax's own
attention (XLA and cuDNN) over the same texts as a batch, tokamax where it is installed, each beside the time that its bytes
and products need at those ceilings. Run it where the device is:

    python benchmarks/kernels.py            # writes benchmarks/results/kernels-DEVICE.json as it goes
    python benchmarks/kernels.py --dry      # anywhere: the same code on small shapes, nothing written

A time is the median of several runs of a loop on the device, in which every call waits for the one before and the inputs
rotate, so that neither the host nor a warm cache is measured.
"""

import argparse
import datetime
import importlib.metadata
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxembed.kernels_pallas import (
    OPERATIONS,
    AttentionShape,
    Choice,
    LexicalShape,
    MaxsimShape,
    PoolShape,
    Spans,
    Target,
    attention,
    choose,
    lexical,
    maxsim,
    pool,
)

RESULTS = Path(__file__).parent / "results"
SETS = 4  # of inputs that rotate
LIMIT = 1e-2


@dataclass(frozen=True)
class Sizes:
    """What is run: the real sizes, or small ones that prove the script."""

    rows: tuple[int, ...] = (1024, 8192, 16384)
    means: tuple[int, ...] = (10, 80, 376)
    widths: tuple[int, ...] = (64, 128, 256)
    model: int = 768
    vocabulary: int = 30522
    documents: int = 1024
    loops: int = 20
    repeats: int = 7
    checked: int = 2048


DRY = Sizes((256,), (20,), (64,), 128, 300, 8, 1, 3, 256)


@dataclass(frozen=True)
class Texts:
    """Texts in a row: where they lie, and how large the cells are that none of them crosses."""

    starts: np.ndarray
    lengths: np.ndarray
    t: int
    cell: int

    @property
    def used(self) -> np.ndarray:
        """The lengths of those places that hold a text."""
        return self.lengths[self.lengths > 0]

    def spans(self) -> tuple[jax.Array, jax.Array]:
        """What each token sees: its text."""
        start, stop = np.zeros(self.t, np.int32), np.zeros(self.t, np.int32)
        for begin, length in zip(self.starts, self.lengths, strict=True):
            start[begin : begin + length], stop[begin : begin + length] = begin, begin + length
        return jnp.asarray(start), jnp.asarray(stop)


def texts(t: int, mean: int, cell: int, seed: int) -> Texts:
    """Fills a row with texts of log-normal lengths; one that would cross into the next cell begins it."""
    rng, starts, lengths, place = np.random.RandomState(seed), [], [], 0
    while place < t:
        length = int(np.clip(np.exp(rng.normal(np.log(mean), 0.6)), 1, min(cell, 2048)))
        if place // cell != (place + length - 1) // cell:
            place = (place // cell + 1) * cell
            continue
        starts.append(place)
        lengths.append(length)
        place += length
    places = max(32, 1 << (len(starts) - 1).bit_length())
    unused = places - len(starts)
    return Texts(np.array(starts + [t] * unused, np.int32), np.array(lengths + [0] * unused, np.int32), t, cell)


def drawn(seed: int, *shape: int) -> jax.Array:
    """Normal numbers in bfloat16."""
    return jax.random.normal(jax.random.key(seed), shape, jnp.bfloat16)


def target() -> Target:
    """What `choose` is asked about: this device."""
    device = jax.devices()[0]
    return Target(device.platform, device.device_kind)


def candidates(shape: Any) -> Iterator[Choice]:
    """What `choose` takes for this device, and the XLA path where that is something else."""
    taken = choose(shape.operation, target(), shape)
    yield taken
    if taken.backend.platform is not None:
        yield choose(shape.operation, target(), shape, force=OPERATIONS[shape.operation].everywhere.name)


# --- is it right -------------------------------------------------------------------------------------------------------------


def operations(sizes: Sizes) -> dict[str, tuple[Any, Callable[[Choice, Any], jax.Array], Callable[[], Any]]]:
    """For each operation a shape, a function of a choice and of the array that carries the texts, and what draws it."""
    t, d = sizes.checked, sizes.model
    row = texts(t, 80, 256, 0)

    def attend(choice: Choice, x: jax.Array) -> jax.Array:
        start, stop = row.spans()
        return run_attention((x, x[:, ::2], x[:, 1::2]), start, stop=stop, cell=row.cell, choice=choice)

    starts, lengths = jnp.asarray(row.starts), jnp.asarray(row.lengths)
    words, queries = drawn(1, 1000, d), drawn(2, 2, 32, 128)
    pooled = lambda choice, x: run_pool((x,), starts, lengths=lengths, choice=choice)  # noqa: E731
    weigh = lambda choice, x: run_lexical((x,), starts, table=words, lengths=lengths, choice=choice)  # noqa: E731
    score = lambda choice, x: run_maxsim((x,), starts, queries=queries, lengths=lengths, choice=choice)  # noqa: E731
    s, kind = len(row.starts), "bfloat16"
    return {
        "attention": (AttentionShape(t, 256, 4, 2, 64, kind), attend, partial(drawn, 3, t, 4, 64)),
        "pool": (PoolShape(t, 256, s, d, ("mean",), kind), pooled, partial(drawn, 4, t, d)),
        "lexical": (LexicalShape(t, s, d, 1000, kind), weigh, partial(drawn, 5, t, d)),
        "maxsim": (MaxsimShape(2, 32, t, s, 128, kind), score, partial(drawn, 6, t, 128)),
    }


def check(sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Compares every back end of this device with the reference, with itself, and with itself after a neighbor changed."""
    row = texts(sizes.checked, 80, 256, 0)
    for operation, (shape, function, draw) in operations(sizes).items():
        x = draw()
        reference = Choice(OPERATIONS[operation].reference, (1, 1), "to compare with")
        truth = jax.jit(lambda x, f=function, c=reference: f(c, x))
        expected = np.asarray(truth(x.astype(jnp.float32)), np.float32)
        for choice in candidates(shape):
            run = jax.jit(lambda x, f=function, c=choice: f(c, x))
            first, again = (np.asarray(run(x).astype(jnp.float32)) for _ in range(2))
            finite = np.isfinite(expected)
            error = float(np.linalg.norm(first[finite] - expected[finite]) / np.linalg.norm(expected[finite]))
            victim = len(row.used) // 2
            begin, end = row.starts[victim], row.starts[victim] + row.lengths[victim]
            changed = np.asarray(run(x.at[begin:end].multiply(30)).astype(jnp.float32))
            others = np.ones(len(x) if operation == "attention" else len(row.starts), bool)
            others[slice(begin, end) if operation == "attention" else victim] = False
            axis = -1 if operation == "maxsim" else 0
            kept = bool((np.compress(others, first, axis) == np.compress(others, changed, axis)).all())
            facts = {"error": error, "repeats": bool((first == again).all()), "keeps_others": kept}
            good = error <= LIMIT and facts["repeats"] and kept and (np.isfinite(first) == finite).all()
            yield {"operation": operation, "backend": choice.backend.name, "good": bool(good), **facts}


# --- how fast ----------------------------------------------------------------------------------------------------------------


def timed(function: Callable[..., jax.Array], sets: list[Any], starts: jax.Array, sizes: Sizes) -> list[float]:
    """Microseconds of one call, one number for each repeat. `function(inputs, starts)`; each call waits for the one before."""

    @jax.jit
    def loop(sets: list[Any], starts: jax.Array) -> jax.Array:
        def body(_: int, starts: jax.Array) -> jax.Array:
            for inputs in sets:
                out = function(inputs, starts)
                # Never true, which the compiler cannot know.
                starts += (out.reshape(-1)[0] == 12345.6789).astype(jnp.int32)
            return starts

        return jax.lax.fori_loop(0, sizes.loops, body, starts)

    loop(sets, starts).block_until_ready()
    seconds = []
    for _ in range(sizes.repeats):
        begin = time.perf_counter()
        loop(sets, starts).block_until_ready()
        seconds.append(time.perf_counter() - begin)
    return [1e6 * one / (sizes.loops * len(sets)) for one in seconds]


def row_of(
    name: str, function: Callable[..., jax.Array], sets: list[Any], starts: Any, sizes: Sizes, **facts: Any
) -> dict[str, Any]:
    """Times one candidate; one that cannot run leaves its reason instead of a time."""
    try:
        times = timed(function, sets, jnp.asarray(starts), sizes)
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        return {"name": name, **facts, "failed": f"{type(error).__name__}: {error}"[:300]}
    spread = (max(times) - min(times)) / statistics.median(times)
    return {"name": name, **facts, "microseconds": round(statistics.median(times), 2), "spread": round(spread, 3)}


def ceilings(sizes: Sizes) -> dict[str, float]:
    """Bytes and operations a second of the very card: a large copy, read and written, and a large matrix product."""
    n = 1 << (28 if sizes.loops > 1 else 16)
    copies = [jnp.ones(n, jnp.bfloat16)]
    copy = statistics.median(timed(lambda x, s: x + s[0].astype(x.dtype), copies, jnp.zeros(1, jnp.int32), sizes))
    m = 8192 if sizes.loops > 1 else 256
    factors = [(drawn(i, m, m), drawn(i + 9, m, m)) for i in range(2)]
    multiply = statistics.median(
        timed(lambda x, s: (x[0] + s[0].astype(jnp.bfloat16)) @ x[1], factors, jnp.zeros(1, jnp.int32), sizes)
    )
    return {"bytes_per_second": 4 * n / copy * 1e6, "operations_per_second": 2 * m**3 / multiply * 1e6}


def floor(facts: dict[str, float], moved: float, operations: float) -> float:
    """Microseconds below which nothing can run that moves so many bytes and does so many operations."""
    return round(1e6 * max(moved / facts["bytes_per_second"], operations / facts["operations_per_second"]), 2)


def run_attention(inputs: Any, start: jax.Array, *, stop: jax.Array, cell: int, choice: Choice) -> jax.Array:
    """One layer's attention."""
    return attention(*inputs, Spans(start, stop), scale=inputs[0].shape[-1] ** -0.5, longest=cell, choice=choice)


def run_pool(inputs: Any, starts: jax.Array, *, lengths: jax.Array, choice: Choice) -> jax.Array:
    """Mean pooling, every other vector normalized."""
    dims = jnp.full_like(starts, inputs[0].shape[1])
    return pool(*inputs, starts, lengths, dims * 0, dims, jnp.arange(len(starts)) % 2 == 0, modes=("mean",), choice=choice)


def run_lexical(inputs: Any, starts: jax.Array, *, table: jax.Array, lengths: jax.Array, choice: Choice) -> jax.Array:
    """Every text's weight for every word."""
    return lexical(*inputs, table, jnp.zeros(len(table)), starts, lengths, choice=choice)


def run_maxsim(inputs: Any, starts: jax.Array, *, queries: jax.Array, lengths: jax.Array, choice: Choice) -> jax.Array:
    """Every query's score for every document."""
    return maxsim(queries, *inputs, starts, lengths, choice=choice)


def time_attention(sizes: Sizes, facts: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Rows of every length and mean of texts, flat and in cells; heads of every width in the row that counts most."""
    main = sizes.rows[len(sizes.rows) // 2]
    for t, mean, h, in_cells in product(sizes.rows, sizes.means, sizes.widths, (True, False)):
        if t != main and h != sizes.widths[0]:
            continue
        cell = min(t, 128 if mean < 100 else 1024) if in_cells else t
        n, row = max(1, sizes.model // h), texts(t, mean, cell, 1)
        start, stop = row.spans()
        sets = [tuple(drawn(3 * i + j, t, n, h) for j in range(3)) for i in range(SETS)]
        pairs = float((row.used.astype(np.int64) ** 2).sum())
        about = {"operation": "attention", "t": t, "mean": mean, "width": h, "heads": n, "cell": cell}
        about["floor_microseconds"] = floor(facts, 4 * t * n * h * 2, 4 * pairs * n * h)
        shape = AttentionShape(t, cell, n, n, h, "bfloat16")
        for choice in tilings(shape):
            ours = partial(run_attention, stop=stop, cell=cell, choice=choice)
            yield row_of(f"{choice.backend.name} {choice.tiles[0]}x{choice.tiles[1]}", ours, sets, start, sizes, **about)
        yield from rivals(row, sets, start, sizes, about)


def tilings(shape: AttentionShape) -> Iterator[Choice]:
    """The candidates, kernels with every tile of keys that serves: the best of them belongs into tiles.json."""
    for choice in candidates(shape):
        sizes = {"mosaic_gpu": ((128, 64), (128, 128)), "mosaic_tpu": ((256, 256), (512, 256), (512, 512))}
        for tiles in sizes.get(choice.backend.name, (choice.tiles,)):
            if not choice.backend.unmet(shape, tiles):
                yield replace(choice, tiles=tiles)


def rivals(row: Texts, sets: list[Any], start: jax.Array, sizes: Sizes, about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Other people's attention over the same texts: cells as a batch with a mask, and texts as a padded batch."""
    h, n = about["width"], about["heads"]
    if row.cell <= 1024:
        batch = row.t // row.cell
        begin, end = (np.asarray(x).reshape(batch, row.cell) for x in row.spans())
        place = np.arange(row.t).reshape(batch, 1, row.cell)
        mask = jnp.asarray((place >= begin[:, :, None]) & (place < end[:, :, None]))[:, None]

        def cells(inputs: Any, start: jax.Array, implementation: str) -> jax.Array:
            q, k, v = (x.reshape(batch, row.cell, n, h) for x in inputs)
            q += start[0].astype(q.dtype)
            return jax.nn.dot_product_attention(q, k, v, mask=mask, implementation=implementation)

        for implementation in ("xla", "cudnn") if jax.default_backend() == "gpu" else ("xla",):
            name = f"jax.nn.dot_product_attention {implementation}, cells as a batch"
            yield row_of(name, partial(cells, implementation=implementation), sets, start, sizes, **about)
    longest = -(-int(row.used.max()) // 64) * 64
    if len(row.used) * longest <= 8 * row.t and jax.default_backend() == "gpu":
        count = len(row.used)
        padded = [tuple(drawn(3 * i + j, count, longest, n, h) for j in range(3)) for i in range(SETS)]
        seen = jnp.asarray(row.used)

        def batch_of_texts(inputs: Any, start: jax.Array) -> jax.Array:
            q, k, v = inputs
            lengths = {"query_seq_lengths": seen, "key_value_seq_lengths": seen}
            return jax.nn.dot_product_attention(q + start[0].astype(q.dtype), k, v, implementation="cudnn", **lengths)

        yield row_of("jax.nn.dot_product_attention cudnn, padded texts", batch_of_texts, padded, start, sizes, **about)
    try:
        import tokamax
    except ImportError:
        return

    def tokamaxs(inputs: Any, start: jax.Array) -> jax.Array:
        q, k, v = (x[None] for x in inputs)
        return tokamax.dot_product_attention(q + start[0].astype(q.dtype), k, v)

    yield row_of("tokamax.dot_product_attention, the row without a mask", tokamaxs, sets, start, sizes, **about)


def time_others(sizes: Sizes, facts: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Pooling and lexical weights of one row, late interaction with many documents."""
    t, d, v = max(sizes.rows[:2]), sizes.model, sizes.vocabulary
    table, hidden = drawn(7, v, d), [(drawn(i, t, d),) for i in range(SETS)]
    for mean in sizes.means:
        row = texts(t, mean, min(t, 256 if mean < 100 else 1024), 2)
        s, lengths = len(row.starts), jnp.asarray(row.lengths)
        about = {"t": t, "mean": mean, "width": d, "places": s}
        least = floor(facts, t * d * 2 + s * d * 4, 0)
        for choice in candidates(PoolShape(t, row.cell, s, d, ("mean",), "bfloat16")):
            ours = partial(run_pool, lengths=lengths, choice=choice)
            facts_of = {"operation": "pool", **about, "floor_microseconds": least}
            yield row_of(choice.backend.name, ours, hidden, row.starts, sizes, **facts_of)
        least = floor(facts, (t + v) * d * 2 + s * v * 4, 2 * t * v * d)
        for choice in candidates(LexicalShape(t, s, d, v, "bfloat16")):
            ours = partial(run_lexical, table=table, lengths=lengths, choice=choice)
            facts_of = {"operation": "lexical", **about, "vocabulary": v, "floor_microseconds": least}
            yield row_of(choice.backend.name, ours, hidden, row.starts, sizes, **facts_of)
    length = 300 if sizes.loops > 1 else 30
    used = sizes.documents * length
    total = 1 << (used - 1).bit_length()
    starts, lengths = np.arange(sizes.documents, dtype=np.int32) * length, jnp.full(sizes.documents, length, jnp.int32)
    documents = [(drawn(i, total, 128),) for i in range(SETS)]
    for q in (1, 32):
        about = {"operation": "maxsim", "queries": q, "documents": sizes.documents, "tokens": length}
        least = floor(facts, used * 256, 2 * q * 32 * used * 128)
        for choice in candidates(MaxsimShape(q, 32, total, sizes.documents, 128, "bfloat16")):
            ours = partial(run_maxsim, queries=drawn(8, q, 32, 128), lengths=lengths, choice=choice)
            yield row_of(choice.backend.name, ours, documents, starts, sizes, **about, floor_microseconds=least)


def main() -> int:
    """Runs the parts asked for. Returns 1 if a result was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="small shapes, nothing written: proves that the script works")
    parser.add_argument("--only", choices=("check", "attention", "others"), help="one part alone")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FOLDER", help="where the log goes")
    arguments = parser.parse_args()
    sizes = DRY if arguments.dry else Sizes()
    packages = ("jax", "jaxlib", "jaxembed", "tokamax", "jax-cuda13-plugin", "libtpu")
    report: dict[str, Any] = {
        "device": target().name,
        "date": datetime.date.today().isoformat(),
        "versions": {name: version for name in packages if (version := _version(name))},
    }
    path = arguments.output / f"kernels-{report['device'].lower().replace(' ', '-')}.json"
    print(f"{report['device']}, {report['versions']}")
    for part in _parts(sizes, arguments.only, report):
        print(part, flush=True)
        # After every line, so that a visit that is cut short leaves what it found.
        if not arguments.dry:
            path.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(one["good"] for one in report.get("checks", [])) else 1


def _parts(sizes: Sizes, only: str | None, report: dict[str, Any]) -> Iterator[str]:
    """Fills the report, and gives a line to read for everything that comes into it."""
    if only in (None, "check"):
        report["checks"] = []
        for one in check(sizes):
            report["checks"].append(one)
            faults = f"{'' if one['repeats'] else ', not repeatable'}{'' if one['keeps_others'] else ', LEAKS'}"
            verdict = "good " if one["good"] else "WRONG"
            yield f"{verdict} {one['operation']:<10} {one['backend']:<11} error {one['error']:.1e}{faults}"
    if only == "check":
        return
    report["ceilings"] = ceilings(sizes)
    yield "ceilings: {bytes_per_second:.3g} bytes/s, {operations_per_second:.3g} operations/s".format(**report["ceilings"])
    report["times"] = []
    parts = {"attention": time_attention, "others": time_others}
    for part in [parts[only]] if only else parts.values():
        for one in part(sizes, report["ceilings"]):
            report["times"].append(one)
            about = " ".join(f"{k} {v}" for k, v in one.items() if k not in ("name", "microseconds", "spread", "failed"))
            yield f"{one.get('microseconds', one.get('failed')):>10} µs  {one['name']:<52} {about}"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
