"""Tiny checkpoints with numbers that are not finite in chosen places."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

Change = Callable[[str, np.ndarray], None]


def poison(folder: Path, change: Change) -> Path:
    """Calls `change` with the name and the array of every tensor, and writes what it leaves. Returns the folder."""
    for path in folder.rglob("*.safetensors"):
        tensors = {name: value.copy() for name, value in load_file(path).items()}
        for name, value in tensors.items():
            change(name, value)
        save_file(tensors, path)
    return folder


def rows(values: dict[int, float]) -> Change:
    """Sets whole rows of the table of words, each to its value."""

    def change(name: str, value: np.ndarray) -> None:
        words = ("word_embeddings", "embed_tokens", "tok_embeddings", "shared", "embedding", "embeddings.weight")
        if value.ndim == 2 and any(part in name for part in words) and "position" not in name and len(value) > max(values):
            for row, number in values.items():
                value[row] = number

    return change
