"""What `config.json` says and leaves out: the reference's defaults, contradictions, values of the wrong kind."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from raw_files import write_raw
from safetensors.numpy import load_file, save_file

from jaxembed import LLM, SentenceTransformer
from jaxembed.cli import main
from jaxembed.convert.checkpoint.loading import describe
from jaxembed.convert.formats.scales import block_size, check_method
from jaxembed.convert.mapping.architectures import find
from jaxembed.convert.mapping.registry import FAMILIES
from jaxembed.convert.weights.adapters import Adapted
from jaxembed.errors import UnsupportedModelError
from jaxembed.layers.rotary import Rotary

GOLDENS = Path(__file__).parents[1] / "goldens"
GONE = object()
TEXT = {"prompt_token_ids": [8, 9, 10, 11]}


def golden(name: str, **changes) -> dict:
    config = json.loads((GOLDENS / f"backbone-{name}.json").read_text())["spec"]["files"]["config.json"] | changes
    return {key: value for key, value in config.items() if value is not GONE}


def read(config: dict):
    return find(config).read_config(config)


def changed(**changes):
    return lambda spec: spec["files"]["config.json"].update(changes)


def vector(folder, **options) -> np.ndarray:
    (output,) = LLM(str(folder), **options).embed([TEXT], use_tqdm=False)
    return np.array(output.outputs.embedding)


# What tests/parity/test_configs.py finds for every key of every family; these are held without transformers too.


def test_a_base_that_is_left_out_is_that_of_its_family():
    smol = read(golden("smollm3", rope_parameters=GONE, rope_theta=GONE))
    assert {layer.rotary.theta for layer in smol.layer_types if layer.rotary} == {2_000_000.0}
    assert read(golden("jina3-native", rope_parameters=GONE)).rotary.theta == 20_000.0
    assert read(golden("jina3", rotary_emb_base=GONE)).rotary.theta == 10_000.0
    modern = read(golden("modernbert-public", local_rope_theta=GONE))
    assert (modern.local.theta, modern.full.theta) == (10_000.0, 160_000.0)
    assert read(golden("modernbert-public", local_rope_theta=None)).local.theta == 160_000.0


def test_a_window_that_is_left_out_is_4096_and_a_window_of_null_is_none():
    assert {layer.back for layer in read(golden("mistral", sliding_window=GONE)).layer_types} == {4095}
    assert {layer.back for layer in read(golden("mistral", sliding_window=None)).layer_types} == {None}
    slides = {"sliding_window": GONE, "layer_types": GONE, "use_sliding_window": True, "num_hidden_layers": 30}
    layers = read(golden("qwen2", max_window_layers=GONE, **slides)).layer_types
    assert [layer.back for layer in layers] == [None] * 28 + [4095] * 2
    layers = read(golden("smollm3", layer_types=GONE, use_sliding_window=True, sliding_window=9)).layer_types
    assert [layer.back for layer in layers] == [8 if layer.rotary is None else None for layer in layers]


def test_modernbert_turns_whatever_position_embedding_type_says(checkpoint):
    """mmBERT, Ettin and mLateOn say sans_pos, which transformers does not read."""
    plain = vector(checkpoint("backbone-modernbert-public"))
    said = checkpoint("backbone-modernbert-public", changed(position_embedding_type="sans_pos"))
    np.testing.assert_array_equal(vector(said), plain)


def test_a_model_type_that_contradicts_the_architectures_is_an_error_that_names_both(checkpoint, caplog):
    for name, kind in (("roberta", "bert"), ("bert", "roberta"), ("llama", "gemma"), ("qwen3", "qwen2"), ("t5", "bert")):
        with pytest.raises(UnsupportedModelError, match=rf"contradicts itself: by its architectures .* model_type \({kind}\)"):
            find(golden(name, model_type=kind))
    unknown = golden("llama", architectures=["FooForCausalLM"])
    assert find(unknown | {"model_type": "foo"}).name == find(unknown | {"model_type": "llama"}).name == "Llama-like decoder"
    with pytest.raises(UnsupportedModelError, match="FooForCausalLM"):
        find(unknown | {"model_type": "qwen2"})


def test_a_model_type_that_means_the_same_vectors_or_nothing_here_is_let_pass(checkpoint):
    for name, kind in (
        ("roberta", "xlm-roberta"),
        ("xlm-roberta", "camembert"),
        ("ernie", "bert"),
        ("t5", "mt5"),
        ("bert", "of-its-own"),
        ("gritlm", "mistral"),
        ("jina5-small", "qwen3"),
        ("voyage", "llama"),
        ("gte-new", "gte"),
    ):
        assert find(golden(name, model_type=kind)) is find(golden(name)), name
    named = {name: family for family in FAMILIES for name in family.architectures}
    for architecture, kind in (("GteNewModel", "new"), ("XLMRobertaLoRA", "xlm-roberta")):
        config = golden("gte-new" if kind == "new" else "jina3", architectures=[architecture], model_type=kind)
        assert find(config) is named[architecture]
    folder = checkpoint("backbone-bert")
    assert describe(str(folder), hf_overrides={"architectures": ["RobertaModel"], "pad_token_id": 1}).family.name == "RoBERTa"
    override = describe(str(folder), hf_overrides=lambda config: config | {"architectures": ["RobertaModel"]})
    assert override.config_json["model_type"] == "roberta"


@pytest.mark.parametrize("key", ["use_rope", "rms_norm", "use_rms_norm", "norm_before"])
def test_an_unknown_decoder_that_switches_something_off_is_no_llama(key):
    config = golden("llama", architectures=["FooForCausalLM"], model_type="foo", rms_norm_eps=1e-6)
    assert find(config | {"use_cache": False, "use_qk_norm": False, "tie_word_embeddings": False})
    for value in (False, 0):
        with pytest.raises(UnsupportedModelError, match=f"keys that no Llama has: {key}"):
            find(config | {key: value})


def test_a_t5_with_two_tables_of_words_uses_its_encoders_own(checkpoint):
    folder = checkpoint("backbone-t5")
    tensors = load_file(folder / "model.safetensors")
    own = np.random.RandomState(5).randn(*tensors["shared.weight"].shape).astype(np.float32)
    save_file({**tensors, "encoder.embed_tokens.weight": own}, folder / "model.safetensors")
    both = vector(folder)
    save_file({**tensors, "shared.weight": own}, folder / "model.safetensors")
    np.testing.assert_array_equal(both, vector(folder))


def rope(**numbers) -> dict:
    return {"rope_scaling": numbers, "rope_parameters": GONE}


WRONG = [
    ("bert", {"hidden_size": "32"}, "hidden_size: '32', and it must be a whole number above 0"),
    ("bert", {"num_attention_heads": 0}, "num_attention_heads: 0"),
    ("bert", {"vocab_size": -5}, "vocab_size: -5"),
    ("bert", {"vocab_size": 120.5}, "vocab_size: 120.5"),
    ("bert", {"vocab_size": True}, "vocab_size: True"),
    ("bert", {"layer_norm_eps": "x"}, "layer_norm_eps: 'x', and it must be a number above 0"),
    ("bert", {"layer_norm_eps": float("nan")}, "layer_norm_eps: nan"),
    ("bert", {"max_position_embeddings": None}, "max_position_embeddings: null"),
    ("bert", {"intermediate_size": None}, "intermediate_size: null"),
    ("roberta", {"pad_token_id": None}, "pad_token_id: null"),
    ("bert", {"hidden_act": ["gelu"]}, "hidden_act: ['gelu'], and it must be a text"),
    ("bert", {"architectures": [None]}, "architectures: [None], and it must be a list of texts"),
    ("bert", {"architectures": "BertModel"}, "architectures: 'BertModel'"),
    ("bert", {"model_type": ["bert"]}, "model_type: ['bert']"),
    ("mistral", {"sliding_window": "8"}, "sliding_window: '8'"),
    ("mistral", {"sliding_window": 0}, "a sliding_window of 0"),
    ("llama", {"head_dim": "8"}, "head_dim: '8'"),
    ("llama", {"num_key_value_heads": 3}, "4 attention heads cannot share 3"),
    ("llama", {"attention_bias": "no"}, "attention_bias: 'no', and it must be true or false"),
    ("gemma2", {"layer_types": ["full_attention"]}, "layer_types of 1 layers, and there are"),
    ("smollm3", {"no_rope_layers": [1]}, "no_rope_layers of 1 layers"),
    ("modernbert", {"layer_types": ["full_attention"]}, "layer_types of 1 layers, and there are"),
    ("modernbert", {"layer_types": ["linear"] * 4}, "layer_types 'linear' is not supported"),
    ("modernbert-public", {"global_attn_every_n_layers": 0}, "global_attn_every_n_layers: 0"),
    ("t5", {"feed_forward_proj": None}, "its values up to 'feed_forward_proj' do not go together"),
    ("llama", rope(rope_type="linear"), "factor: None of a linear rope"),
    ("llama", rope(rope_type="dynamic"), "factor: None of a dynamic rope"),
    ("llama", rope(rope_type="linear", factor=0), "factor: 0 of a linear rope, and it must be a number above 0"),
    ("llama", rope(rope_type="linear", factor="4"), "factor: '4'"),
    ("llama", rope(rope_type="llama3", factor=8.0), "low_freq_factor: None of a llama3 rope"),
    ("llama", rope(rope_type="longrope", short_factor=[1.0], long_factor=[2.0]), "of a longrope rope, and it must be"),
    ("llama", {"rope_scaling": "linear", "rope_parameters": GONE}, "rope_scaling: 'linear', and it must be an object"),
    ("llama", {"rope_scaling": [1], "rope_parameters": GONE}, "rope_scaling: [1]"),
    ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": "x"}}, "do not go together"),
    ("llama", {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 2}}, "a share of 2"),
    ("embeddinggemma2", {"per_layer_config": {"1": 3}}, "do not go together"),
]


@pytest.mark.parametrize(("name", "changes", "said"), WRONG, ids=[f"{name}-{change}"[:60] for name, change, _ in WRONG])
def test_a_value_of_the_wrong_kind_is_one_sentence_that_names_it(name, changes, said):
    with pytest.raises(UnsupportedModelError) as error:
        read(golden(name, **changes))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_whole_numbers_may_be_written_with_a_point():
    assert read(golden("bert", num_hidden_layers=2.0, vocab_size=120.0)) == read(golden("bert", num_hidden_layers=2))


def test_a_scaling_without_its_first_length_takes_the_models():
    for kind, numbers in (
        ("llama3", {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}),
        ("longrope", {"short_factor": [1.0] * 3, "long_factor": [2.0] * 3}),
    ):
        rotary = Rotary.scaled({"rope_type": kind, **numbers}, 6, 10_000.0, 64)
        assert dict(rotary.numbers)["original_max_position_embeddings"] == 64


def test_a_wrong_value_gives_no_traceback_at_the_command_line(checkpoint, capsys):
    folder = checkpoint("backbone-bert", changed(hidden_size="32"))
    assert main(["info", str(folder)]) == 1
    assert capsys.readouterr().err.startswith("jaxembed: config.json says hidden_size: '32'")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"quantization_config": "gptq"}, "quantization_config: 'gptq', and it must be an object"),
        ({"quantization_config": ["x"]}, r"quantization_config: \['x'\]"),
        ({"compression_config": {"quant_method": "compressed-tensors", "format": "pack-quantized"}}, "pack-quantized"),
        ({"quantization_config": {"quant_method": "compressed-tensors", "transform_config": {"a": 1}}}, "transform_config"),
    ],
)
def test_quantization_that_is_not_understood_is_refused(config, said):
    with pytest.raises(UnsupportedModelError, match=said):
        check_method(config)


def test_quantization_that_says_nothing_is_none():
    check_method({"quantization_config": None, "compression_config": {}})
    plain = {"quant_method": "compressed-tensors", "transform_config": {"config_groups": {}}}
    check_method({"compression_config": plain})


@pytest.mark.parametrize("given", ["x", [16], [0, 16], [16.5, 16], {"a": 1}])
def test_a_block_that_is_not_two_sizes_is_refused(given):
    with pytest.raises(UnsupportedModelError, match="weight_block_size"):
        block_size({"quantization_config": {"weight_block_size": given}})


@pytest.mark.parametrize("kind", ["int8", "bool", "uint8", "int64"])
def test_weights_of_whole_numbers_without_a_scale_are_refused_by_name(kind, checkpoint):
    folder = checkpoint("backbone-bert")
    tensors = load_file(folder / "model.safetensors")
    name = "encoder.layer.0.output.dense.weight"
    save_file({**tensors, name: tensors[name].astype(kind)}, folder / "model.safetensors")
    with pytest.raises(UnsupportedModelError, match=rf"without a scale .*{name} \({kind}\)"):
        LLM(str(folder))


def test_static_embeddings_of_int8_are_the_numbers_they_are(checkpoint):
    folder = checkpoint("static-model2vec")
    tensors = load_file(folder / "model.safetensors")
    rounded = np.round(tensors["embeddings"] * 127 / np.abs(tensors["embeddings"]).max())
    kinds = {}
    for kind in (np.float32, np.int8):
        save_file({**tensors, "embeddings": rounded.astype(kind)}, folder / "model.safetensors")
        kinds[kind] = vector(folder)
    np.testing.assert_array_equal(kinds[np.int8], kinds[np.float32])


@pytest.mark.parametrize("kinds", [(ml_dtypes.bfloat16, np.float16), (ml_dtypes.float8_e4m3fn, ml_dtypes.bfloat16)])
def test_layers_of_several_types_are_kept_in_float32(kinds, checkpoint):
    folder = checkpoint("backbone-bert")
    tensors = load_file(folder / "model.safetensors")
    rounded = {
        name: tensor.astype(kinds[".layer.0." in name]) if ".layer." in name else tensor for name, tensor in tensors.items()
    }
    save_file({name: tensor.astype(np.float32) for name, tensor in rounded.items()}, folder / "model.safetensors")
    wide = vector(folder)
    write_raw(folder, rounded)
    np.testing.assert_array_equal(vector(folder), wide)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"r": None}, "says r: null"),
        ({"r": 0}, "says r: 0, and"),
        ({"lora_alpha": "x"}, "'x'"),
    ],
)
def test_an_adapter_without_its_numbers_is_refused(changes, said, checkpoint):
    folder = checkpoint("backbone-jina5-small")
    path = folder / "adapters" / "retrieval" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UnsupportedModelError, match=said):
        Adapted(folder, path.parent)


HEADS = [
    ("bert", "BertForSequenceClassification", "BertModel"),
    ("roberta", "RobertaForTokenClassification", "RobertaModel"),
    ("xlm-roberta", "XLMRobertaForSequenceClassification", "XLMRobertaModel"),
    ("modernbert", "ModernBertForMultipleChoice", "ModernBertModel"),
    ("deberta", "DebertaV2ForQuestionAnswering", "DebertaV2Model"),
    ("gte-new", "NewForSequenceClassification", "NewModel"),
    ("qwen2", "Qwen2ForRewardModel", "Qwen2Model"),
    ("qwen2", "Qwen2ForProcessRewardModel", "Qwen2Model"),
    ("qwen3", "Qwen3ForSequenceClassification", "Qwen3Model"),
    ("llama", "LlamaForRewardModelWithGating", "LlamaModel"),
]


@pytest.mark.parametrize(("name", "architecture", "bare"), HEADS)
def test_a_head_that_decides_what_a_checkpoint_means_is_refused_unless_embeddings_are_asked_for(
    name, architecture, bare, checkpoint, capsys
):
    plain = vector(checkpoint(f"backbone-{name}", changed(architectures=[bare])))
    folder = checkpoint(f"backbone-{name}", changed(architectures=[architecture]))
    said = rf"a head \(its architectures name {architecture}\): the head would be dropped.*convert='embed'.*\"{bare}\""
    for load in (vector, lambda folder: vector(folder, convert="none"), lambda folder: SentenceTransformer(str(folder))):
        with pytest.raises(UnsupportedModelError, match=said):
            load(folder)
    place = str(folder)
    for command in (["info", place], ["embed", "-m", place, "hello"], ["convert", place, place + "-out"], ["verify", place]):
        assert main(command) == 1
        assert f"its architectures name {architecture}" in capsys.readouterr().err
    assert not Path(place + "-out").exists()
    np.testing.assert_array_equal(vector(folder, convert="embed"), plain)
    np.testing.assert_array_equal(vector(folder, hf_overrides={"architectures": [bare]}), plain)


def test_a_head_of_an_unknown_backbone_is_named_without_a_way_that_leads_nowhere(checkpoint):
    folder = checkpoint("backbone-llama", changed(architectures=["NovelForRewardModel"]))
    with pytest.raises(UnsupportedModelError, match=r"name NovelForRewardModel\).*convert embed`\)\.$"):
        vector(folder)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"classifier_from_token": ["no", "yes"]}, r"it has classifier_from_token \['no', 'yes'\]"),
        ({"is_original_qwen3_reranker": True}, "it has is_original_qwen3_reranker True"),
        ({"method": "from_2_way_softmax"}, "it has method 'from_2_way_softmax'"),
        ({"architectures": ["Qwen3ForSequenceClassification"]}, "its architectures name Qwen3ForSequenceClassification"),
    ],
)
def test_an_override_that_makes_a_reranker_of_a_language_model_is_refused(given, said, checkpoint):
    folder = checkpoint("backbone-qwen3")
    for name in ("backbone-qwen3", "pipeline-qwen3-last"):
        with pytest.raises(UnsupportedModelError, match=said):
            vector(checkpoint(name), hf_overrides=given)
    with pytest.raises(UnsupportedModelError, match=said):
        vector(folder, hf_overrides=lambda config: config | given)
    with pytest.raises(UnsupportedModelError, match=said):
        vector(checkpoint("backbone-qwen3", changed(**given)))


def test_heads_of_language_models_and_embedders_that_kept_a_name_load(checkpoint):
    for name, architecture in (("bert", "BertForMaskedLM"), ("bert", "BertForPreTraining"), ("qwen3", "Qwen3ForCausalLM")):
        vector(checkpoint(f"backbone-{name}", changed(architectures=[architecture])))
    kept = checkpoint("pipeline-qwen3-last", changed(architectures=["Qwen3ForSequenceClassification"]))
    plain = vector(kept)
    np.testing.assert_array_equal(vector(checkpoint("pipeline-qwen3-last")), plain)


def test_heads_that_lie_beside_an_embedder_are_said_to_be_unused(checkpoint, capsys):
    folder = checkpoint("backbone-xlm-roberta")
    assert main(["info", str(folder)]) == 0
    assert "not used" not in capsys.readouterr().out
    for name in ("sparse_linear.pt", "colbert_linear.pt"):
        (folder / name).write_bytes(b"")
    assert main(["info", str(folder)]) == 0
    assert "not used        colbert_linear.pt, sparse_linear.pt" in capsys.readouterr().out
