import json
import re

import pytest

from jaxembed.convert.checkpoint.pipeline import read_recipe
from jaxembed.convert.checkpoint.sentence_bert import read_transformer_file
from jaxembed.errors import CheckpointError, UnsupportedModelError
from jaxembed.heads.recipe import DenseHead, LayerNormHead, NormalizeHead

SPELLINGS = {
    "before 5.4": "sentence_transformers.models.{name}",
    "5.4": "sentence_transformers.sentence_transformer.modules.{file}.{name}",
    "6": "sentence_transformers.base.modules.{file}.{name}",
}


def write(folder, modules, files=(), spelling="before 5.4"):
    """modules: (name, config or None); their folders are numbered as sentence-transformers numbers them."""
    listed = []
    for number, (name, config) in enumerate(modules):
        place = "" if name == "Transformer" else f"{number}_{name}"
        type_ = SPELLINGS[spelling].format(name=name, file=name.lower()) if "." not in name else name
        listed.append({"idx": number, "name": str(number), "path": place, "type": type_})
        if config is not None:
            (folder / place).mkdir(exist_ok=True)
            (folder / place / "config.json").write_text(json.dumps(config))
    (folder / "modules.json").write_text(json.dumps(listed))
    for name, content in dict(files).items():
        (folder / name).write_text(json.dumps(content))
    return folder


MEAN = ("Pooling", {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
DENSE = {"in_features": 8, "out_features": 4, "bias": False, "activation_function": "torch.nn.modules.linear.Identity"}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_module_types_are_known_in_every_spelling(tmp_path, spelling):
    modules = [("Transformer", None), MEAN, ("Dense", DENSE), ("Normalize", None)]
    recipe = read_recipe(write(tmp_path, modules, spelling=spelling), {}, pooling="mean")
    assert recipe.modes == ("mean",)
    assert recipe.heads == (DenseHead(8, 4, False, "linear", False, "2_Dense"),)
    assert recipe.normalize is True
    assert recipe.width(8) == 4
    assert recipe.facts["pooling"] == ("mean", "1_Pooling/config.json")


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        ({"pooling_mode": "lasttoken", "embedding_dimension": 8}, ("lasttoken",)),
        ({"pooling_mode": ["mean", "cls"]}, ("mean", "cls")),
        ({"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True}, ("cls", "max")),
        (
            {"pooling_mode_weightedmean_tokens": True, "pooling_mode_mean_sqrt_len_tokens": True},
            ("mean_sqrt_len_tokens", "weightedmean"),
        ),
    ],
)
def test_pooling_modes_are_read_from_old_and_new_keys(tmp_path, config, modes):
    recipe = read_recipe(write(tmp_path, [("Transformer", None), ("Pooling", config)]), {}, pooling="mean")
    assert recipe.modes == modes
    assert recipe.normalize is False
    assert recipe.include_prompt


def test_without_modules_an_encoder_takes_the_mean_and_a_decoder_the_last_token(tmp_path):
    assert read_recipe(tmp_path, {}, pooling="mean").modes == ("mean",)
    recipe = read_recipe(tmp_path, {}, pooling="lasttoken")
    assert recipe.modes == ("lasttoken",)
    assert recipe.normalize is None


def test_a_normalize_in_the_middle_stays_where_it_is(tmp_path):
    modules = [("Transformer", None), MEAN, ("Normalize", None), ("LayerNorm", {"dimension": 8})]
    recipe = read_recipe(write(tmp_path, modules), {}, pooling="mean")
    assert recipe.heads == (NormalizeHead(), LayerNormHead(8, "3_LayerNorm"))
    assert recipe.normalize is False


def test_prompts_lengths_and_similarity_come_from_their_files(tmp_path):
    files = {
        "config_sentence_transformers.json": {
            "prompts": {"query": "query: ", "document": None},
            "default_prompt_name": "query",
            "similarity_fn_name": "dot",
        },
        "sentence_roberta_config.json": {"max_seq_length": 77, "do_lower_case": True},
    }
    recipe = read_recipe(write(tmp_path, [("Transformer", None), MEAN], files), {}, pooling="mean")
    assert recipe.prompts == {"query": "query: "}
    assert (recipe.default_prompt_name, recipe.similarity) == ("query", "dot")
    assert (recipe.max_length, recipe.lowercase) == (77, True)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"is_matryoshka": True}, ()),
        ({"matryoshka_dimensions": [32, 64]}, (32, 64)),
        ({"is_matryoshka": False, "matryoshka_dimensions": []}, None),
    ],
)
def test_matryoshka_is_what_the_config_says(tmp_path, config, expected):
    assert read_recipe(tmp_path, config, pooling="mean").matryoshka == expected


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            [("Transformer", None), MEAN, ("WeightedLayerPooling", {})],
            "WeightedLayerPooling is not supported; supported are Transformer",
        ),
        ([("Router", {})], "Router is not supported; supported are Transformer"),
        ([("Asym", {})], "Asym is not supported; supported are Transformer"),
        ([("Transformer", None), ("custom_code.Pooling", {})], "custom_code.Pooling is not supported"),
        ([("Transformer", None)], "names no Pooling"),
        ([("Transformer", None), ("Dense", DENSE), MEAN], "before its Pooling"),
        ([("Transformer", None), ("Pooling", {"pooling_mode": "median"})], "'median' is not supported"),
        ([("Transformer", None), ("Pooling", {"pooling_mode": "mean", "trim": 3})], "not understood: trim"),
        (
            [("Transformer", None), MEAN, ("Dense", DENSE | {"activation_function": "torch.nn.modules.activation.PReLU"})],
            "PReLU",
        ),
        ([("Transformer", None), MEAN, ("Dense", DENSE | {"activation_function": "evil.module.GELU"})], "evil.module.GELU"),
    ],
)
def test_what_would_change_a_vector_and_is_not_implemented_is_refused_by_name(tmp_path, modules, message):
    with pytest.raises(UnsupportedModelError, match=message):
        read_recipe(write(tmp_path, modules), {}, pooling="mean")


# What sentence-transformers 6.2 saves, for models of every kind.
SAVED = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
TEXT = SAVED["modality_config"]["text"]
IMAGE = {"image": {"method": "get_image_features", "method_output_name": "pooler_output"}}


@pytest.mark.parametrize(
    "found",
    [
        SAVED,
        {**SAVED, "modality_config": SAVED["modality_config"] | IMAGE, "unpad_inputs": False, "query_length": None},
        {"max_seq_length": 77, "do_lower_case": False, "model_args": {"trust_remote_code": True, "torch_dtype": "float16"}},
        {
            "model_kwargs": {"attn_implementation": "sdpa", "add_pooling_layer": False},
            "config_args": {"trust_remote_code": True},
        },
        {"tokenizer_args": {"padding_side": "left", "use_fast": True}, "processing_kwargs": {}},
        {"processing_kwargs": {"text": {"padding": True, "truncation": True}, "image": {"size": 3}, "chat_template": {"a": 1}}},
    ],
)
def test_what_saved_checkpoints_hold_and_changes_no_vector_is_taken(tmp_path, found):
    folder = write(tmp_path, [("Transformer", None), MEAN], {"sentence_bert_config.json": found})
    assert read_recipe(folder, {}, pooling="mean").modes == ("mean",)
    assert read_transformer_file(folder).config_changes == {}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"processing_kwargs": {"text": {"add_special_tokens": False}}}, "processing_kwargs.text.add_special_tokens False of"),
        ({"processing_kwargs": {"common": {"max_length": 5}}}, "processing_kwargs.text.max_length 5 of"),
        ({"tokenizer_args": {"do_lower_case": True}}, "processor_kwargs.do_lower_case True of"),
        ({"processor_kwargs": {"truncation_side": "left"}}, "processor_kwargs.truncation_side 'left' of"),
        ({"model_args": {"rotary_scaling_factor": 2}}, "model_kwargs.rotary_scaling_factor 2 of"),
        ({"transformer_task": "fill-mask"}, "transformer_task 'fill-mask' of"),
        ({"module_output_name": "sentence_embedding"}, "module_output_name 'sentence_embedding' of"),
        ({"modality_config": {"text": {"method": "forward", "method_output_name": "pooler_output"}}}, "modality_config.text {"),
        ({"modality_config": IMAGE}, "modality_config.text None of"),
        ({"modality_config": {"message": TEXT}}, "modality_config.text None of"),
        ({"modality_config": {"text": TEXT, "message": TEXT | {"format": "odd"}}}, "modality_config.message {"),
        ({"modality_config": {"text": TEXT, "message": {"method": "get_text_features"}}}, "modality_config.message {"),
        (
            {
                "modality_config": {"text": TEXT, "message": TEXT},
                "processing_kwargs": {"chat_template": {"max_length": 8}},
            },
            "processing_kwargs.chat_template.max_length of",
        ),
        ({"query_length": 32}, "query_length 32 of"),
        ({"query_expansion": {}}, "query_expansion {} of"),
        ({"unheard_of": 0}, "unheard_of 0 of"),
    ],
)
def test_what_changes_a_vector_in_the_transformers_file_is_refused_by_name(tmp_path, found, message):
    with pytest.raises(UnsupportedModelError, match=re.escape(message)) as error:
        read_recipe(write(tmp_path, [("Transformer", None), MEAN], {"sentence_bert_config.json": found}), {}, pooling="mean")
    assert str(tmp_path / "sentence_bert_config.json") in str(error.value)


def test_the_newer_way_to_say_the_longest_text_wins(tmp_path):
    files = {"sentence_bert_config.json": {"max_seq_length": 9, "tokenizer_args": {"model_max_length": 5}}}
    assert read_recipe(write(tmp_path, [("Transformer", None), MEAN], files), {}, pooling="mean").max_length == 5


@pytest.mark.parametrize(
    ("config", "matryoshka"), [({}, (8,)), ({"is_matryoshka": True}, ()), ({"matryoshka_dimensions": [16, 4]}, (16, 4, 8))]
)
def test_a_default_width_may_be_asked_for(tmp_path, config, matryoshka):
    files = {"config_sentence_transformers.json": {"truncate_dim": 8}}
    recipe = read_recipe(write(tmp_path, [("Transformer", None), MEAN], files), config, pooling="mean")
    assert (recipe.truncate_dim, recipe.matryoshka) == (8, matryoshka)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "sentence_bert_config.json",
            {"max_seq_length": "9"},
            "max_seq_length of .* should be a whole number above 0, not '9'",
        ),
        ("sentence_bert_config.json", {"max_seq_length": -1}, "above 0, not -1"),
        ("sentence_bert_config.json", {"config_kwargs": [1]}, r"config_kwargs of .* should be an object, not \[1\]"),
        ("config_sentence_transformers.json", {"prompts": ["a"]}, "prompts of .* should be an object"),
        ("config_sentence_transformers.json", {"truncate_dim": 0}, "truncate_dim of .* above 0, not 0"),
        ("config_sentence_transformers.json", {"truncate_dim": True}, "truncate_dim of .* above 0, not True"),
        ("config_sentence_transformers.json", {"default_prompt_name": ["q"]}, r"has the default prompt \['q'\]"),
        ("1_Pooling/config.json", {"pooling_mode": 7}, "the pooling mode 7 is not supported"),
        ("2_Dense/config.json", DENSE | {"in_features": "8"}, "in_features of .* above 0, not '8'"),
        ("2_Dense/config.json", {}, "2_Dense/config.json lacks 'in_features'"),
        ("3_LayerNorm/config.json", {}, "3_LayerNorm/config.json lacks 'dimension'"),
        ("4_Normalize/config.json", {"module_input_name": "token_embeddings"}, "module_input_name 'token_embeddings' of 4_N"),
    ],
)
def test_values_of_the_wrong_kind_are_named(tmp_path, name, content, message):
    modules = [("Transformer", None), MEAN, ("Dense", DENSE), ("LayerNorm", {"dimension": 4}), ("Normalize", {})]
    folder = write(tmp_path, modules)
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        read_recipe(folder, {}, pooling="mean")


def test_damaged_files_are_named(tmp_path):
    (tmp_path / "modules.json").write_text("[{]")
    with pytest.raises(CheckpointError, match=r"modules\.json is not JSON"):
        read_recipe(tmp_path, {}, pooling="mean")
    (tmp_path / "modules.json").write_text("{}")
    with pytest.raises(CheckpointError, match="should hold a JSON list"):
        read_recipe(tmp_path, {}, pooling="mean")


def test_a_promised_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"1_Pooling has no config\.json"):
        read_recipe(write(tmp_path, [("Transformer", None), ("Pooling", None)]), {}, pooling="mean")
