"""Checkpoints as they lie on the hub: folders, class names, prefixes and files of public ones, around weights of our own."""

import json
import re
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxembed import LLM, SentenceTransformer
from jaxembed.convert.checkpoint.loading import describe
from jaxembed.convert.tool.conversion import convert
from jaxembed.convert.tool.export import export
from jaxembed.errors import CheckpointError, InputError, UnsupportedModelError

TEXTS = ["w8 w9 w10", "w7", "w11 w12"]
ST = "sentence_transformers.models."
POOLING = ("1_Pooling", f"{ST}Pooling", {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True})
NORMALIZE = ("2_Normalize", f"{ST}Normalize", None)


def lay(folder, *modules):
    """Writes modules.json and the config of each module: (path, type, config or None)."""
    listed = [{"idx": i, "name": str(i), "path": path, "type": type_} for i, (path, type_, _) in enumerate(modules)]
    for path, _, config in modules:
        if config is not None:
            (folder / path).mkdir(exist_ok=True)
            (folder / path / "config.json").write_text(json.dumps(config))
    (folder / "modules.json").write_text(json.dumps(listed))
    return folder


def moved(folder, place):
    """Puts all files of the backbone into a folder of their own."""
    (folder / place).mkdir()
    for path in list(folder.iterdir()):
        if path.is_file():
            shutil.move(path, folder / place / path.name)
    return folder


def changed(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def embedded(folder, **options):
    return np.array([one.outputs.embedding for one in LLM(str(folder), **options).embed(TEXTS, use_tqdm=False)])


def tokens(folder, **options):
    outputs = LLM(str(folder), **options).encode(TEXTS, pooling_task="token_embed", use_tqdm=False)
    return np.concatenate([one.outputs.data for one in outputs])


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("place", ["0_Transformer", "0_BERT", "nested/model", ".", "0_Transformer/"])
def test_the_transformer_may_lie_in_a_folder_of_its_own(checkpoint, place, tmp_path):
    plain = lay(checkpoint("backbone-bert"), ("", f"{ST}Transformer", None), POOLING, NORMALIZE)
    expected = embedded(plain)
    folder = tmp_path / "moved"
    shutil.copytree(plain, folder)
    if place != ".":
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            (folder / place).mkdir(parents=True, exist_ok=True)
            shutil.move(folder / name, folder / place / name)
        (folder / "config.json").write_text('{"__version__": "0.2.0"}')
    lay(folder, (place, f"{ST}Transformer", None), POOLING, NORMALIZE)
    (folder / place / "sentence_bert_config.json").write_text('{"max_seq_length": 4, "do_lower_case": true}')
    np.testing.assert_allclose(embedded(folder, max_model_len=16), expected, atol=1e-6)
    model = SentenceTransformer(str(folder))
    assert model.max_seq_length == 4
    np.testing.assert_allclose(model.encode("W8 W9 w7 w7 w7"), model.encode("w8 w9"), atol=1e-6)


def test_a_transformer_in_a_folder_of_its_own_is_saved_and_converted(checkpoint, tmp_path, unrecorded):
    folder = moved(checkpoint("backbone-bert"), "0_Transformer")
    lay(folder, ("0_Transformer", f"{ST}Transformer", None), POOLING, NORMALIZE)
    (folder / "0_Transformer/sentence_bert_config.json").write_text('{"max_seq_length": 32}')
    expected = embedded(folder)
    convert(str(folder), tmp_path / "converted")
    np.testing.assert_array_equal(embedded(tmp_path / "converted"), expected)
    for source, name in ((folder, "one"), (tmp_path / "converted", "two")):
        export(str(source), tmp_path / name, progress=lambda total: _Ticks())
        np.testing.assert_array_equal(embedded(tmp_path / name), expected)
    model = SentenceTransformer(str(folder), config_kwargs={"layer_norm_eps": 1e-5})
    model.max_seq_length = 3
    model.save_pretrained(tmp_path / "saved")
    again = SentenceTransformer(str(tmp_path / "saved"))
    assert again.max_seq_length == 3
    assert again.engine.model.config_json["layer_norm_eps"] == 1e-5


class _Ticks:
    def __enter__(self):
        return lambda count: None

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("wrapper", ["auto_model.", "0.auto_model.", "module.", "_orig_mod.bert.", "encoder.model."])
def test_tensors_may_stand_behind_the_name_of_a_wrapper(checkpoint, wrapper):
    folder = checkpoint("backbone-bert")
    expected = embedded(folder)
    tensors = load_file(folder / "model.safetensors")
    assert "pooler.dense.weight" in tensors
    save_file({wrapper + name: tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    np.testing.assert_array_equal(embedded(folder), expected)


def test_two_wrapped_models_are_not_taken_for_one(checkpoint):
    folder = checkpoint("backbone-bert")
    tensors = load_file(folder / "model.safetensors")
    both = {before + name: tensor for name, tensor in tensors.items() for before in ("question.", "context.")}
    save_file(both, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"that no rule knows: (question|context)"):
        embedded(folder)


@pytest.mark.parametrize("name", ["backbone-jina3", "backbone-jina3-native", "backbone-jina3-plain"])
def test_jina_v3_with_its_own_transformer_loads(checkpoint, name):
    folder = checkpoint(name)
    expected = unit(embedded(folder))
    lay(folder, ("", "custom_st.Transformer", None), POOLING, NORMALIZE)
    np.testing.assert_allclose(embedded(folder), expected, atol=1e-6)


def test_jina_v3_applies_the_task_that_is_asked_for_at_loading(checkpoint):
    folder = lay(checkpoint("backbone-jina3"), ("", "custom_st.Transformer", None), POOLING, NORMALIZE)
    default, named = embedded(folder), embedded(folder, hf_overrides={"jina_task": "text-matching"})
    np.testing.assert_array_equal(default, named)
    other = embedded(folder, hf_overrides={"jina_task": "retrieval.query"})
    none = embedded(folder, hf_overrides={"jina_task": None})
    assert min(np.abs(a - b).max() for a, b in ((default, other), (default, none), (other, none))) > 1e-4
    with pytest.raises(UnsupportedModelError, match="lora_adaptations lack 'poems'"):
        embedded(folder, hf_overrides={"jina_task": "poems"})
    model = SentenceTransformer(str(folder), config_kwargs={"jina_task": "retrieval.query"})
    np.testing.assert_allclose(model.encode(TEXTS, task="retrieval.query"), other, atol=1e-6)
    with pytest.raises(InputError, match="config_kwargs"):
        model.encode(TEXTS, task="separation")


@pytest.mark.parametrize("name", ["backbone-jina5-small", "backbone-jina5-nano"])
def test_jina_v5_pools_the_last_token_to_unit_length_in_code_of_its_own(checkpoint, name):
    folder = checkpoint(name)
    expected = unit(embedded(folder))
    lay(folder, ("", "custom_st.Transformer", None))
    found = describe(str(folder)).recipe
    assert (found.modes, found.normalize) == (("lasttoken",), True)
    np.testing.assert_allclose(SentenceTransformer(str(folder)).encode(TEXTS), expected, atol=1e-6)


def test_a_transformer_of_a_checkpoints_own_is_refused_where_it_is_not_known(checkpoint):
    folder = lay(checkpoint("backbone-bert"), ("", "custom_st.Transformer", None), POOLING)
    with pytest.raises(UnsupportedModelError, match=r"the module custom_st\.Transformer is not supported"):
        embedded(folder)


DENSE = {"in_features": 32, "out_features": 6, "bias": False, "activation_function": "torch.nn.modules.linear.Identity"}


@pytest.mark.parametrize("name", ["backbone-bert", "backbone-modernbert"])
def test_pylates_dense_turns_every_token(checkpoint, name):
    """GTE-ModernColBERT-v1, as pylate saves it."""
    folder = checkpoint(name)
    states = hidden(folder)
    width = states.shape[-1]
    weight = np.random.RandomState(3).randn(6, width).astype(np.float32)
    lay(
        folder,
        ("", f"{ST}Transformer", None),
        ("1_Dense", "pylate.models.Dense.Dense", DENSE | {"in_features": width, "use_residual": False}),
    )
    save_file({"linear.weight": weight}, folder / "1_Dense/model.safetensors")
    (folder / "config_sentence_transformers.json").write_text('{"query_prefix": "[Q] ", "document_length": 300}')
    np.testing.assert_allclose(tokens(folder), unit(states @ weight.T), atol=1e-5)
    facts = describe(str(folder)).recipe.facts
    assert "document_length, query_prefix" in facts["not read"][0]
    with pytest.raises(UnsupportedModelError, match="token_embed"):
        embedded(folder)
    with pytest.raises(UnsupportedModelError, match="token_embed"):
        SentenceTransformer(str(folder)).encode("w7")


def hidden(folder):
    """The last states of all tokens."""
    model = SentenceTransformer(str(folder))
    return np.concatenate(model.encode(TEXTS, output_value="token_embeddings"))


@pytest.mark.parametrize(
    ("name", "prefix"), [("backbone-bert", "bert."), ("backbone-jina3-plain", "roberta."), ("backbone-modernbert", "")]
)
def test_stanfords_colbert_keeps_its_layer_among_the_tensors(checkpoint, name, prefix, tmp_path, unrecorded):
    """colbertv2.0, answerai-colbert-small-v1 and jina-colbert-v2: `HF_ColBERT`, and the backbone by its model_type."""
    folder = checkpoint(name)
    states = hidden(folder)
    weight = np.random.RandomState(3).randn(6, states.shape[-1]).astype(np.float32)
    tensors = load_file(folder / "model.safetensors")
    save_file({prefix + key: value for key, value in tensors.items()} | {"linear.weight": weight}, folder / "model.safetensors")
    changed(folder / "config.json", architectures=["HF_ColBERT"])
    (folder / "artifact.metadata").write_text('{"dim": 6}')
    expected = unit(states @ weight.T)
    np.testing.assert_allclose(tokens(folder), expected, atol=1e-5)
    for named in ("ColBERTJinaRobertaModel", "ColBERTModernBertModel"):
        # vLLM's names for it, which its users give as overrides.
        np.testing.assert_allclose(tokens(folder, hf_overrides={"architectures": [named]}), expected, atol=1e-5)
    with pytest.raises(UnsupportedModelError, match="token_embed"):
        embedded(folder)
    export(str(folder), tmp_path / "exported", progress=lambda total: _Ticks())
    np.testing.assert_allclose(tokens(tmp_path / "exported"), expected, atol=1e-5)
    (folder / "artifact.metadata").write_text('{"dim": 7}')
    with pytest.raises(CheckpointError, match=r"says dim: 7, and linear\.weight has 6 rows"):
        tokens(folder)


@pytest.mark.parametrize(
    "kind", ["Router", "Asym", "BoW", "WordEmbeddings", "CLIPModel", "WeightedLayerPooling", "CNN", "LSTM"]
)
def test_a_checkpoint_of_other_modules_is_refused_by_the_name_of_the_module(tmp_path, kind):
    """Which may hold no config.json at all."""
    lay(tmp_path, ("", f"{ST}{kind}", None), POOLING)
    with pytest.raises(UnsupportedModelError, match=rf"models\.{kind} is not supported; .*; a {kind} "):
        describe(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["onnx/model.onnx", "model.onnx", "openvino/openvino_model.xml", "model-q8_0.gguf", "tf_model.h5"]
)
def test_weights_in_another_form_alone_are_said_by_name(checkpoint, name):
    folder = checkpoint("backbone-bert")
    (folder / "model.safetensors").unlink()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=rf"has no weights: .*; {re.escape(name)} is, which is not read"):
        embedded(folder)


def test_keys_that_nobody_reads_are_listed(checkpoint):
    dense = ("2_Dense", f"{ST}Dense", DENSE | {"note": 1})
    dropout = ("3_Dropout", f"{ST}Dropout", {"dropout": 0.2, "seed": 3})
    folder = lay(checkpoint("backbone-bert"), ("", f"{ST}Transformer", None), POOLING, dense, dropout)
    (folder / "config_sentence_transformers.json").write_text(
        '{"__version__": {}, "model_type": "SentenceTransformer", "x": 1}'
    )
    changed(folder / "tokenizer_config.json", mood="good", image_token="[UNK]", padding_side="left")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([module | {"color": "red"} for module in modules]))
    said = describe(str(folder)).recipe.facts["not read"][0]
    assert said == (
        "color of modules.json; note of 2_Dense/config.json; seed of 3_Dropout/config.json; "
        "x of config_sentence_transformers.json; mood of tokenizer_config.json"
    )


def test_a_reranker_that_is_a_language_model_is_told_by_its_name(checkpoint, tmp_path):
    """Qwen3-Reranker as it lies on the hub: nothing in its files tells it from a Qwen3."""
    folder = tmp_path / "Qwen3-Reranker-0.6B"
    shutil.copytree(checkpoint("backbone-qwen3-causal-lm"), folder)
    with pytest.raises(UnsupportedModelError, match=r"Qwen3-Reranker-0\.6B ranks by its words for yes and no.*Qwen3Model"):
        embedded(folder)
    assert embedded(folder, convert="embed").shape[0] == len(TEXTS)
    assert SentenceTransformer(str(folder), config_kwargs={"architectures": ["Qwen3Model"]}).encode("a").ndim == 1


def test_a_type_for_heads_is_said_not_to_be_obeyed(checkpoint, caplog):
    folder = checkpoint("backbone-bert")
    describe(str(folder), hf_overrides={"head_dtype": "float32"})
    assert not caplog.text
    describe(str(folder), hf_overrides={"head_dtype": "bfloat16"})
    assert "heads are computed in float32; head_dtype 'bfloat16'" in caplog.text
