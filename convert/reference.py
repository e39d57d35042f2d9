"""Runs the reference libraries on a checkpoint; started by another Python, one that has them, and never imported.

Usage: python reference.py OUT.npz, with {"folder", "texts", "ids"} as JSON on standard input. Writes `vectors`, what
sentence-transformers gives for the texts, if the folder is one of its models; for each list of token ids `hidden-i`, the last
hidden states, and `layer-i-j`, those that enter layer j, if it has a transformer; and prints the versions.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


def main(out: str) -> None:
    """Answers one request."""
    # Nothing of ours is to be found where this file lies.
    sys.path.pop(0)
    asked = json.load(sys.stdin)
    arrays = {}
    names = ["transformers", "torch"]
    if (Path(asked["folder"]) / "modules.json").is_file():
        from sentence_transformers import SentenceTransformer

        pipeline = SentenceTransformer(asked["folder"], device="cpu", model_kwargs={"dtype": "float32"})
        arrays["vectors"] = np.asarray(pipeline.encode(asked["texts"]), np.float32)
        names.insert(0, "sentence-transformers")
        model = getattr(pipeline[0], "auto_model", None)
    else:
        from transformers import AutoModel

        model = AutoModel.from_pretrained(asked["folder"], dtype="float32")
    if model is not None:
        arrays |= states(model, asked["ids"])
    np.savez(out, allow_pickle=False, **arrays)
    print(", ".join(f"{name} {version(name)}" for name in names))


def states(model: Any, texts: list[list[int]]) -> dict[str, np.ndarray]:
    """Returns the hidden states of each text by itself."""
    model.eval().requires_grad_(False)
    arrays = {}
    like = next(iter(model.parameters()))
    for number, ids in enumerate(texts):
        found = model(input_ids=like.new_tensor([ids]).long(), output_hidden_states=True)
        arrays[f"hidden-{number}"] = found.last_hidden_state[0].numpy()
        for layer, entering in enumerate(found.hidden_states or ()):
            arrays[f"layer-{number}-{layer}"] = entering[0].numpy()
    return arrays


if __name__ == "__main__":
    main(sys.argv[1])
