"""Texts in, vectors out, in the order given: the one engine behind library, server and batch jobs.

A window of texts is planned into rows; while the device works on two of them the host lays out the next, and another
thread already pulls, and so tokenizes, the next window.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import jax
import numpy as np

from jaxembed import batching
from jaxembed.batching import Row, Text
from jaxembed.choosing import Chooser
from jaxembed.errors import InputError
from jaxembed.kernels_pallas import Choice, Target
from jaxembed.loading import Model, load
from jaxembed.programs import KINDS, Programs

# Texts planned together. Enough to fill rows to 97 % and more, few enough that a stream of millions stays in bounded memory.
WINDOW_TEXTS = 4096

# One row runs, one waits behind it: the device never idles while the host packs.
ROWS_IN_FLIGHT = 2

Progress = Callable[[int, int], None]


class Engine:
    """A loaded model on one device, and its compiled programs. Safe to use from several threads."""

    def __init__(
        self, model: Model, *, device: jax.Device | None = None, attention: str | None = None, pool: str | None = None
    ) -> None:
        """`attention` and `pool` force a back end by name instead of the one that `choose` takes for the device.

        Raises `BackendError` for one that cannot serve, with what it misses.
        """
        device = device or jax.devices()[0]
        self.model = model
        # Starts as what the files say; a caller may raise it up to what the positions allow.
        self.max_length = model.max_length
        self.target = Target(device.platform, device.device_kind)
        self.table = batching.TABLES[self.target.kind]
        full = self.table.shape(self.table.row, self.table.cell)
        forced = {"attention": attention, "pool": pool}
        self._chooser = Chooser(model.graph, model.state, self.target, full, forced)
        # What a full row of short texts runs, for people to read.
        self.choices = self._chooser(full)
        self._programs = Programs(model.graph, model.state, self._chooser)

    @classmethod
    def load(
        cls, name: str | None = None, *, attention: str | None = None, pool: str | None = None, **options: Any
    ) -> "Engine":
        """Loads a checkpoint for the default device. `options` are those of `loading.load`."""
        per_layer = jax.default_backend() == "cpu"
        return cls(load(name, per_layer=per_layer, **options), attention=attention, pool=pool)

    @property
    def choice(self) -> Choice:
        """The back end of attention."""
        return self.choices.attention

    @property
    def compiled(self) -> int:
        """How many programs have been compiled so far; it stays the same after a warm-up."""
        return self._programs.compiled

    def warm_up(self, kinds: Sequence[str] = ("embed",)) -> None:
        """Compiles every program that a text of any allowed length can need."""
        for _ in self.warm_up_steps(kinds):
            pass

    def warm_up_steps(self, kinds: Sequence[str] = ("embed",)) -> Iterator[int]:
        """The same, yielding after each program how many are done."""
        wanted = [(kind, shape) for kind in kinds for shape in self.table.shapes(self.max_length)]
        for done, (kind, shape) in enumerate(wanted, 1):
            self._programs.compile(kind, shape)
            yield done

    def prepare(self, kind: str) -> None:
        """Compiles the one program that can hold any row of this kind, so that no text waits for a compiler after it."""
        self._programs.compile(kind, max(self.table.shapes(self.max_length)))

    def run(self, texts: Iterable[Text], *, kind: str = "embed", progress: Progress | None = None) -> Iterator[np.ndarray]:
        """Yields one float32 array for each text, in input order.

        kind: "embed" gives [dimensions]; "token_embed" gives [n, dimensions], heads and normalization applied to every
        token; "hidden" gives [n, d], the last hidden states as the transformer leaves them. `texts` may be a generator: it
        is pulled in windows of some thousand, in another thread. progress: called after each row with how many texts and
        tokens it held. Raises `InputError` for an empty text, one longer than the model takes, or an unknown token id.
        """
        if kind not in KINDS:
            raise InputError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}.")
        stream = iter(texts)
        with ThreadPoolExecutor(1, thread_name_prefix="jaxembed-read") as reader:
            window = list(islice(stream, WINDOW_TEXTS))
            while window:
                # A window that is not full was the last: nothing is left to read ahead.
                ahead = reader.submit(list, islice(stream, WINDOW_TEXTS)) if len(window) == WINDOW_TEXTS else None
                yield from self._run_window(window, kind, progress)
                window = ahead.result() if ahead else []

    def check(self, texts: Sequence[Text]) -> None:
        """Raises `InputError` for the first text that the model cannot take."""
        lengths = np.fromiter((len(text.ids) for text in texts), np.int64, len(texts))
        if (lengths == 0).any():
            raise InputError("The prompt cannot be empty: it has no tokens.")
        if (lengths > self.max_length).any():
            raise InputError(
                f"This model's maximum context length is {self.max_length} tokens. However, your prompt contains "
                f"{lengths.max()} input tokens. Please reduce the length of the input prompt or ask for truncation."
            )
        ids = np.concatenate([text.ids for text in texts]) if len(texts) else np.zeros(0, np.int32)
        wrong = ids[(ids < 0) | (ids >= self.model.vocab_size)]
        if wrong.size:
            raise InputError(
                f"Token id {wrong[0]} is out of vocabulary: this model's ids are 0 to {self.model.vocab_size - 1}."
            )

    def _run_window(self, texts: Sequence[Text], kind: str, progress: Progress | None) -> list[np.ndarray]:
        self.check(texts)
        results: list[Any] = [None] * len(texts)
        flying: deque[tuple[Row, jax.Array]] = deque()

        def land() -> None:
            row, output = flying.popleft()
            for index, result in zip(row.texts, self.finish(kind, row, texts, output), strict=True):
                results[index] = result
            if progress is not None:
                progress(len(row.texts), row.tokens)

        for row in batching.plan([len(text.ids) for text in texts], self.table):
            flying.append((row, self.start(kind, row, texts)))
            if len(flying) > ROWS_IN_FLIGHT:
                land()
        while flying:
            land()
        return results

    def start(self, kind: str, row: Row, texts: Sequence[Text]) -> jax.Array:
        """Lays out one planned row and starts its program; returns while the device still works on it.

        texts: what the row's indices mean, checked before. A program that is missing is compiled first unless a larger one
        is ready.
        """
        shape = self._programs.pick(kind, row.shape)
        return self._programs(kind, shape, batching.arrays(row, texts, shape, self.model.width))

    def finish(self, kind: str, row: Row, texts: Sequence[Text], output: jax.Array) -> list[np.ndarray]:
        """Waits for a started row and returns the results of its texts in the order of `row.texts`.

        They are copies, so that the row's buffer can go.
        """
        values = np.asarray(output)
        if kind == "embed":
            vectors = values[: len(row.texts)].copy()
            wanted = [texts[index].dimensions for index in row.texts]
            return [v if n is None else v[:n].copy() for v, n in zip(vectors, wanted, strict=True)]
        results = []
        for index, start in zip(row.texts, row.starts, strict=True):
            width = texts[index].dimensions if kind == "token_embed" else None
            results.append(values[start : start + len(texts[index].ids), :width].copy())
        return results
