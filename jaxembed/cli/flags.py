"""Flags as data: each is an option of the command line and a variable of the environment, with one default."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxembed.errors import InputError

PREFIX = "JAXEMBED_"
# Kubernetes sets JAXEMBED_PORT to such a link in every pod beside a service named jaxembed; it was not meant for us.
_LINK = "tcp://"


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
        parser.add_argument(*names, type=self.parse, choices=self.choices, metavar=self.metavar, **options)

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


def read(flags: Sequence[Flag], arguments: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, Any]:
    """Returns the value of every flag: from the command line, else from the environment, else its default.

    An empty variable counts as unset.
    """
    values = {}
    for flag in flags:
        value = getattr(arguments, flag.dest)
        text = environment.get(flag.variable, "")
        if value is None and text and not (flag.parse is int and text.startswith(_LINK)):
            value = flag.value(text)
        values[flag.dest] = flag.default if value is None else value
    return values


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
