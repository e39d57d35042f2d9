"""`jaxembed embed`: texts in, vectors out."""

import argparse
import json
import signal
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxembed.cli.options import add_model_arguments, add_running_arguments, load_llm, prompt_named, truncation
from jaxembed.cli.progress import text_progress
from jaxembed.cli.texts import Line, read_lines, shown_name
from jaxembed.errors import InputError, JaxEmbedError, fields_as, shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("texts", nargs="*", metavar="TEXT")
    add_model_arguments(parser)
    parser.add_argument("--input", metavar="FILE", help="one text a line, or .jsonl with a 'text' in each; - for stdin")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help=".npy for one float32 array, .jsonl for one object a text, with all of its line",
    )
    parser.add_argument("--prompt-name", metavar="NAME", help="one of the checkpoint's prompts, put before each text")
    parser.add_argument("--dimensions", metavar="N", type=int, help="keep the first N dimensions (matryoshka models)")
    parser.add_argument("--no-normalize", action="store_true", help="leave vectors at the length the model gives them")
    add_running_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Embeds the texts and writes or shows the vectors. An output file appears whole or not at all.

    A text whose vector is not finite keeps its place, as NaN or null, and is named by the error that ends the command.
    """
    if bool(arguments.texts) == bool(arguments.input):
        raise InputError("give the texts either as arguments or with --input FILE ('-' reads standard input).", field="TEXT")
    output = Path(arguments.output) if arguments.output else None
    if output is not None and output.suffix not in (".npy", ".jsonl"):
        raise InputError(f"--output must end in .npy or .jsonl, not {output.name!r}.", field="--output")
    if output is not None and not output.absolute().parent.is_dir():
        raise InputError(f"there is no folder {output.absolute().parent} to write {output.name} to.", field="--output")
    lines = list(read_lines(arguments.input)) if arguments.input else [Line(text, None) for text in arguments.texts]
    if not lines:
        raise InputError(f"{arguments.input} holds no texts.", field="--input")

    from jaxembed.vllm.params import PoolingParams

    llm = load_llm(arguments)
    params = PoolingParams(dimensions=arguments.dimensions, use_activation=False if arguments.no_normalize else None)
    with text_progress(len(lines)) as tick, _named(arguments.input, lines):
        prefix = prompt_named(arguments.prompt_name, llm)
        default = llm.engine.model.recipe.default_prompt_name
        if default is not None and arguments.prompt_name is None:
            print(
                f"no prompt is put before the texts, as in vLLM; --prompt-name {default} is the model's own.", file=sys.stderr
            )
        texts = [line.text for line in lines]
        results = llm.stream(texts, params, prefix=prefix, progress=tick, tokenization_kwargs=truncation(arguments))
        broken: list[int] = []
        vectors = _watched((vector for vector, _ in results), broken)
        if output is None:
            show(lines, vectors)
        else:
            write(output, lines, vectors)
    if broken:
        raise JaxEmbedError(_broken(broken, texts))


def _watched(vectors: Iterable[Any], broken: list[int]) -> Iterator[Any]:
    """Yields vectors as they are, and notes the places of those that are not finite."""
    from jaxembed.engine.finite import not_finite

    for place, vector in enumerate(vectors):
        if not_finite([vector]):
            broken.append(place)
        yield vector


def _broken(broken: Sequence[int], texts: Sequence[str]) -> str:
    first = ", ".join(f"number {place + 1} ({shown(texts[place], 40)})" for place in broken[:5])
    more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
    return (
        f"{len(broken)} of {len(texts)} texts have no finite vector: {first}{more}. A row of the table of words is spoiled, or "
        "numbers overflow; all other texts have theirs."
    )


@contextmanager
def _named(name: str | None, lines: list[Line]) -> Iterator[None]:
    """Gives errors about one of the texts the line that it is on, or its place among the arguments."""
    try:
        with fields_as({"prompts": "TEXT", "dimensions": "--dimensions"}, truncate="have it cut with --truncate"):
            yield
    except InputError as error:
        if name is None or error.field != "TEXT":
            raise
        number = lines[error.index or 0].number
        raise InputError(f"{shown_name(name)}, line {number}: {error.args[0]}", field="--input", remedy=error.remedy) from None


def show(lines: list[Line], vectors: Iterable[Any]) -> None:
    """Prints JSON lines into a pipe, and the beginning of each vector for a person on a terminal."""
    if not sys.stdout.isatty():
        for line, vector in zip(lines, vectors, strict=True):
            sys.stdout.write(_written(line, vector))
        return
    for line, vector in zip(lines, vectors, strict=True):
        first, text = ", ".join(f"{value:+.4f}" for value in vector[:4]), line.text
        short = text if len(text) <= 48 else text[:47] + "…"
        print(f"{short:<48}  [{first}, … {len(vector)} dimensions]")


def write(output: Path, lines: list[Line], vectors: Iterable[Any]) -> None:
    """Streams vectors to a file beside `output`, which takes its place when it is complete."""
    # A name of its own: two runs may write the same output, and what else lies there is not ours.
    partial = output.with_name(f"{output.name}.{uuid.uuid4().hex[:12]}.partial")
    before = _on_signals(_end)
    try:
        if output.suffix == ".npy":
            _write_npy(partial, len(lines), vectors)
        else:
            with partial.open("w", encoding="utf-8") as file:
                file.writelines(_written(line, vector) for line, vector in zip(lines, vectors, strict=True))
        partial.replace(output)
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}.", field="--output") from None
    finally:
        partial.unlink(missing_ok=True)
        _set(before)


def _end(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _on_signals(handler: Any) -> dict[int, Any]:
    """Sets what ends the process and returns what was set; other threads than the first may not.

    A signal that is ignored stays so: that is what nohup asks for.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return {each: signal.signal(each, handler) for each in numbers if signal.getsignal(each) is not signal.SIG_IGN}


def _set(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _write_npy(path: Path, count: int, vectors: Iterable[Any]) -> None:
    import numpy as np

    with path.open("wb") as file:
        for number, vector in enumerate(vectors):
            if number == 0:
                header = {"descr": "<f4", "fortran_order": False, "shape": (count, len(vector))}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(vector.astype("<f4").tobytes())


def _written(line: Line, vector: Any) -> str:
    """Returns a line of the output: all that the line of the input had, and the vector."""
    import numpy as np
    import orjson

    fields = {key: value for key, value in (line.fields or {"text": line.text}).items() if key != "embedding"}
    head = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    if not _is_unicode(head):  # half an emoji in a field that is kept, which UTF-8 cannot hold but an escape can
        head = json.dumps(fields, separators=(",", ":"))
    vector = vector if np.isfinite(vector).all() else None
    numbers = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return f'{head[:-1]},"embedding":{numbers}}}\n'


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
