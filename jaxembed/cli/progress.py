"""Progress of what takes long: a bar on a terminal, a line every ten seconds elsewhere, a summary at the end. On stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxembed.engine.engine import Progress

_SECONDS_BETWEEN_LINES = 10


@contextmanager
def text_progress(count: int) -> Iterator["Progress"]:
    """Gives a function to call after each row with its texts and tokens. Quiet for a single text."""
    tokens = 0

    def described(texts: int, seconds: float) -> str:
        return f"{texts / seconds:,.0f} texts/s, {tokens / seconds:,.0f} tokens/s"

    def summary(texts: int, seconds: float) -> str:
        return f"{texts:,} texts, {tokens:,} tokens in {seconds:.1f} s: {described(texts, seconds)}"

    with _progress(count, "{:,}".format, "texts", described, summary if count > 1 else None) as advance:

        def tick(texts: int, more: int) -> None:
            nonlocal tokens
            tokens += more
            advance(texts)

        yield tick


@contextmanager
def byte_progress(total: int) -> Iterator[Callable[[int], None]]:
    """Gives a function to call with bytes that have been written."""

    def described(done: int, seconds: float) -> str:
        return f"{done / seconds / 1e6:,.0f} MB/s"

    def summary(done: int, seconds: float) -> str:
        return f"{_bytes(done)} in {seconds:.1f} s: {described(done, seconds)}"

    with _progress(total, _bytes, "", described, summary) as advance:
        yield advance


@contextmanager
def _progress(
    total: int,
    shown: Callable[[int], str],
    unit: str,
    described: Callable[[int, float], str],
    summary: Callable[[int, float], str] | None,
) -> Iterator[Callable[[int], None]]:
    """What both share. shown: an amount in words. described: the rate so far. summary: the last line, None for silence."""
    begin = last = time.monotonic()
    done = 0

    def seconds() -> float:
        return max(time.monotonic() - begin, 1e-9)

    if sys.stderr.isatty() and summary is not None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=total, text="")

            def move(amount: int) -> None:
                nonlocal done
                done += amount
                bar.update(task, advance=amount, text=f"{shown(done)}/{shown(total)} {described(done, seconds())}")

            yield move
    else:

        def tell(amount: int) -> None:
            nonlocal done, last
            done += amount
            if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                print(f"{shown(done)} of {shown(total)} {unit}".rstrip() + f", {described(done, seconds())}", file=sys.stderr)

        yield tell
    if summary is not None:
        print(summary(done, seconds()), file=sys.stderr)


def _bytes(count: int) -> str:
    for size, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= size:
            return f"{count / size:,.1f} {name}"
    return f"{count / 1e3:,.1f} kB"
