"""Writes the goldens with the real transformers and sentence-transformers classes. Runs in the reference environment.

Each case is saved by its real class, so names and files are those of public checkpoints; then drawn anew from the seed, loaded
by the same class from those files, and run. Usage: python write_goldens.py [FOLDER [NAME...]]
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors import safe_open
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules as st

sys.path.insert(0, str(Path(__file__).parent.parent))
from reference import cases, own, tiny

GOLDENS = Path(__file__).parents[2] / "goldens"
ACTIVATIONS = {"Identity": torch.nn.Identity(), "GELU": torch.nn.GELU(), "ReLU": torch.nn.ReLU()}


def spec_of(folder: Path, seed: int, extra: dict, decoder: bool) -> dict:
    """Reads back what was saved: the JSON files, and name and shape of every tensor."""
    files = {}
    for path in sorted(folder.rglob("*.json")):
        if "tokenizer" not in path.name and path.name not in ("special_tokens_map.json", "vocab.json"):
            files[path.relative_to(folder).as_posix()] = json.loads(path.read_text())
    if "config.json" in files:
        files["config.json"].update(extra)
        files["config.json"].pop("transformers_version", None)
    if "config_sentence_transformers.json" in files:
        files["config_sentence_transformers.json"].pop("__version__", None)
    tensors = {}
    for path in sorted(folder.rglob("*.safetensors")):
        with safe_open(path, framework="np") as opened:
            shapes = {name: opened.get_slice(name).get_shape() for name in sorted(opened.keys())}
        tensors[path.relative_to(folder).as_posix()] = shapes
    return {"seed": seed, "files": files, "tensors": tensors, "decoder": decoder}


def backbone(name: str, scratch: Path) -> tuple[dict, dict[str, np.ndarray]]:
    case = cases.BACKBONES[name]
    real = getattr(own if case.real.startswith("own.") else transformers, case.real.removeprefix("own."))
    real(real.config_class(**case.config)).save_pretrained(scratch / "saved", save_original_format=not case.native)
    spec = spec_of(scratch / "saved", len(name), case.extra, case.decoder)
    if case.norms != 1:
        spec["norms"] = case.norms
    model = real.from_pretrained(tiny.write(spec, scratch / "drawn"), attn_implementation="eager").eval()
    arrays = {}
    for length, ids in zip(case.lengths, tiny.ids(case.lengths, seed=1), strict=True):
        options = {"attention_mask": torch.zeros(1, 1, length, length)} if case.both_ways else {}
        with torch.inference_mode():
            arrays[f"hidden-{length}"] = model.base_model(torch.tensor([ids]), **options).last_hidden_state[0].numpy()
    if case.public is not None:
        spec["files"]["config.json"] = case.public
    return {"spec": spec, "lengths": list(case.lengths), "seed": 1, "class": case.real}, arrays


def static(name: str, scratch: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Static embeddings as sentence-transformers saves them, or as model2vec does."""
    modules = [st.StaticEmbedding(tiny.whole_words(tiny.VOCABULARY), embedding_dim=24), st.Normalize()]
    SentenceTransformer(modules=modules).save_pretrained(str(scratch / "saved"), create_model_card=False)
    spec = spec_of(scratch / "saved", len(name), {}, decoder=False) | cases.STATIC[name]
    model = SentenceTransformer(str(tiny.write(spec, scratch / "drawn")), device="cpu")
    texts = tiny.texts(cases.TEXT_LENGTHS[1:], seed=2)
    return {"spec": spec, "texts": texts, "prompt": None}, {"embeddings": model.encode(texts)}


def pipeline(name: str, scratch: Path) -> tuple[dict, dict[str, np.ndarray]]:
    base, described, prompt = cases.PIPELINES[name]
    case = cases.BACKBONES[base]
    real = getattr(transformers, case.real)
    real(real.config_class(**case.config)).save_pretrained(scratch / "backbone")
    tiny.write_tokenizer(scratch / "backbone", decoder=case.decoder)
    modules = [st.Transformer(str(scratch / "backbone"))]
    for kind, options in described:
        options = dict(options)
        if kind == "Pooling":
            options["embedding_dimension"] = case.config["hidden_size"]
        if "activation_function" in options:
            options["activation_function"] = ACTIVATIONS[options["activation_function"]]
        modules.append(getattr(st, kind)(**options))
    prompts = {"query": prompt} if prompt else None
    SentenceTransformer(modules=modules, prompts=prompts).save_pretrained(str(scratch / "saved"), create_model_card=False)
    spec = spec_of(scratch / "saved", len(name), case.extra, case.decoder)
    model = SentenceTransformer(str(tiny.write(spec, scratch / "drawn")), device="cpu")
    texts = tiny.texts(cases.TEXT_LENGTHS, seed=2)
    ids = [model.tokenizer(text)["input_ids"] for text in texts]
    assert len({tuple(one) for one in ids}) == len(texts), f"the tokenizer of {name} cannot tell texts apart"
    if prompt or case.decoder:
        texts = texts[1:]
    arrays = {"embeddings": np.stack([model.encode(text, prompt=prompt) for text in texts])}
    return {"spec": spec, "texts": texts, "prompt": prompt}, arrays


def main(out: Path, only: list[str]) -> None:
    torch.set_num_threads(2)
    out.mkdir(parents=True, exist_ok=True)
    for make, names in ((backbone, cases.BACKBONES), (pipeline, cases.PIPELINES), (static, cases.STATIC)):
        for name in only or names:
            if name not in names:
                continue
            with tempfile.TemporaryDirectory() as scratch:
                about, arrays = make(name, Path(scratch))
            file = f"{make.__name__}-{name}"
            (out / f"{file}.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
            np.savez_compressed(out / f"{file}.npz", **{key: value.astype(np.float32) for key, value in arrays.items()})
            print(file, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDENS, sys.argv[2:])
