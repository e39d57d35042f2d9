"""The checkpoints that are lied about."""

import json
from pathlib import Path

from reference import pickled, tiny
from safetensors.numpy import load_file

GOLDENS = Path(__file__).parents[2] / "goldens"


def golden(name: str, folder: Path) -> Path:
    spec = json.loads((GOLDENS / f"{name}.json").read_text())["spec"]
    return tiny.write(spec, folder)


def bert(folder: Path) -> Path:
    return golden("backbone-bert", folder)


def tensors(folder: Path) -> dict:
    return load_file(folder / "model.safetensors")


def torch_bert(folder: Path) -> Path:
    """The same model in a file of torch's."""
    bert(folder)
    pickled.save(folder / "pytorch_model.bin", tensors(folder))
    (folder / "model.safetensors").unlink()
    return folder


def converted(folder: Path) -> Path:
    """The same model, converted, without the vectors that take longest."""
    import numpy as np

    from jaxembed.convert.tool import conversion

    conversion.streamed_vectors = lambda *_, **__: np.zeros((1, 1), np.float32)
    conversion.convert(str(bert(folder.with_name("source"))), folder)
    return folder


def edited(name: str, change):
    """A lie that rewrites a JSON file: `change` alters its content, or returns another."""

    def tell(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text()) if path.is_file() else {}
        other = change(content)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content if other is None else other))

    return tell
