import json
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import install_import_hook

# Every shape in a signature is checked in every test, and costs nothing in production.
_CHECKED = ("kernels_pallas", "packing.packed", "layers", "heads.embedder", "models")
# As PEP 484 has it, an int may stand where a float is asked for.
_BEARTYPE = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
_hook = install_import_hook([f"jaxembed.{name}" for name in _CHECKED], _BEARTYPE)

from reference import tiny  # noqa: E402

GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def llm():
    """The embedded default model, real weights."""
    from jaxembed import LLM

    return LLM(runner="pooling")


@pytest.fixture
def checkpoint(tmp_path):
    """Writes the tiny checkpoint of a golden into a folder of its own; `change` may alter its spec first."""

    def make(name: str, change=None) -> Path:
        spec = json.loads((GOLDENS / f"{name}.json").read_text())["spec"]
        if change is not None:
            change(spec)
        return tiny.write(spec, tmp_path / name)

    return make


@pytest.fixture
def unrecorded(monkeypatch):
    """Leaves out what takes longest when tiny models are converted, the vectors that a manifest records."""
    from jaxembed.convert.tool import conversion

    monkeypatch.setattr(conversion, "streamed_vectors", lambda *_, **__: np.zeros((1, 1), np.float32))


@pytest.fixture
def start():
    """Starts `jaxembed serve` with arguments, and sees to its end."""
    from processes import Process

    started = []

    def go(*arguments: str, **options):
        started.append(Process(*arguments, **options))
        return started[-1]

    yield go
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
        each.process.stdout.close()
