"""Reads a pickle as data: the opcodes are interpreted here, and nothing that it names is ever imported or called.

What comes out are plain values, dicts and descriptions of tensors (`Tensor`, on a `Storage`). Any other class or function
that a pickle names is refused by its name. The opcodes are those of Python's `pickletools`; what torch writes with them
is in torch's `serialization.py` and `_utils.py`.
"""

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from jaxembed.convert.formats.tensors import MOST_AXES
from jaxembed.errors import UnsupportedModelError, sentence, shown

# torch's storage classes, and its dtypes as the file of an untyped storage names them.
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_DTYPES = ("float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64", *STORAGES.values())


# The pickle of a large model has some hundred bytes and forty opcodes for each of ten thousand tensors. What it makes takes up
# to 300 bytes an opcode.
_MOST_BYTES, _MOST_OPCODES = 16 << 20, 1_500_000
# Larger than the bytes of any file, small enough that products of sixty of them are quick.
_MOST = 1 << 63


class MalformedPickleError(Exception):
    """The bytes are no pickle, or one that ends too early or contradicts itself."""


@dataclass
class Storage:
    """A run of bytes that tensors are cut from; `offset`, `size` (bytes) and `swapped` are filled in by whoever finds it.

    dtype: None where each tensor says its own. count: elements, or bytes if it has no dtype.
    """

    key: str
    dtype: str | None
    count: int
    offset: int = 0
    size: int = 0
    swapped: bool = False


@dataclass(frozen=True)
class Tensor:
    """A view of a storage: first element, shape and strides, all counted in elements."""

    storage: Storage
    dtype: str
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Global:
    """A name that the pickle mentions; never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


_MARK = object()
_PUSH = set(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8".split()
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": lambda: _MARK,
}
_PUT, _GET = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}


def load(stream: IO[bytes], origin: str) -> Any:
    """Reads one pickle and leaves the stream behind its last byte. origin: what messages call the file.

    What a pickle may take is bounded: its bytes, its opcodes (and so what lies on the stack and in the memo), the axes of a
    tensor, the digits of a count. Raises `MalformedPickleError`, and `UnsupportedModelError` for one that holds anything but
    data.
    """
    begin = stream.tell()
    held = io.BytesIO(stream.read(_MOST_BYTES + 1))
    found = _Machine(origin).run(held)
    stream.seek(begin + held.tell())
    return found


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def run(self, stream: IO[bytes]) -> Any:
        try:
            for number, (opcode, argument, place) in enumerate(pickletools.genops(stream)):
                if number == _MOST_OPCODES or (place or 0) > _MOST_BYTES:
                    raise ValueError("its pickle is larger than any model's")
                if opcode.name == "STOP":
                    return self.stack.pop()
                self._step(opcode.name, argument)
        # What contradicts itself shows as one of these, here or inside `pickletools`.
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
            if isinstance(error, UnsupportedModelError):
                raise
            raise MalformedPickleError(_short(error) or "it asks for more memory than there is") from None
        raise MalformedPickleError("it has no end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _PUSH:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _PUT or name == "MEMOIZE":
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in _GET:
            stack.append(self.memo[argument])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(_whole(stack[-count:], count))]
        elif name in ("TUPLE", "LIST", "DICT"):
            items = self._marked()
            stack.append(_pairs(items) if name == "DICT" else tuple(items) if name == "TUPLE" else items)
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self._marked()
            _the(list, stack[-1]).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._marked()
            _the(dict, stack[-1]).update(_pairs(items))
        elif name in ("POP", "POP_MARK"):
            _ = stack.pop() if name == "POP" else self._marked()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "GLOBAL":
            stack.append(self._named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack[-2:] = [self._named(*_whole(stack[-2:], 2))]
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(self._made(stack.pop(), _the(tuple, arguments)))
        elif name == "BUILD":
            # The state that torch hangs on the dict of a module's tensors: versions, which say nothing about them.
            stack.pop()
            _the(dict, stack[-1])
        elif name not in ("PROTO", "FRAME"):
            raise self._refusal(self._meant(name, argument))

    def _marked(self) -> list[Any]:
        """Pops what lies above the last mark, and the mark."""
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("a mark is missing")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def _named(self, module: str, name: str) -> _Global:
        known = (
            (module, name) in _MAKERS
            or (module == "torch" and (name in STORAGES or name in _DTYPES))
            or (module, name) == ("torch.storage", "UntypedStorage")
        )
        if not known:
            raise self._refusal(f"{module}.{name}")
        return _Global(module, name)

    def _made(self, what: Any, arguments: tuple[Any, ...]) -> Any:
        if not isinstance(what, _Global) or (what.module, what.name) not in _MAKERS:
            raise self._refusal(str(what) if isinstance(what, _Global) else f"a call of a {type(what).__name__}")
        return _MAKERS[what.module, what.name](*arguments)

    def _storage(self, identity: Any) -> Storage:
        tag, what, key, _, count, *view = _the(tuple, identity)
        if tag != "storage" or not isinstance(what, _Global) or any(view):
            raise ValueError("a persistent id that is no storage")
        dtype = None if what.name == "UntypedStorage" else STORAGES[what.name]
        name = str(_key(key))
        return self.storages.setdefault(name, Storage(name, dtype, _natural(count)))

    def _meant(self, opcode: str, argument: Any) -> str:
        """What an opcode that would import, call or build something is after, as well as it can be told."""
        if opcode == "INST":
            return str(argument).replace(" ", ".")
        if opcode in ("OBJ", "NEWOBJ", "NEWOBJ_EX"):
            named = [value for value in self.stack if isinstance(value, _Global)]
            return f"{named[-1]} ({opcode})" if named else opcode
        return f"the opcode {opcode}" + (f" ({argument})" if argument is not None else "")

    def _refusal(self, what: str) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"{self.origin} is a pickle that asks for {_short(what)}; only tensors, dicts and plain values are read, and "
            "nothing in it was run. If you trust it, save it again as safetensors."
        )


def _tensor(
    storage: Any, start: Any, shape: Any, strides: Any, grad: Any = False, hooks: Any = None, more: Any = None
) -> Tensor:
    if more:
        raise ValueError("a conjugated or negated view")
    if _the(Storage, storage).dtype is None:
        raise ValueError("a tensor without a type")
    return _view(storage, storage.dtype, start, shape, strides)


def _typed_tensor(
    storage: Any, start: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, more: Any = None
) -> Tensor:
    if more or not isinstance(dtype, _Global) or dtype.name not in _DTYPES:
        raise ValueError("a tensor whose type is not known")
    return _view(storage, dtype.name, start, shape, strides)


def _view(storage: Any, dtype: str, start: Any, shape: Any, strides: Any) -> Tensor:
    if max(len(_the(tuple, shape)), len(_the(tuple, strides))) > MOST_AXES:
        raise ValueError(f"a tensor of more than {MOST_AXES} axes")
    sizes, steps = tuple(map(_natural, shape)), tuple(map(_natural, strides))
    if len(sizes) != len(steps):
        raise ValueError("a tensor with more strides than axes")
    return Tensor(_the(Storage, storage), dtype, _natural(start), sizes, steps)


def _parameter(tensor: Any, grad: Any = False, hooks: Any = None) -> Tensor:
    made: Tensor = _the(Tensor, tensor)
    return made


def _ordered(items: Any = ()) -> dict[Any, Any]:
    return {_the(str, key): value for key, value in items}


def _size(items: Any) -> tuple[int, ...]:
    return tuple(map(_natural, _the(tuple, items)))


# What may be called, and what stands in for it.
_MAKERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch", "Size"): _size,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed_tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}


def _the(type_: type, value: Any) -> Any:
    if not isinstance(value, type_):
        raise TypeError(f"a {type(value).__name__} where a {type_.__name__} should be")
    return value


def _natural(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"a {type(value).__name__} where a count should be")
    if not 0 <= value < _MOST:
        raise ValueError(f"{shown(value)} where a count should be")
    return value


def _key(value: Any) -> str | int:
    # Nothing that is nested is ever hashed or printed: a few bytes can nest as deep, and repeat as often, as they like.
    if not isinstance(value, str | int):
        raise TypeError(f"a {type(value).__name__} where a name should be")
    return value


def _short(what: object) -> str:
    return sentence(str(what)[:2000], 200)


def _whole(items: list[Any], count: int) -> list[Any]:
    if len(items) != count or any(item is _MARK for item in items):
        raise ValueError("the stack is too short")
    return items


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(map(_key, items[::2]), items[1::2], strict=True))
