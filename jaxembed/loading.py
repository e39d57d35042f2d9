"""From the name of a model to an engine that runs it: here meet checkpoints and the engine, who know nothing of each other."""

from typing import Any

import jax

from jaxembed.convert.checkpoint.loading import load
from jaxembed.engine.engine import Engine


def load_engine(name: str | None = None, *, attention: str | None = None, pool: str | None = None, **options: Any) -> Engine:
    """Loads a checkpoint for the default device.

    Args:
        name: a folder, a hub name, or None for the embedded default.
        attention, pool: as those of `Engine`.
        **options: as those of `convert.checkpoint.loading.load`.

    Raises:
        JaxEmbedError: what `load` and `Engine` raise.
    """
    per_layer = jax.default_backend() == "cpu"
    return Engine(load(name, per_layer=per_layer, **options), attention=attention, pool=pool)
