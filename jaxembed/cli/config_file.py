"""`--config FILE`: flags from a YAML file, under their names on the command line."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jaxembed.cli import foreign
from jaxembed.cli.flags import Flag
from jaxembed.errors import InputError


def read_config(path: str, flags: Sequence[Flag]) -> dict[str, Any]:
    """Returns the values that a file gives to flags, by `Flag.dest`.

    Args:
        path: of a YAML file with a mapping from names of flags to values.
        flags: those that there are.

    Raises:
        InputError: the file cannot be read, or a line of it is no flag or has a value that the flag does not take.
    """
    given = _mapping(path)
    known = {name: flag for flag in flags for name in (flag.name, *flag.aliases) if name != "config"}
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = foreign.renamed(str(key)) if "." not in str(key) else str(key)
        foreign.check_known(name)
        if name not in known:
            near = get_close_matches(name, known, n=1)
            advice = f"; did you mean {near[0]!r}?" if near else "."
            raise InputError(f"--config {path}: {key!r} is no flag of `jaxembed serve`{advice}", field="--config")
        flag = known[name]
        try:
            values[flag.dest] = flag.typed(value)
        except ValueError as error:
            raise InputError(f"--config {path}: {key} cannot be {value!r}: {error}.", field="--config") from None
    return values


def _mapping(path: str) -> Mapping[Any, Any]:
    import yaml

    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config {path} cannot be read: {error.strerror}.", field="--config") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--config {path} is no YAML: {reason}.", field="--config") from None
    if not isinstance(found, dict):
        raise InputError(f"--config {path} must hold lines like `max-model-len: 512`.", field="--config")
    return found
