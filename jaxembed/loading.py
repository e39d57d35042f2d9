"""From the name of a model to an engine that runs it: here meet checkpoints and the engine, who know nothing of each other."""

from dataclasses import replace
from typing import Any

import jax

from jaxembed.convert.checkpoint.loading import load
from jaxembed.engine import forks
from jaxembed.engine.engine import Engine


def load_engine(
    name: str | None = None,
    *,
    device: jax.Device | None = None,
    attention: str | None = None,
    pool: str | None = None,
    **options: Any,
) -> Engine:
    """Loads a checkpoint.

    Args:
        name: a folder, a hub name, or None for the embedded default.
        device: where it runs, jax's first device by default.
        attention, pool: as those of `Engine`.
        **options: as those of `convert.checkpoint.loading.load`.

    Raises:
        JaxEmbedError: what `load` and `Engine` raise.
    """
    forks.begin()
    usual = jax.devices()[0]
    device = device or usual
    cpu = device.platform == "cpu"
    if cpu and options.get("dtype") in (None, "auto"):
        options["dtype"] = "float32"  # `load` asks jax, which may have an accelerator that is not wanted
    with jax.default_device(device):
        model = load(name, per_layer=cpu, **options)
    if device != usual:
        # What a converted folder restores lies on jax's first device.
        model = replace(model, state=jax.device_put(model.state, device))
    return Engine(model, device=device, attention=attention, pool=pool)
