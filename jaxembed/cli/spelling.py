"""How flags may be spelled: underscores for dashes, a key of a JSON flag by itself, other servers' names."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from jaxembed.cli import foreign
from jaxembed.cli.flags import json_value
from jaxembed.errors import InputError

# Flags that hold a JSON object, whose keys may be given one by one, as in vLLM: --hf-overrides.is_matryoshka true
OBJECTS = ("hf-overrides", "pooler-config")


def spelled(arguments: Sequence[str], *, declared: Sequence[str] = (), serving: bool = False) -> list[str]:
    """Returns a command line with each flag as it is declared.

    Args:
        arguments: as they were typed.
        declared: names of flags with a dot in them, which stay as they are.
        serving: whether flags of other servers are known too.

    Raises:
        InputError: a key of a JSON flag has no value, or a flag of another server means something else here.
    """
    return list(_spelled(iter(arguments), set(declared), serving))


def _spelled(arguments: Iterator[str], declared: set[str], serving: bool) -> Iterator[str]:
    for argument in arguments:
        if argument == "--":  # what follows are texts
            yield argument
            yield from arguments
        elif not argument.startswith("--"):
            yield argument
        else:
            name, equals, value = argument[2:].partition("=")
            head, dot, key = name.partition(".")
            head = foreign.renamed(head) if serving else head.replace("_", "-")
            if serving and not dot:
                foreign.check_known(head)
            if dot and head in OBJECTS and f"{head}.{key}" not in declared:
                yield from (f"--{head}", _object(head, key, value if equals else next(arguments, "--")))
            else:
                yield f"--{head}{dot}{key}{equals}{value}"


def _object(head: str, key: str, value: str) -> str:
    """Returns the JSON object that one of its keys stands for; dots reach into objects in it."""
    name = f"--{head}.{key}"
    if value.startswith("--"):
        raise InputError(f"{name} needs a value behind it.", field=name)
    if key.endswith("+"):
        raise InputError(f"{name} is not understood; give the whole list as JSON: {name[:-1]} '[...]'.", field=name)
    made: Any = json_value(value)
    for part in reversed(key.split(".")):
        if not part:
            raise InputError(f"{name} names no key of --{head}.", field=name)
        made = {part: made}
    return json.dumps(made)
