"""Writes a tiny checkpoint of every causal LM of transformers, and its hidden states: python draw_decoders.py FOLDER.

Those that cannot be built from these sizes alone, or would be large, are left out with a line that says so.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors import safe_open
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

sys.path.insert(0, str(Path(__file__).parent.parent))
from reference import tiny

SIZES = {
    "vocab_size": 120,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LARGE = 2_000_000


def draw(real: type, folder: Path, sizes: dict) -> None:
    config = real.config_class(**sizes)
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in real(config).parameters())
    if count > LARGE:
        raise ValueError(f"{count:,} parameters")
    real(config).save_pretrained(folder / "saved")
    with safe_open(folder / "saved" / "model.safetensors", framework="np") as opened:
        shapes = {name: opened.get_slice(name).get_shape() for name in sorted(opened.keys())}
    files = {"config.json": json.loads((folder / "saved" / "config.json").read_text())}
    norms = 0 if "Gemma" in real.__name__ else 1
    spec = {"seed": 3, "files": files, "tensors": {"model.safetensors": shapes}, "decoder": True, "norms": norms}
    model = real.from_pretrained(tiny.write(spec, folder / "drawn"), attn_implementation="eager").eval()
    with torch.inference_mode():
        states = model(torch.tensor(tiny.ids([40], seed=1)), output_hidden_states=True).hidden_states[-1][0]
    np.save(folder / "hidden.npy", states.numpy())


def main(out: Path) -> None:
    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    for name, classes in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items():
        real = getattr(transformers, classes if isinstance(classes, str) else classes[0], None)
        if real is None:
            continue
        for more in ({}, {"head_dim": 6}):
            try:
                draw(real, out / name, SIZES | more)
                break
            except Exception as error:  # noqa: BLE001 - whatever keeps a class from being built this small
                print(f"{name} left out: {type(error).__name__}: {str(error)[:80]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
