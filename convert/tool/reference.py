"""Runs the reference libraries on a checkpoint; started by another Python, one that has them, and never imported.

Usage: python reference.py OUT.npz, with {"folder", "texts", "ids", "max_length"} as JSON on standard input. Writes `vectors`,
what the modules of sentence-transformers make of the texts, without a prompt and in full width, if the folder is one of its
models; for each list of token ids `hidden-i`, the last hidden states, and `layer-i-j`, those that enter layer j, if it has a
transformer; and prints the versions. max_length: tokens to which texts are cut, null for what the folder says.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ENCODERS = ("t5", "mt5", "umt5")


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
        pipeline.default_prompt_name = pipeline.truncate_dim = None
        if asked["max_length"] is not None:
            pipeline.max_seq_length = asked["max_length"]
        arrays["vectors"] = np.asarray(pipeline.encode(asked["texts"]), np.float32)
        names.insert(0, "sentence-transformers")
        model = getattr(pipeline[0], "auto_model", None)
    else:
        model = bare(asked["folder"])
    if model is not None:
        arrays |= states(model, asked["ids"])
    np.savez(out, allow_pickle=False, **arrays)
    print(", ".join(f"{name} {version(name)}" for name in names))


def bare(folder: str) -> Any:
    """Returns the model of a folder; only the encoder of one that has a decoder beside it."""
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

    auto = AutoModelForTextEncoding if AutoConfig.from_pretrained(folder).model_type in ENCODERS else AutoModel
    return auto.from_pretrained(folder, dtype="float32")


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
