"""Lets the site read docstrings as they are written here: one row of an `Args:` list may describe several names.

griffe, which draws the reference, wants a row for each, and then looks up that each is a parameter and what type it has.
"""

import re
from typing import Any

from griffe import Extension

_ROW = re.compile(r"^( +)(\w+(?:, \w+)+): (.*)$")


class OneRowForEachName(Extension):
    """Writes a row of several names once for each of them."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Changes the docstring of an object that has one."""
        if obj.docstring is not None:
            obj.docstring.value = split(obj.docstring.value)


def split(docstring: str) -> str:
    """Returns a docstring with a row for each name, in the sections that have rows."""
    lines, section = [], False
    rest = docstring.splitlines()
    while rest:
        line = rest.pop(0)
        if line and not line.startswith(" "):
            section = line in ("Args:", "Attributes:")
        found = _ROW.match(line) if section else None
        if found is None:
            lines.append(line)
            continue
        deeper = []
        while rest and rest[0].startswith(found[1] + " "):
            deeper.append(rest.pop(0))
        for name in found[2].split(", "):
            lines += [f"{found[1]}{name}: {found[3]}", *deeper]
    return "\n".join(lines)
