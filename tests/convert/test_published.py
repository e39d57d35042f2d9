"""Public checkpoints that the docs name, folder by folder as they are published, around tiny weights of our own.

Module types, paths, class names, prefixes of tensors, types of weights and small files are from the public descriptions; sizes
are those of the goldens.
"""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxembed import LLM, SentenceTransformer

ST = "sentence_transformers.models."
HALF, BRAIN = np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)
LEGACY = "pooling_mode_{}"


def pooled(mode):
    """The config of a Pooling as versions 2 to 5 wrote it."""
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    return {"word_embedding_dimension": 0} | {LEGACY.format(one): one == mode for one in modes} | {"include_prompt": True}


def dense(outputs, activation="torch.nn.modules.linear.Identity"):
    return {"out_features": outputs, "bias": False, "activation_function": activation}


# golden, architectures, the kind of weights, what stands before their names, pooling, what comes behind, small files.
PUBLISHED = {
    "bge-base-en-v1.5": ("bert", "BertModel", np.float32, "", "cls_token", ["Normalize"], {}),
    "e5-base-v2": ("bert", "BertModel", np.float32, "", "mean_tokens", ["Normalize"], {}),
    "snowflake-arctic-embed-xs": (
        "bert",
        "BertModel",
        np.float32,
        "",
        "cls_token",
        ["Normalize"],
        {"config_sentence_transformers.json": {"prompts": {"query": "Represent this sentence: "}, "default_prompt_name": None}},
    ),
    "all-roberta-large-v1": ("roberta", "RobertaForMaskedLM", np.float32, "roberta.", "mean_tokens", ["Normalize"], {}),
    "all-mpnet-base-v2": ("mpnet", "MPNetForMaskedLM", np.float32, "mpnet.", "mean_tokens", ["Normalize"], {}),
    "bge-m3": ("xlm-roberta", "XLMRobertaModel", np.float32, "", "cls_token", ["Normalize"], {}),
    "multilingual-e5-large": ("xlm-roberta", "XLMRobertaModel", HALF, "", "mean_tokens", ["Normalize"], {}),
    "sentence-camembert-base": ("camembert", "CamembertModel", np.float32, "", "mean_tokens", [], {}),
    "msmarco-distilbert-base-v4": ("distilbert", "DistilBertModel", np.float32, "", "mean_tokens", [], {}),
    "gte-modernbert-base": ("modernbert", "ModernBertModel", HALF, "", "cls_token", [], {}),
    "sentence-t5-base": ("t5", "T5EncoderModel", HALF, "", "mean_tokens", [dense(8), "Normalize"], {}),
    "Qwen3-Embedding-0.6B": (
        "qwen3",
        "Qwen3ForCausalLM",
        BRAIN,
        "",
        "lasttoken",
        ["Normalize"],
        {
            "config_sentence_transformers.json": {
                "prompts": {"query": "Instruct: find\nQuery:", "document": ""},
                "default_prompt_name": None,
                "similarity_fn_name": "cosine",
            }
        },
    ),
    "gte-Qwen2-7B-instruct": (
        "qwen2-bidirectional",
        "Qwen2ForCausalLM",
        np.float32,
        "model.",
        "lasttoken",
        ["Normalize"],
        {"sentence_bert_config.json": {"max_seq_length": 32, "do_lower_case": False}},
    ),
    "e5-mistral-7b-instruct": ("mistral", "MistralModel", HALF, "", "lasttoken", ["Normalize"], {}),
    "embeddinggemma-300m": (
        "embeddinggemma",
        "Gemma3TextModel",
        BRAIN,
        "",
        "mean_tokens",
        [dense(48), dense(16), "Normalize"],
        {"config_sentence_transformers.json": {"model_type": "SentenceTransformer", "prompts": {"query": "task: "}}},
    ),
    "nomic-embed-text-v1.5": ("nomic", "NomicBertModel", np.float32, "", "mean_tokens", [], {}),
    "gte-multilingual-base": ("gte-new", "NewModel", HALF, "", "cls_token", ["Normalize"], {}),
    "jina-embeddings-v2-base-en": ("jina2", "JinaBertForMaskedLM", HALF, "", "mean_tokens", [], {}),
    "EuroBERT-210m": ("eurobert", "EuroBertModel", BRAIN, "", "mean_tokens", [], {}),
}


def publish(folder, architecture, kind, prefix, mode, behind, files):
    tensors = load_file(folder / "model.safetensors")
    named = {prefix + name.removeprefix(prefix): tensor.astype(kind) for name, tensor in tensors.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"architectures": [architecture], "torch_dtype": np.dtype(kind).name})
    )
    width = config.get("hidden_size") or config.get("dim") or config.get("d_model") or config.get("n_embd")
    modules = [("", "Transformer", None), ("1_Pooling", "Pooling", pooled(mode) | {"word_embedding_dimension": width})]
    for number, one in enumerate(behind, 2):
        name = one if isinstance(one, str) else "Dense"
        modules.append((f"{number}_{name}", name, None if isinstance(one, str) else one | {"in_features": width}))
        if not isinstance(one, str):
            (folder / f"{number}_Dense").mkdir()
            weight = np.random.RandomState(number).randn(one["out_features"], width).astype(np.float32)
            save_file({"linear.weight": weight}, folder / f"{number}_Dense/model.safetensors")
            width = one["out_features"]
    listed = [{"idx": i, "name": str(i), "path": path, "type": ST + name} for i, (path, name, _) in enumerate(modules)]
    for path, content in {
        "modules.json": listed,
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
        "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.2.2", "transformers": "4.28.1"}},
        **{f"{path}/config.json": content for path, _, content in modules if content is not None},
        **files,
    }.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(json.dumps(content))
    return width


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_checkpoint_loads_as_it_is_published(checkpoint, name):
    golden, *rest = PUBLISHED[name]
    folder = checkpoint(f"backbone-{golden}")
    width = publish(folder, *rest)
    if name == "bge-m3":
        for head in ("colbert_linear.pt", "sparse_linear.pt"):
            (folder / head).write_bytes(b"another head")
    vectors = SentenceTransformer(str(folder)).encode(["w8 w9 w10", "w7"])
    assert vectors.shape == (2, width)
    (output,) = LLM(str(folder)).embed("w7", use_tqdm=False)
    unit = vectors[1] / np.linalg.norm(vectors[1])
    np.testing.assert_allclose(output.outputs.embedding / np.linalg.norm(output.outputs.embedding), unit, atol=1e-5)
    if "Normalize" in rest[4]:
        np.testing.assert_allclose(vectors[1], unit, atol=1e-5)


@pytest.mark.parametrize(
    ("golden", "place"), [("static-sentence-transformers", "0_StaticEmbedding"), ("static-model2vec", ".")]
)
def test_static_embeddings_load_as_they_are_published(checkpoint, golden, place):
    """static-retrieval-mrl-en-v1 in a folder of its own, potion-base-8M in the main one, which it calls "."."""
    folder = checkpoint(golden)
    modules = [(place, "StaticEmbedding"), ("1_Normalize", "Normalize")]
    listed = [{"idx": i, "name": str(i), "path": path, "type": ST + kind} for i, (path, kind) in enumerate(modules)]
    if place != ".":
        (folder / place).mkdir()
        for name in ("model.safetensors", "tokenizer.json"):
            (folder / name).rename(folder / place / name)
    (folder / "modules.json").write_text(json.dumps(listed))
    vectors = SentenceTransformer(str(folder)).encode(["w8 w9 w10", "w7"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
