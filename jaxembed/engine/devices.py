"""Where a model runs, as torch would say it: `model.device.type`."""

import logging
from typing import Any

import jax

from jaxembed.errors import InputError

logger = logging.getLogger(__name__)

# jax's word for a device by torch's.
_PLATFORMS = {"cuda": "gpu", "gpu": "gpu", "rocm": "gpu", "cpu": "cpu", "tpu": "tpu", "xla": "tpu"}

_WAYS_OUT = {
    "cpu": "Leave device out to run on what there is.",
    "gpu": 'For a card, install "jaxembed[cuda13]" or "jaxembed[cuda12]"; leave device out to run on what there is.',
    "tpu": 'For a TPU, install "jaxembed[tpu]"; leave device out to run on what there is.',
}


class Device(str):
    """The name of a device, "cpu" or "cuda:0", that answers `.type` and `.index` as `torch.device` does."""

    __slots__ = ()

    @property
    def type(self) -> str:
        """The kind: cpu, cuda or tpu."""
        return self.partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override]
        """The number behind the kind, None on a CPU."""
        number = self.partition(":")[2]
        return int(number) if number else None


def device_of(platform: str) -> Device:
    """Returns the name of jax's first device of a platform."""
    return Device({"cpu": "cpu", "gpu": "cuda:0"}.get(platform, f"{platform}:0"))


def find_device(asked: Any) -> jax.Device | None:
    """Returns the device that a caller names as torch does, None where nobody asks for one.

    asked: "cpu", "cuda:1", a number of a card, a `torch.device`, or None. Raises `InputError` for one that is not there.
    """
    if asked is None:
        return None
    name = Device(f"cuda:{asked}" if isinstance(asked, int) else str(asked).lower())
    platform = _platform(name)
    # A processor is always there, though jax lists it only when it is asked for by name.
    found = jax.devices("cpu") if platform == "cpu" else [one for one in jax.devices() if one.platform == platform]
    number = name.index or 0
    if number >= len(found):
        raise InputError(f"device={name!s} was asked for, and there is {_there()}. {_WAYS_OUT[platform]}", field="device")
    if platform != jax.devices()[0].platform:
        logger.warning("The model runs on the processor, as device=%s asks; leave it out to run on %s.", name, _there())
    return found[number]


def check_device(asked: Any, platform: str) -> None:
    """Raises `InputError` if a loaded model is asked to run on another kind of device than it does.

    asked: as for `find_device`, or several of them. platform: jax's word for where the model runs.
    """
    for one in asked if isinstance(asked, list | tuple) else [asked]:
        if one is not None and _platform(Device("cuda" if isinstance(one, int) else str(one).lower())) != platform:
            find_device(one)
            raise InputError(
                f"the model runs on {platform} and stays there; load it with device={str(one)!r} instead.", field="device"
            )


def _platform(name: Device) -> str:
    if name.type not in _PLATFORMS:
        raise InputError(f"the device {name!s} is not one that jaxembed runs on: cpu, cuda or tpu.", field="device")
    return _PLATFORMS[name.type]


def _there() -> str:
    return ", ".join(map(str, jax.devices()))
