"""A stranger's chat template, rendered within budgets: what the process of `renderer.py` runs, and nothing else does.

The environment is the one that templates of the hub are written for (transformers, `utils/chat_template_utils.py`): blocks
trimmed, `raise_exception`, `strftime_now`, a `tojson` that does not escape for HTML, `break` and `continue`. Turns of loops,
calls, sizes and what is written are counted; what no count sees (a filter's width, constants folded by the compiler) ends at
the limits on memory and processor time that the process has. Imports jinja2 and the standard library only.
"""

import json
import re
import signal
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, BinaryIO

from jinja2 import TemplateError, nodes
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

# Of processor time: an honest template takes a millisecond.
MOST_SECONDS = 2.0
MOST_MEMORY_BYTES = 1 << 30
# Turns and calls, and characters written, besides those that the size of what comes in grants.
_MOST_TURNS, _MOST_CHARACTERS = 200_000, 1_000_000
# How many times longer than what comes in a text may be.
_MOST_GROWTH = 8
# Items of what `*` repeats, bits of what `**` gives, the width that `%` pads to.
_MOST_REPEATED, _MOST_BITS, _MOST_WIDTH = 1_000_000, 4096, 1000
_MOST_MESSAGE = 300
_HEAD = struct.Struct(">Q")


class Budget:
    """What is left for one rendering of `size` characters."""

    def __init__(self, size: int) -> None:
        self.turns = _MOST_TURNS + size
        self.characters = _MOST_CHARACTERS + _MOST_GROWTH * size

    def spend(self, turns: int = 1) -> None:
        """Raises `TemplateError` when too much has been done."""
        self.turns -= turns
        if self.turns < 0:
            raise TemplateError("it takes too many turns of its loops and calls")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, counting."""

    intercepted_binops = frozenset(("*", "**", "%"))

    def __init__(self) -> None:
        # Not optimized: constants would be folded before anything counts.
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols], optimized=False)
        self.budget = Budget(0)
        self.filters["tojson"] = _tojson
        for name in ("lipsum", "cycler", "joiner"):
            del self.globals[name]
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = lambda format_: datetime.now().strftime(format_)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Parses, and has every loop counted."""
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Call(nodes.EnvironmentAttribute("counted"), [loop.iter], [], None, None)
        return tree

    def counted(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yields what a loop goes over."""
        # A list where its length is known: `loop.last` and `loop.length` look ahead.
        if hasattr(items, "__len__"):
            self.budget.spend(len(items))  # type: ignore[arg-type]
            return items  # type: ignore[return-value]
        return self._counted(items)

    def _counted(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.budget.spend()
            yield item

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls, and counts it: macros need no loop to go on for ever."""
        __self.budget.spend()
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Computes what may become large, if it does not."""
        if operator == "*":
            for items, times in ((left, right), (right, left)):
                sized = isinstance(items, str | list | tuple) and isinstance(times, int)
                if sized and len(items) * times > _MOST_REPEATED:
                    raise TemplateError(f"it repeats {len(items)} items {times} times")
        bits = left.bit_length() if isinstance(left, int) else 0
        if operator == "**" and isinstance(right, int) and bits * right > _MOST_BITS:
            raise TemplateError("it computes a number of too many digits")
        if operator == "%" and isinstance(left, str):
            widths = re.findall(r"%[^a-zA-Z%]*?(\d+)", left)
            if "*" in left or any(len(width) > 4 or int(width) > _MOST_WIDTH for width in widths):
                raise TemplateError("it pads to a width that is too large")
        return super().call_binop(context, operator, left, right)


class Refused(Exception):
    """What `raise_exception` raises."""


def _raise_exception(message: Any) -> None:
    raise Refused(str(message))


def _tojson(value: Any, **options: Any) -> str:
    allowed = {key: options[key] for key in ("indent", "sort_keys", "separators") if key in options}
    if isinstance(allowed.get("indent"), int) and allowed["indent"] > _MOST_WIDTH:
        raise TemplateError("it indents by a width that is too large")
    return json.dumps(value, ensure_ascii=False, **allowed)


_sandbox = Sandbox()


@lru_cache(maxsize=32)
def _compiled(source: str) -> Any:
    return _sandbox.from_string(source)


def compile_(source: str) -> dict[str, Any]:
    """Returns whether a template walks over the parts of a message's content, or the error that it is not one."""
    try:
        _compiled(source)
        return {"walks": _walks_over_content(source)}
    except Exception as error:  # noqa: BLE001 - a stranger's template may raise anything, MemoryError and SyntaxError too
        return {"field": "chat_template", "error": f"the chat template is not valid Jinja: {_said(error)}"}


def render(source: str, names: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Returns the text of a template with names that took `size` characters, or the error that it raises."""
    _sandbox.budget = budget = Budget(size)
    try:
        written: list[str] = []
        for piece in _compiled(source).generate(**names):
            budget.characters -= len(piece)
            if budget.characters < 0:
                raise TemplateError("it writes too much")
            written.append(piece)
        text = "".join(written)
        text.encode()
        return {"text": text}
    except Refused as error:
        return {"field": "messages", "error": f"the chat template refuses these messages: {_said(error)}"}
    except UnicodeError:
        return {"field": "messages", "error": "the conversation holds a lone surrogate, which is no Unicode character."}
    except Exception as error:  # noqa: BLE001 - as above
        return {"field": "messages", "error": f"the chat template cannot be filled with these messages: {_said(error)}"}


def _said(error: Exception) -> str:
    try:
        text = str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 - of a class that the template made up
        text = type(error).__name__
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text[:_MOST_MESSAGE])
    return shown + ("..." if len(text) > _MOST_MESSAGE else "")


def _walks_over_content(source: str) -> bool:
    """Whether the template has a loop over a message's content, and so wants it as a list of parts."""
    for loop in ImmutableSandboxedEnvironment(extensions=[loopcontrols]).parse(source).find_all(nodes.For):
        over = loop.iter
        if isinstance(over, nodes.Getattr) and over.attr == "content":
            return True
        if isinstance(over, nodes.Getitem) and isinstance(over.arg, nodes.Const) and over.arg.value == "content":
            return True
        if isinstance(over, nodes.Name) and over.name == "content":
            return True
    return False


def read(stream: BinaryIO) -> bytes | None:
    """Returns the next message of a pipe, None at its end."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    (size,) = _HEAD.unpack(head)
    body = stream.read(size)
    return body if len(body) == size else None


def write(stream: BinaryIO, message: bytes) -> None:
    """Sends a message."""
    stream.write(_HEAD.pack(len(message)))
    stream.write(message)
    stream.flush()


def main() -> None:
    """Compiles and renders what comes in, until nothing does."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (message := read(sys.stdin.buffer)) is not None:
        asked = json.loads(message)
        if sys.platform != "win32":
            # Ends the process wherever it is, in C too; the other side sees the pipe close.
            signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS + len(message) / 1e6)
        made = render(asked["source"], asked["names"], len(message)) if "names" in asked else compile_(asked["source"])
        write(sys.stdout.buffer, json.dumps(made).encode())
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_PROF, 0)
