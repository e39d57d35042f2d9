"""What else people import from `sentence_transformers.util`."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxembed.errors import ModelNotFoundError


class LoggingHandler(logging.Handler):
    """Writes log records through a progress bar, which stays whole."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        from tqdm.auto import tqdm

        try:
            tqdm.write(self.format(record))
            self.flush()
        except (OSError, ValueError):
            self.handleError(record)


@contextmanager
def disable_logging(highest_level: int = logging.CRITICAL) -> Iterator[None]:
    """Keeps records up to a level back inside a with statement."""
    before = logging.root.manager.disable
    logging.disable(highest_level)
    try:
        yield
    finally:
        logging.disable(before)


def disabled_tqdm(*args: Any, **options: Any) -> Any:
    """Returns a progress bar that shows nothing."""
    from tqdm.auto import tqdm

    return tqdm(*args, **{**options, "disable": True})


def fullname(obj: Any) -> str:
    """Returns the name of an object's class with its module, without one for what is built in."""
    module = type(obj).__module__
    return type(obj).__name__ if module in (None, "builtins") else f"{module}.{type(obj).__name__}"


def import_from_string(dotted_path: str) -> Any:
    """Returns the class that a path names, "package.module.Class". Raises `ImportError`."""
    module, _, name = dotted_path.rpartition(".")
    found = __import__(module, fromlist=[name]) if module else None
    if not hasattr(found, name):
        raise ImportError(f"{dotted_path!r} names nothing that can be imported.")
    return getattr(found, name)


def get_device_name() -> str:
    """Returns the kind of device that models run on: cpu, cuda or tpu."""
    import jax

    from jaxembed.engine.devices import device_of

    return device_of(jax.default_backend()).type


def batch_to_device(batch: dict[str, Any], target_device: Any) -> dict[str, Any]:
    """Returns a batch whose tensors lie on a device."""
    return {name: value.to(target_device) if hasattr(value, "to") else value for name, value in batch.items()}


def is_training_available() -> bool:
    """Returns False: jaxembed does not train."""
    return False


def is_sentence_transformer_model(
    model_name_or_path: str,
    token: bool | str | None = None,
    cache_folder: str | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> bool:
    """Returns whether a folder or a model of the hub has a `modules.json`."""
    from jaxembed.convert.checkpoint.hub import find_model

    try:
        folder = find_model(
            model_name_or_path, token=token, cache_dir=cache_folder, revision=revision, local_files_only=local_files_only
        )
    except ModelNotFoundError:
        return False
    return (Path(folder) / "modules.json").is_file()
