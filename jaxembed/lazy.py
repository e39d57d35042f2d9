"""Names of a package that are imported when they are first asked for, so that importing the package itself costs nothing."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package.

    Args:
        package: its name.
        homes: for each public name the module that it comes from, as `jaxembed.` has it.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"jaxembed.{homes[name]}"), name)

    return load
