"""Flags as data: each is an option of the command line and a variable of the environment, with one default."""

import argparse
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from jaxembed.errors import InputError

PREFIX = "JAXEMBED_"
# Kubernetes sets JAXEMBED_PORT to such a link in every pod beside a service named jaxembed; it was not meant for us.
_LINK = "tcp://"
# What else it sets there.
_KUBERNETES = re.compile(rf"{PREFIX}(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP|SCTP))(_|$)")
# Read by tests and by what builds the site.
_NOT_FLAGS = (f"{PREFIX}RECORD", f"{PREFIX}REFERENCE_PYTHON", f"{PREFIX}REPOSITORY")


@dataclass(frozen=True)
class Flag:
    """One flag.

    Attributes:
        name: as written, without dashes in front.
        help: a line for `--help`.
        parse: makes a value of a string; bool makes `--name` and `--no-name`.
        default: what holds if neither the command line nor the environment says anything.
        several: whether it takes a list.
        choices: as argparse has them.
        metavar: the same.
        short: another spelling.
        aliases: what other servers call it.
    """

    name: str
    help: str
    parse: Callable[[str], Any] = str
    default: Any = None
    several: bool = False
    choices: Sequence[str] | None = None
    metavar: str | None = None
    short: str | None = None
    aliases: Sequence[str] = ()

    @property
    def dest(self) -> str:
        """The attribute it is parsed into."""
        return self.name.replace("-", "_").replace(".", "_")

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.dest.upper()

    def add_to(self, parser: Any) -> None:
        """Adds the option to a parser or group; its default is filled in later, by `read`."""
        names = [f"--{self.name}", *([self.short] if self.short else []), *(f"--{name}" for name in self.aliases)]
        shown = "" if self.default in (None, ()) else f" (default: {self.default})"
        options: dict[str, Any] = {"dest": self.dest, "default": None, "help": (self.help + shown).replace("%", "%%")}
        if self.parse is bool:
            parser.add_argument(*names, action=argparse.BooleanOptionalAction, **options)
            return
        if self.several:
            options["nargs"] = "+"
        if self.parse is json_object:
            options["action"] = Merged
        parser.add_argument(*names, type=self.parse, choices=self.choices, metavar=self.metavar, **options)

    def typed(self, value: Any) -> Any:
        """Returns the value of a file that has types of its own. Raises `ValueError` for one that the flag does not take."""
        if value is None:
            return None
        if self.parse is bool:
            if not isinstance(value, bool):
                raise ValueError("true or false is expected")
            return value
        try:
            if self.several:
                return [self.parse(str(each)) for each in (value if isinstance(value, list) else [value])]
            read = self.parse(json.dumps(value) if isinstance(value, dict | list) else str(value))
        except argparse.ArgumentTypeError as error:
            raise ValueError(str(error)) from None
        if self.choices is not None and read not in self.choices:
            raise ValueError(f"one of {', '.join(self.choices)} is expected")
        return read

    def value(self, text: str) -> Any:
        """Reads the value of the environment variable; lists are separated by commas. Raises `InputError`."""
        try:
            if self.parse is bool:
                return _truth(text)
            if self.several:
                return [self.parse(part.strip()) for part in text.split(",") if part.strip()]
            value = self.parse(text)
        except (ValueError, argparse.ArgumentTypeError) as error:
            raise InputError(
                f"the environment variable {self.variable} cannot be read: {error}.", field=self.variable
            ) from None
        if self.choices is not None and value not in self.choices:
            raise InputError(
                f"the environment variable {self.variable} must be one of {', '.join(self.choices)}.", field=self.variable
            )
        return value


class Merged(argparse.Action):
    """What a JSON flag that is given several times does: later keys are added to earlier ones and win over them."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None) -> None:
        """Adds an object to what is there."""
        setattr(namespace, self.dest, _merged(getattr(namespace, self.dest) or {}, values))


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    shared = [key for key in other if isinstance(one.get(key), dict) and isinstance(other[key], dict)]
    return {**one, **other, **{key: _merged(one[key], other[key]) for key in shared}}


def read(
    flags: Sequence[Flag], arguments: argparse.Namespace, environment: Mapping[str, str], *, file: Mapping[str, Any] = {}
) -> dict[str, Any]:
    """Returns the value of every flag: from the command line, else the environment, else a file, else its default.

    An empty variable counts as unset.

    Args:
        flags: those that there are.
        arguments: the command line.
        environment: variables by name.
        file: values by `Flag.dest`.

    Raises:
        InputError: a variable has a value that its flag does not take.
    """
    values = {}
    for flag in flags:
        value = getattr(arguments, flag.dest)
        text = environment.get(flag.variable, "")
        if value is None and text and not (flag.parse is int and text.startswith(_LINK)):
            value = flag.value(text)
        if value is None:
            value = file.get(flag.dest)
        values[flag.dest] = flag.default if value is None else value
    return values


def stray_variables(flags: Sequence[Flag], arguments: argparse.Namespace, environment: Mapping[str, str]) -> Iterator[str]:
    """Yields a sentence for each variable that looks like a flag of `jaxembed serve` and is not read.

    Args:
        flags: those of `jaxembed serve`.
        arguments: of the command that runs, and which one it is.
        environment: variables by name.
    """
    known = {flag.variable: flag for flag in flags}
    for name in sorted(environment):
        link = name == f"{PREFIX}PORT" and environment[name].startswith(_LINK)
        if not name.startswith(PREFIX) or not environment[name] or name in _NOT_FLAGS or _KUBERNETES.match(name) or link:
            continue
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.8)
            advice = f"; did you mean {near[0]}?" if near else "."
            yield f"the environment variable {name} is not known and not read{advice}"
        elif arguments.command != "serve" and hasattr(arguments, known[name].dest):
            option = f"--{known[name].name}"
            yield f"the environment variable {name} is for `jaxembed serve`; `jaxembed {arguments.command}` has {option}."


def json_object(text: str) -> dict[str, Any]:
    """Reads a JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("a JSON object is expected, like '{\"is_matryoshka\": true}'")
    return value


def json_list(text: str) -> list[str]:
    """Reads a JSON list of strings."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise argparse.ArgumentTypeError("a JSON list of strings is expected, like '[\"*\"]'")
    return value


def json_value(text: str) -> Any:
    """Reads a JSON value, booleans and None in Python's spelling too, or takes the text as it is."""
    python = {"true": True, "false": False, "none": None}
    if text.lower() in python:
        return python[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text


def positive(text: str) -> int:
    """Reads an int above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def seconds(text: str) -> float:
    """Reads a time that is not negative."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds, not {text}")
    return value


def some_seconds(text: str) -> float:
    """Reads a time above 0."""
    value = seconds(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be more than 0 seconds")
    return value


def _truth(text: str) -> bool:
    values = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
        "": False,
    }
    if text.strip().lower() not in values:
        raise ValueError(f"{text!r} is neither true nor false")
    return values[text.strip().lower()]
