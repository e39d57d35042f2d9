"""Names that libraries import from sentence-transformers and that jaxembed does not have: importing works, using is refused."""

from collections.abc import Callable
from typing import Any, NoReturn

from jaxembed.errors import InputError

TRAINING = "it belongs to training, which jaxembed does not do; train with sentence-transformers and load the saved folder here"
TO_COME = "it is not there yet; keep sentence-transformers for it, and SentenceTransformer from here"


def absent(names: str, why: str, module: str) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a module whose names are classes that raise where they are used.

    Args:
        names: what the module has, separated by spaces.
        why: the end of the sentence that is raised, with the way out.
        module: its name.
    """
    known = {name: _refusing(name, why, module) for name in names.split()}

    def find(name: str) -> Any:
        if name not in known:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return known[name]

    return find


def _refusing(name: str, why: str, module: str) -> type:
    """Returns a class of that name: isinstance says no to everything, and making one raises `InputError`."""

    def refuse(cls: type, *args: Any, **options: Any) -> NoReturn:
        raise InputError(f"{name} cannot be used: {why}.", field=name)

    return type(name, (), {"__new__": refuse, "__module__": module, "__doc__": f"Raises `InputError`: {why}."})
