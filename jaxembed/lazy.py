"""Names of a package that are imported when they are first asked for, and a package under a second name."""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
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


class _SecondName(MetaPathFinder, Loader):
    """Finds `other.x` as `package.x` while `sys.modules[other]` is the package, so that no module is there twice."""

    def __init__(self, package: str, other: str, moved: Mapping[str, str]) -> None:
        self._package, self._other, self._moved = package, other, moved

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        root, _, rest = fullname.partition(".")
        here = sys.modules.get(root)
        if not rest or root != self._other or here is None or here.__name__ != self._package:
            return None
        if importlib.util.find_spec(self._own(rest)) is None:
            return None
        return ModuleSpec(fullname, self)

    def _own(self, rest: str) -> str:
        """The name of a module here."""
        return f"{self._package}.{self._moved.get(rest, rest)}"

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self._own(spec.name.partition(".")[2]))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just written the second name into a module that was complete under its first.
        spec = module.__spec__
        assert spec is not None, "the import system sets it"
        module.__spec__ = spec.loader_state


def second_name(package: str, other: str, moved: Mapping[str, str] | None = None) -> None:
    """Lets `sys.modules[other] = package` stand for all of the package: its modules are found under both names, each once.

    moved: where modules of the other stand here, both without the name of the package; the rest has the same names.
    """
    sys.meta_path.insert(0, _SecondName(package, other, moved or {}))


def submodule(package: str, name: str) -> ModuleType:
    """Returns a module of a package, imported when it is first asked for as an attribute: `import p; p.name`."""
    return import_module(f"{package}.{name}")
