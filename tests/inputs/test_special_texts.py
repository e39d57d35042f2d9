"""Texts that hold what means something to a tokenizer or to a family: special, padding, mask and added tokens, in any case."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Rust

from jaxembed import LLM, SentenceTransformer
from jaxembed.convert.checkpoint.tokenizer_files import load_bare_tokenizer, load_tokenizer
from jaxembed.inputs.prompts import Tokenization

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = "the fox οδος οδοσ <mask> <tool> x".split()
IDS = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}


def write(folder, *, added=(), truncation=None, **config):
    """A tokenizer of whole words. added: beside the special ones."""
    rust = Rust(models.WordLevel(IDS, unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.Whitespace()
    rust.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    rust.add_tokens(list(added))
    rust.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    if truncation:
        rust.enable_truncation(**truncation)
    rust.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **config}))
    return folder


def words(tokenizer, text):
    """The tokens between the two that frame a text."""
    return [tokenizer.token(id_) for id_ in tokenizer.encode([text])[0][1:-1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The [SEP] FOX", ["the", "[SEP]", "fox"]),
        ("[sep] THE", ["[UNK]", "[UNK]", "[UNK]", "the"]),
        ("ΟΔΟΣ", ["οδοσ"]),
    ],
)
def test_lower_case_leaves_special_tokens_and_makes_none(tmp_path, text, expected):
    """A capital sigma becomes the one that stands inside words, as in the tokenizer itself, wherever it stands."""
    loaded = load_tokenizer(write(tmp_path), lowercase=True)
    assert words(loaded, text) == expected
    asked = load_tokenizer(tmp_path)
    (ids,) = Tokenization.read({"do_lower_case": True}, max_length=64).encode(asked, [text])
    assert ids.tolist() == loaded.encode([text])[0].tolist()


def test_lower_case_makes_no_special_token_of_a_word(tmp_path):
    loaded = load_tokenizer(write(tmp_path, mask_token="<mask>"), lowercase=True)
    assert words(loaded, "x <mask>") == ["x", "<mask>"]
    assert "<mask>" not in words(loaded, "x <MASK>")


def test_a_tokenizer_that_lower_cases_already_does_so_once(tmp_path):
    write(tmp_path)
    rust = Rust.from_file(str(tmp_path / "tokenizer.json"))
    rust.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    rust.save(str(tmp_path / "tokenizer.json"))
    assert words(load_tokenizer(tmp_path, lowercase=True), "THE Fox") == ["the", "fox"]


@pytest.mark.parametrize(
    "config",
    [
        {"mask_token": "<mask>"},
        {"mask_token": {"__type": "AddedToken", "content": "<mask>", "lstrip": False, "special": True}},
        {"extra_special_tokens": ["<mask>"]},
        {"additional_special_tokens": ["<mask>"]},
        {"extra_special_tokens": {"image_token": "<mask>"}},
        {"image_token": "<mask>"},
        {"added_tokens_decoder": {"8": {"content": "<mask>", "special": False}}},
    ],
)
def test_a_token_that_the_config_names_is_one_token(tmp_path, config):
    assert words(load_tokenizer(write(tmp_path)), "x <mask>") == ["x", "[UNK]", "[UNK]", "[UNK]"]
    assert words(load_tokenizer(write(tmp_path, **config)), "x <mask>") == ["x", "<mask>"]


@pytest.mark.parametrize("name", ["special_tokens_map.json", "added_tokens.json"])
def test_a_token_that_an_older_file_names_is_one_token(tmp_path, name):
    write(tmp_path)
    content = {"mask_token": {"content": "<mask>"}} if name.startswith("special") else {"<mask>": 8}
    (tmp_path / name).write_text(json.dumps(content))
    assert words(load_tokenizer(tmp_path), "x <mask>") == ["x", "<mask>"]


def test_the_config_describes_a_token_anew(tmp_path):
    """As transformers takes it: where both files have a token, what the config says of blanks around it holds."""
    blank = AddedToken("<tool>", lstrip=False, normalized=False)
    assert words(load_tokenizer(write(tmp_path, added=[blank])), "x<tool>x") == ["x", "<tool>", "x"]
    alone = {"9": {"content": "<tool>", "single_word": True, "normalized": False, "special": False}}
    loaded = load_tokenizer(write(tmp_path, added=[blank], added_tokens_decoder=alone))
    assert words(loaded, "x<tool>x") != ["x", "<tool>", "x"]
    assert words(loaded, "x <tool> x") == ["x", "<tool>", "x"]


def test_special_tokens_are_split_where_the_config_asks_for_it(tmp_path):
    loaded = load_tokenizer(write(tmp_path, split_special_tokens=True))
    assert words(loaded, "x [SEP]") == ["x", "[UNK]", "[UNK]", "[UNK]"]
    assert words(loaded.lowercased, "X [SEP]") == ["x", "[UNK]", "[UNK]", "[UNK]"]


@pytest.mark.parametrize(("kind", "asked"), [("RobertaTokenizer", True), ("PreTrainedTokenizerFast", False)])
def test_a_blank_before_texts_follows_the_config_where_a_class_reads_it(checkpoint, kind, asked):
    folder = checkpoint("pipeline-qwen3-last")
    rust = Rust.from_file(str(folder / "tokenizer.json"))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind, "add_prefix_space": True}))
    loaded = load_tokenizer(folder)
    assert (loaded.token(int(loaded.encode(["x"])[0][0])) == "Ġ") == asked


def test_static_embeddings_are_cut_where_their_tokenizer_says(tmp_path):
    text = "the fox x x"
    right = load_bare_tokenizer(write(tmp_path, truncation={"max_length": 2}, truncation_side="left", model_max_length=3))
    assert right.limit == 2
    assert right.encode([text], max_length=right.limit)[0].tolist() == [IDS["the"], IDS["fox"]]
    left = load_bare_tokenizer(write(tmp_path, truncation={"max_length": 3, "direction": "left"}))
    assert left.encode([text], max_length=left.limit)[0].tolist() == [IDS["fox"], IDS["x"], IDS["x"]]
    assert load_bare_tokenizer(write(tmp_path, model_max_length=3)).limit is None


def test_static_embeddings_know_no_token_of_another_file(tmp_path):
    bare = load_bare_tokenizer(write(tmp_path, mask_token="<mask>"))
    assert bare.encode(["<mask>"])[0].tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["backbone-roberta", "backbone-xlm-roberta", "backbone-camembert", "backbone-mpnet"])
def test_padding_in_a_text_reads_the_row_of_padding(checkpoint, name):
    """Which no other token reads: changing the row changes the texts that hold padding, and them alone."""
    folder = checkpoint(name)
    before = embedded(folder)
    tensors = load_file(folder / "model.safetensors")
    (table,) = [key for key in tensors if key.endswith("position_embeddings.weight")]
    tensors[table][1, ::2] += 1  # of every second number: a norm takes away what all share
    save_file(tensors, folder / "model.safetensors")
    after = embedded(folder)
    np.testing.assert_array_equal(before[0], after[0])
    assert np.abs(before[1] - after[1]).max() > 1e-3


def embedded(folder):
    outputs = LLM(str(folder)).embed([{"prompt_token_ids": [7, 9, 8]}, {"prompt_token_ids": [7, 1, 8]}], use_tqdm=False)
    return np.array([output.outputs.embedding for output in outputs])


def test_a_text_without_a_token_is_zeros_in_sentence_transformers_words(checkpoint):
    model = SentenceTransformer(str(checkpoint("static-sentence-transformers")))
    vectors = model.encode(["w7 w8", "", "w9"])
    np.testing.assert_array_equal(vectors[1], np.zeros_like(vectors[1]))
    np.testing.assert_allclose(vectors[[0, 2]], model.encode(["w7 w8", "w9"]), atol=1e-6)
    np.testing.assert_array_equal(model.encode(""), np.zeros_like(vectors[1]))
