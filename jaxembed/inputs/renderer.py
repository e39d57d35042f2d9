"""Processes that render chat templates, because what a stranger wrote can only be ended with the process that runs it.

One is started when a template is first needed, a second when two are needed at once; one that a template has used up is
replaced. They wait for work on a pipe, and end when it closes. Threads may call in at any time.
"""

import atexit
import json
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from jaxembed.errors import EngineError, InputError

_MOST_PROCESSES = 2
# With the path of this process, or a checkout that was found by it would not be found.
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from jaxembed.inputs.sandbox import main; main()"


class Renderer:
    """A few processes, used one at a time by each caller."""

    def __init__(self) -> None:
        self._places = threading.Semaphore(_MOST_PROCESSES)
        self._idle: list[subprocess.Popen[bytes]] = []

    def compile(self, source: str) -> bool:
        """Returns whether a template walks over the parts of a message's content. Raises `InputError` if it is not Jinja."""
        walks: bool = self._ask({"source": source}, "chat_template")["walks"]
        return walks

    def render(self, source: str, names: dict[str, Any]) -> str:
        """Returns the text that a template makes of names. Raises `InputError` where it fails, or takes too much."""
        text: str = self._ask({"source": source, "names": names}, "messages")["text"]
        return text

    def stop(self) -> None:
        """Ends the processes that nobody uses."""
        while self._idle:
            _end(self._idle.pop())

    def _ask(self, asked: dict[str, Any], field: str) -> dict[str, Any]:
        from jaxembed.inputs.sandbox import MOST_MEMORY_BYTES, MOST_SECONDS, read, write

        try:
            message = json.dumps(asked).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"a conversation must be made of JSON values: {error}.", field=field) from None
        with self._places:
            process = self._take()
            assert process.stdin is not None, "a pipe"
            assert process.stdout is not None, "a pipe"
            answer = None
            with suppress(OSError):  # it ended while it was written to
                write(process.stdin, message)  # type: ignore[arg-type]
                answer = read(process.stdout)  # type: ignore[arg-type]
            if answer is None:
                _end(process)
            else:
                self._idle.append(process)
        if answer is None:
            raise InputError(
                f"the chat template took more than {MOST_SECONDS:g} s or {MOST_MEMORY_BYTES >> 20} MiB and was ended.",
                field=field,
            )
        made: dict[str, Any] = json.loads(answer)
        if "error" in made:
            raise InputError(made["error"], field=made["field"])
        return made

    def _take(self) -> "subprocess.Popen[bytes]":
        """Returns a process that waits for work."""
        with suppress(IndexError):
            while True:
                process = self._idle.pop()
                if process.poll() is None:
                    return process
                _end(process)
        command = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        try:
            # In a session of its own: Ctrl-C is for the server, which still needs it while it drains.
            return subprocess.Popen(command, start_new_session=True, **pipes)  # type: ignore[call-overload]
        except OSError as error:
            raise EngineError(
                f"no process can be started to render the chat template: {error.strerror}.", retry_after_seconds=5
            ) from None


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.wait()


RENDERER = Renderer()
atexit.register(RENDERER.stop)
