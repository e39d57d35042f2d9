import json

import pytest

from jaxembed.errors import CheckpointError, UnsupportedModelError
from jaxembed.heads import DenseHead, LayerNormHead, NormalizeHead
from jaxembed.recipe import read_recipe

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
    assert recipe.normalise is True
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
    assert recipe.normalise is False
    assert recipe.include_prompt


def test_without_modules_an_encoder_takes_the_mean_and_a_decoder_the_last_token(tmp_path):
    assert read_recipe(tmp_path, {}, pooling="mean").modes == ("mean",)
    recipe = read_recipe(tmp_path, {}, pooling="lasttoken")
    assert recipe.modes == ("lasttoken",)
    assert recipe.normalise is None


def test_a_normalize_in_the_middle_stays_where_it_is(tmp_path):
    modules = [("Transformer", None), MEAN, ("Normalize", None), ("LayerNorm", {"dimension": 8})]
    recipe = read_recipe(write(tmp_path, modules), {}, pooling="mean")
    assert recipe.heads == (NormalizeHead(), LayerNormHead(8, "3_LayerNorm"))
    assert recipe.normalise is False


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
