"""What stands where sentence-transformers gives torch tensors: those, if torch is installed, else arrays with torch's words.

The only file that imports torch, and only when a result is asked for that is a tensor there (`convert_to_tensor=True`,
`similarity`) and torch is installed.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from jaxembed.errors import InputError

_TYPES = {"float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32", "bool": "bool"}


class Pair(NamedTuple):
    """What `max(dim=)`, `min(dim=)`, `sort` and `topk` give."""

    values: Any
    indices: Any


class _Size(int):
    """The number of values, which is also torch's `size()`: the shape, or one of its numbers."""

    shape: tuple[int, ...]

    def __call__(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]


class Tensor(np.ndarray):
    """A numpy array on which the words that people write behind a torch tensor work.

    `dim=` and `keepdim=`, and an axis by position, mean what they mean in torch; `axis=` means what it means in numpy.
    """

    requires_grad = False
    is_cuda = False

    @property
    def size(self) -> Any:
        """The number of values; called, the shape."""
        size = _Size(super().size)
        size.shape = self.shape
        return size

    def __getitem__(self, index: Any) -> Any:
        return _tensor(super().__getitem__(_plain(index)))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __round__(self, digits: int | None = None) -> Any:
        return round(self.item(), digits)

    def __hash__(self) -> int:
        return hash(self.item())

    def cpu(self) -> Any:
        """Returns itself."""
        return self

    detach = contiguous = cpu

    def numpy(self) -> np.ndarray:
        """Returns the plain array, which shares its memory."""
        return self.view(np.ndarray)

    def clone(self) -> Any:
        """Returns a copy."""
        return self.copy()

    def to(self, *target: Any, dtype: Any = None, device: Any = None, **options: Any) -> Any:
        """Returns it in another type. Raises `InputError` for a device other than the processor."""
        found: Any = self
        for one in (*target, dtype, device):
            name = str(getattr(one, "type", one) if one is not None else "cpu").rsplit(".", 1)[-1]
            if isinstance(one, np.ndarray):
                found = found.astype(one.dtype)
            elif isinstance(one, type) or name in _TYPES or name in _TYPES.values():
                found = found.astype(one if isinstance(one, type) else _TYPES.get(name, name))
            elif name.partition(":")[0] != "cpu":
                raise InputError(f"an array cannot go to {one!s}: it lies in the memory of the processor.", field="device")
        return found

    def float(self) -> Any:
        """Returns it in float32."""
        return self.astype(np.float32)

    def double(self) -> Any:
        """Returns it in float64."""
        return self.astype(np.float64)

    def half(self) -> Any:
        """Returns it in float16."""
        return self.astype(np.float16)

    def long(self) -> Any:
        """Returns it in int64."""
        return self.astype(np.int64)

    def int(self) -> Any:
        """Returns it in int32."""
        return self.astype(np.int32)

    def bool(self) -> Any:
        """Returns whether each value is other than zero."""
        return self.astype(np.bool_)

    def dim(self) -> Any:
        """Returns the number of axes."""
        return self.ndim

    def numel(self) -> Any:
        """Returns the number of values."""
        return self.size

    def t(self) -> Any:
        """Returns the transpose."""
        return self.T

    def view(self, *to: Any) -> Any:
        """Returns another shape if numbers are given, else numpy's view."""
        numbers = to[0] if len(to) == 1 and isinstance(to[0], Sequence) and not isinstance(to[0], str) else to
        if numbers and all(isinstance(one, np.integer | int) for one in numbers):
            return self.reshape(*numbers)
        return super().view(*to)

    def unsqueeze(self, dim: Any) -> Any:
        """Returns it with a new axis of length 1."""
        return np.expand_dims(self, dim)

    def squeeze(self, dim: Any = None, axis: Any = None) -> Any:
        """Returns it without axes of length 1; an axis that is longer stays."""
        axis = dim if axis is None else axis
        return self if axis is not None and self.shape[axis] != 1 else super().squeeze(axis)

    def mm(self, other: Any) -> Any:
        """Returns the product of matrices."""
        return self @ other

    matmul = mm

    def norm(self, p: Any = 2, dim: Any = None, keepdim: Any = False) -> Any:
        """Returns the length of the vectors along an axis."""
        values = self.ravel() if dim is None else self
        return _tensor(np.linalg.norm(values, ord=p, axis=dim, keepdims=keepdim))

    def topk(self, k: Any, dim: Any = -1, largest: Any = True, sorted: Any = True) -> Pair:
        """Returns the k largest values along an axis and where they stand, the best first."""
        if k > self.shape[dim]:
            raise InputError(f"k is {k}, and there are {self.shape[dim]} values along the axis.", field="k")
        order = np.argsort(-self if largest else self, axis=dim, kind="stable").take(range(k), axis=dim)
        return Pair(np.take_along_axis(self, order, axis=dim), order)

    def sort(self, dim: Any = None, descending: Any = False, **numpy: Any) -> Any:
        """Returns the values in order along an axis and where they stood; with numpy's `axis=` sorts in place."""
        if numpy:
            return super().sort(**numpy)
        dim = -1 if dim is None else dim
        return self.topk(self.shape[dim], dim, largest=descending)

    def argsort(self, dim: Any = None, descending: Any = False, **numpy: Any) -> Any:
        """Returns where the values stand in order along an axis."""
        return super().argsort(**numpy) if numpy else self.sort(dim, descending).indices

    def max(self, dim: Any = None, keepdim: Any = False, **numpy: Any) -> Any:
        """Returns the largest value; along `dim`, the largest values and where they stand."""
        return self._extreme("max", dim, keepdim, numpy)

    def min(self, dim: Any = None, keepdim: Any = False, **numpy: Any) -> Any:
        """Returns the smallest value; along `dim`, the smallest values and where they stand."""
        return self._extreme("min", dim, keepdim, numpy)

    def argmax(self, dim: Any = None, keepdim: Any = False, **numpy: Any) -> Any:
        """Returns where the largest value stands."""
        return _tensor(np.ndarray.argmax(self, **(numpy or {"axis": dim, "keepdims": keepdim})))

    def argmin(self, dim: Any = None, keepdim: Any = False, **numpy: Any) -> Any:
        """Returns where the smallest value stands."""
        return _tensor(np.ndarray.argmin(self, **(numpy or {"axis": dim, "keepdims": keepdim})))

    def sum(self, dim: Any = None, keepdim: Any = False, **numpy: Any) -> Any:
        """Returns the sum, of all values or along an axis."""
        return _tensor(np.ndarray.sum(self, **(numpy or {"axis": dim, "keepdims": keepdim})))

    def mean(self, dim: Any = None, keepdim: Any = False, **numpy: Any) -> Any:
        """Returns the mean, of all values or along an axis."""
        return _tensor(np.ndarray.mean(self, **(numpy or {"axis": dim, "keepdims": keepdim})))

    def _extreme(self, name: str, dim: Any, keepdim: Any, numpy: dict[str, Any]) -> Any:
        reduce, place = getattr(np.ndarray, name), getattr(np.ndarray, f"arg{name}")
        if dim is None:
            return _tensor(reduce(self, **numpy))
        options = {"axis": dim, "keepdims": keepdim}
        return Pair(_tensor(reduce(self, **options)), _tensor(place(self, **options)))


def _plain(index: Any) -> Any:
    """Returns an index whose arrays are numpy's."""
    if isinstance(index, tuple):
        return tuple(map(_plain, index))
    return index.numpy() if isinstance(index, Tensor) else index


def _tensor(value: Any) -> Any:
    """Returns an array or a number as a `Tensor`."""
    return np.asarray(value).view(Tensor)


@cache
def has_torch() -> bool:
    """Whether torch is installed; nothing is imported to find out."""
    return find_spec("torch") is not None


def tensor(values: Any) -> Any:
    """Returns values as a torch tensor on the processor if torch is installed, else as a `Tensor`."""
    array = np.asarray(values)
    if not has_torch():
        return _tensor(array)
    import torch  # noqa: TID251

    return torch.from_numpy(array if array.flags.writeable else array.copy())


def torch_type(dtype: Any) -> Any:
    """Returns torch's type of the same name if torch is installed, else numpy's."""
    if not has_torch():
        return np.dtype(dtype)
    import torch  # noqa: TID251

    return getattr(torch, np.dtype(dtype).name)


def array(values: Any) -> np.ndarray:
    """Returns vectors of any kind as numpy has them: arrays, lists, jax arrays, torch tensors on any device, lists of those."""
    if isinstance(values, list | tuple) and values and hasattr(values[0], "detach"):
        return np.stack([array(one) for one in values])
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if str(getattr(values, "dtype", "")) == "torch.bfloat16":
            values = values.float()
        if getattr(values, "is_sparse", False):
            values = values.to_dense()
    found: np.ndarray = np.asarray(values)
    return found.view(np.ndarray) if isinstance(found, Tensor) else found
