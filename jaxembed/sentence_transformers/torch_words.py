"""The words of torch that people say of a model for inference: taken where they ask for nothing, else refused."""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from jaxembed.engine.devices import Device, check_device, device_of
from jaxembed.errors import InputError
from jaxembed.sentence_transformers.absent import TRAINING
from jaxembed.tensors import tensor, torch_type

if TYPE_CHECKING:
    from jaxembed.engine.engine import Engine

logger = logging.getLogger(__name__)


class Parameter:
    """An array of the model, as those who count parameters or ask for their type look at it.

    name: its path. value: the array on its device.
    """

    requires_grad = False

    def __init__(self, name: str, value: Any, device: Device) -> None:
        self.name, self.value, self.device = name, value, device
        self.shape: tuple[int, ...] = tuple(value.shape)
        self.dtype = torch_type(value.dtype)

    def numel(self) -> int:
        """Returns how many numbers it holds."""
        return int(np.prod(self.shape))

    nelement = numel

    def size(self, dim: int | None = None) -> Any:
        """Returns its shape, or one axis of it."""
        return self.shape if dim is None else self.shape[dim]

    def detach(self) -> Any:
        """Returns a copy in the processor's memory, float32 where torch and numpy have no such type."""
        array = np.asarray(self.value)
        return tensor(array.astype(np.float32) if array.dtype.name == "bfloat16" else array.copy())

    cpu = detach

    @property
    def data(self) -> Any:
        """A copy in the processor's memory."""
        return self.detach()


class TorchWords:
    """The methods of `torch.nn.Module` that a model for inference is asked for."""

    engine: "Engine"
    training = False
    _warned_of_type = False

    @property
    def device(self) -> Device:
        """Where the model runs, a str that has `type` and `index` as a `torch.device` has."""
        return device_of(self.engine.target.platform)

    @property
    def _target_device(self) -> Device:
        return self.device

    @_target_device.setter
    def _target_device(self, value: Any) -> None:
        check_device(value, self.engine.target.platform)

    @property
    def dtype(self) -> Any:
        """The type of the weights: torch's if torch is installed, else numpy's."""
        return torch_type(self.engine.model.dtype)

    def to(self, *target: Any, **options: Any) -> Self:
        """Returns the model, which stays on its device and in its type.

        Raises `InputError` for another kind of device, and for another type, which is chosen at loading.
        """
        for one in (*target, *options.values()):
            name = str(one).rsplit(".", 1)[-1]
            if isinstance(one, bool) or one is None:
                continue
            if "float" in name or name in ("half", "double"):
                if name != np.dtype(self.engine.model.dtype).name:
                    raise InputError(
                        f"a model is loaded in a type and stays in it; give model_kwargs={{'torch_dtype': ...}}, not {one!s}.",
                        field="dtype",
                    )
            elif str(one) != "cpu":
                check_device(one, self.engine.target.platform)
        return self

    def cpu(self) -> Self:
        """Returns the model; whatever it runs on, its results lie in the processor's memory."""
        return self

    def cuda(self, device: Any = None) -> Self:
        """Returns the model. Raises `InputError` if it does not run on a card."""
        check_device("cuda" if device is None else device, self.engine.target.platform)
        return self

    def half(self) -> Self:
        """Returns the model, which stays in its type; a warning says so once."""
        return self._stays("float16")

    def bfloat16(self) -> Self:
        """Returns the model, which stays in its type; a warning says so once."""
        return self._stays("bfloat16")

    def float(self) -> Self:
        """Returns the model, which stays in its type; a warning says so once."""
        return self._stays("float32")

    def double(self) -> Self:
        """Returns the model, which stays in its type; a warning says so once."""
        return self._stays("float64")

    def _stays(self, asked: str) -> Self:
        own = np.dtype(self.engine.model.dtype).name
        if own != asked and not self._warned_of_type:
            self._warned_of_type = True
            logger.warning(
                "The model stays in %s, for a type is chosen when it is loaded: model_kwargs={'torch_dtype': ...}.", own
            )
        return self

    def eval(self) -> Self:
        """Returns the model, which never trains."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Returns the model, which never trains."""
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Returns the model, which has no gradients. Raises `InputError` if they are asked for."""
        if requires_grad:
            raise InputError(f"requires_grad_ cannot be used: {TRAINING}.", field="requires_grad")
        return self

    def share_memory(self) -> Self:
        """Returns the model."""
        return self

    def compile(self, *args: Any, **options: Any) -> None:
        """Does nothing: what runs is compiled already."""

    def parameters(self, recurse: bool = True) -> "Iterator[Parameter]":
        """Yields the arrays of the model."""
        return (one for _, one in self.named_parameters())

    def named_parameters(self, *args: Any, **options: Any) -> "Iterator[tuple[str, Parameter]]":
        """Yields the arrays of the model with their names here, which are not those of the checkpoint."""
        import jax

        for path, value in jax.tree_util.tree_leaves_with_path(self.engine.model.state):
            name = ".".join(str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path)
            yield name, Parameter(name, value, self.device)

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        """Yields nothing."""
        return iter(())

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Does nothing: there are no gradients."""

    def _refuse_training(self, *args: Any, **options: Any) -> None:
        """Raises `InputError`: jaxembed does not train."""
        raise InputError(f"fit and adapters cannot be used: {TRAINING}.", field="fit")

    fit = old_fit = gradient_checkpointing_enable = _refuse_training
    add_adapter = load_adapter = set_adapter = enable_adapters = disable_adapters = delete_adapter = _refuse_training
    load_state_dict = _refuse_training
