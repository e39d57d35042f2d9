"""Runs the reference libraries on a checkpoint; started by another Python, one that has them, and never imported.

Usage: python reference.py OUT.npz, with {"folder", "texts", "ids"} as JSON on standard input. Writes `vectors`, what
sentence-transformers gives for the texts, if the folder is one of its models; for each list of token ids `hidden-i`, the last
hidden states, and `layer-i-j`, those that enter layer j; and prints the versions.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np


def main(out: str) -> None:
    """Answers one request."""
    # Nothing of ours is to be found where this file lies.
    sys.path.pop(0)
    from transformers import AutoModel

    asked = json.load(sys.stdin)
    arrays = {}
    names = ["transformers", "torch"]
    if (Path(asked["folder"]) / "modules.json").is_file():
        from sentence_transformers import SentenceTransformer

        arrays["vectors"] = np.asarray(SentenceTransformer(asked["folder"], device="cpu").encode(asked["texts"]), np.float32)
        names.insert(0, "sentence-transformers")
    model = AutoModel.from_pretrained(asked["folder"], dtype="float32").eval().requires_grad_(False)
    like = next(iter(model.parameters()))
    for number, ids in enumerate(asked["ids"]):
        found = model(input_ids=like.new_tensor([ids]).long(), output_hidden_states=True)
        arrays[f"hidden-{number}"] = found.last_hidden_state[0].numpy()
        for layer, states in enumerate(found.hidden_states or ()):
            arrays[f"layer-{number}-{layer}"] = states[0].numpy()
    np.savez(out, allow_pickle=False, **arrays)
    print(", ".join(f"{name} {version(name)}" for name in names))


if __name__ == "__main__":
    main(sys.argv[1])
