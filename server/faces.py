"""Whose clients call which path: each route says so when it is added, and errors are answered in that API's shape."""

import re
from typing import Literal

from starlette.routing import compile_path
from starlette.types import Scope

Face = Literal["openai", "cohere", "tei", "ollama"]

# The shape in which a path is answered that no route has.
_UNKNOWN: Face = "openai"


class Faces:
    """The face of every path that was added."""

    def __init__(self) -> None:
        self._faces: dict[str, Face] = {}
        self._templates: list[tuple[re.Pattern[str], Face]] = []

    def __contains__(self, path: str) -> bool:
        return path in self._faces

    def add(self, path: str, face: Face) -> None:
        """Says whose clients call a path, as a route has it; all routes of one path say the same."""
        known = self._faces.setdefault(path, face)
        assert known == face, f"{path} has the face {known} and is added with {face}"
        if "{" in path:
            self._templates.append((compile_path(path)[0], face))

    def of(self, scope: Scope) -> Face:
        """Returns whose clients call the path of a request."""
        path = path_of(scope)
        if path in self._faces:
            return self._faces[path]
        return next((face for template, face in self._templates if template.match(path)), _UNKNOWN)


def path_of(scope: Scope) -> str:
    """Returns the path that routes are looked up by: without the prefix that a proxy shows the server under."""
    path, prefix = scope["path"], scope.get("root_path", "")
    # As Starlette's router has it: a prefix ends where a part of the path does.
    return path[len(prefix) :] if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/") else path


def from_proxy(scope: Scope, faces: Faces) -> Scope:
    """Returns a request as one behind a proxy that takes the prefix off, whether the proxy does or passes it on.

    uvicorn puts `--root-path` before every path, so from a proxy that leaves it there the path comes with it twice.
    """
    prefix, rest = scope.get("root_path", ""), path_of(scope)
    if not prefix or rest == scope["path"] or rest in faces or not f"{rest}/".startswith(f"{prefix}/"):
        return scope
    return {**scope, "path": rest}
