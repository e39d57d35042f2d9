import json
import os

import numpy as np
import pytest
from reference import tiny
from refusals import refused
from tokenizers import Tokenizer as Rust
from tokenizers import models

from jaxembed.convert.checkpoint.hub import find_model
from jaxembed.convert.checkpoint.tokenizer_files import load_tokenizer
from jaxembed.errors import CheckpointError, InputTypeError
from jaxembed.inputs.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(find_model(None))


LONG = "the quick brown fox " * 200


def test_the_truncation_that_a_file_bakes_in_is_ignored(tokenizer):
    """MiniLM's tokenizer.json says 128 and pads to it."""
    short, long = tokenizer.encode(["hello", LONG])
    assert short.tolist() == [101, 7592, 102]
    assert len(long) == 802
    assert short.dtype == np.int32


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("length", [2, 3, 10, 801, 802, 1000])
def test_truncation_equals_that_of_the_library_itself(tokenizer, side, length):
    rust = Rust.from_file(str(find_model(None) / "tokenizer.json"))
    rust.no_padding()
    rust.enable_truncation(length, direction=side)
    (got,) = tokenizer.encode([LONG], max_length=length, side=side)
    assert got.tolist() == rust.encode(LONG).ids


def test_special_tokens_can_be_left_out(tokenizer):
    full, bare = tokenizer.encode(["hello"]), tokenizer.encode(["hello"], add_special_tokens=False)
    assert full[0][1:-1].tolist() == bare[0].tolist()
    assert tokenizer.special_count == 2
    (cut,) = tokenizer.encode([LONG], add_special_tokens=False, max_length=5)
    assert len(cut) == 5


def test_a_prompts_length_leaves_out_the_end_token(tokenizer):
    assert tokenizer.prompt_length("query: ") == 1 + len(tokenizer.encode(["query: "], add_special_tokens=False)[0])


def test_decoding_gives_the_text_back(tokenizer):
    (ids,) = tokenizer.encode(["hello world"])
    assert tokenizer.decode(ids, skip_special_tokens=True) == "hello world"


def test_no_room_for_special_tokens_is_an_error(tokenizer):
    with refused("max_length", "2 special tokens"):
        tokenizer.encode([LONG], max_length=1)


@pytest.mark.parametrize("bad", [1, None, b"bytes", ["nested"]])
def test_only_str_is_a_text(tokenizer, bad):
    with refused("prompts", type(bad).__name__, error=InputTypeError):
        tokenizer.encode(["fine", bad])


def test_a_lone_surrogate_is_refused_in_a_sentence(tokenizer):
    with refused("prompts", "surrogate", "errors='replace'"):
        tokenizer.encode(["\ud83d"])


def test_a_damaged_tokenizer_is_a_checkpoint_error(checkpoint):
    folder = checkpoint("backbone-bert")
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="tokenizer"):
        load_tokenizer(folder)


def test_lower_case_is_applied_when_asked_for(checkpoint):
    folder = checkpoint("backbone-bert")
    plain, lower = load_tokenizer(folder), load_tokenizer(folder, lowercase=True)
    assert plain.encode(["W7"])[0].tolist() != lower.encode(["W7"])[0].tolist() == plain.encode(["w7"])[0].tolist()


def configured(folder, **options):
    """A tokenizer whose tokenizer_config.json says `options` besides."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | options))
    return load_tokenizer(folder)


def without_template(folder):
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"post_processor": None}))
    return folder


def test_an_end_token_of_the_file_stays_whatever_the_config_says(checkpoint):
    """As Qwen3-Embedding has it: add_bos_token false, and a template that ends texts."""
    folder = checkpoint("pipeline-qwen3-last")
    plain = load_tokenizer(folder).encode(["w8"])[0].tolist()
    assert plain[-1] == tiny.VOCABULARY - 24  # the end token comes behind 96 letters
    said = configured(folder, add_bos_token=False, add_eos_token=False)
    assert said.encode(["w8"])[0].tolist() == plain
    assert configured(folder, add_eos_token=True).encode(["w8"])[0].tolist() == plain


def test_an_end_token_that_only_the_config_asks_for_is_added(checkpoint):
    """As gte-Qwen2 has it, whose own code would add it."""
    folder = checkpoint("pipeline-qwen3-last")
    plain = load_tokenizer(folder).encode(["w8 w9"])[0].tolist()
    without_template(folder)
    assert load_tokenizer(folder).encode(["w8 w9"])[0].tolist() == plain[:-1]
    ended = configured(folder, add_eos_token=True)
    assert ended.encode(["w8 w9"])[0].tolist() == plain
    assert ended.encode(["w8 w9"], add_special_tokens=False)[0].tolist() == plain[:-1]
    assert ended.encode(["w8 w9"], max_length=3)[0].tolist() == [*plain[:2], plain[-1]]
    both = configured(folder, add_bos_token=True, bos_token={"content": "<|endoftext|>"})
    assert both.encode(["w8"])[0].tolist()[:1] == plain[-1:]
    assert both.special_count == 2


def test_letter_case_and_accents_follow_the_config_of_a_bert(checkpoint):
    folder = find_model(None)
    rust = Rust.from_file(str(folder / "tokenizer.json"))
    assert Tokenizer(rust).encode(["HÉLLO"])[0].tolist() == [101, 7592, 102]
    cased = checkpoint("backbone-bert")
    (cased / "tokenizer.json").write_text((folder / "tokenizer.json").read_text())
    assert configured(cased, do_lower_case=True).encode(["HÉLLO"])[0].tolist() == [101, 7592, 102]
    assert configured(cased, do_lower_case=False).encode(["HELLO"])[0].tolist() == [101, 100, 102]
    assert configured(cased, do_lower_case=True, strip_accents=False).encode(["HÉLLO"])[0].tolist() != [101, 7592, 102]


def test_tokens_that_only_the_config_adds_are_known(checkpoint):
    folder = checkpoint("pipeline-qwen3-last")
    added = {"97": {"content": "<tool>", "special": True, "lstrip": False, "rstrip": False, "normalized": False}}
    tokenizer = configured(folder, added_tokens_decoder=added)
    assert len(tokenizer.encode(["<tool>"], add_special_tokens=False)[0]) == 1


def test_a_vocabulary_without_tokenizer_json_is_converted(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}))
    assert load_tokenizer(tmp_path).encode(["Hello WORLD"])[0].tolist() == [2, 5, 6, 3]


def test_a_folder_without_a_tokenizer_is_a_checkpoint_error(checkpoint):
    folder = checkpoint("backbone-bert")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_tokenizer(folder)


def test_chat_templates_are_found_in_either_place(checkpoint):
    folder = checkpoint("pipeline-qwen3-last")
    assert load_tokenizer(folder).chat_template is None
    assert configured(folder, chat_template="plain").chat_template == "plain"
    named = [{"name": "tool", "template": "x"}, {"name": "default", "template": "y"}]
    assert configured(folder, chat_template=named).chat_template == "y"
    (folder / "chat_template.jinja").write_text("of its own")
    assert load_tokenizer(folder).chat_template == "of its own"


@pytest.mark.parametrize(
    "changes",
    [
        {"added_tokens_decoder": [1]},
        {"added_tokens_decoder": {"119": {"content": "z", "special": None}}},
        {"add_bos_token": True, "bos_token": [1]},
        {"chat_template": [1]},
    ],
)
def test_a_value_of_the_wrong_kind_in_the_tokenizers_config_is_one_sentence(checkpoint, changes):
    folder = checkpoint("backbone-bert")
    (folder / "tokenizer_config.json").write_text(json.dumps(changes))
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json holds a value of the wrong kind: "):
        load_tokenizer(folder)


LOOKED_FOR = r"none of tokenizer\.json, vocab\.txt, vocab\.json with merges\.txt, \*\.model, .* is there; .* tokenizer="


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("bert", {}),
        ("t5", {}),
        ("qwen2", {"added_tokens.json": "{}"}),
        ("roberta", {"vocab.json": '{"a": 0}'}),
        ("qwen3", {"merges.txt": "#version: 0.2"}),
        ("xlm-roberta", {"special_tokens_map.json": '{"unk_token": "<unk>"}'}),
    ],
)
def test_a_folder_without_a_vocabulary_names_what_was_looked_for(kind, files, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=LOOKED_FOR):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("bert", {"vocab.txt": ""}),
        ("bert", {"spiece.model": "another family's"}),
        ("roberta", {"vocab.txt": "hello\nworld"}),
        ("t5", {"vocab.txt": "hello\nworld"}),
        ("xlm-roberta", {"vocab.json": '{"hello": 0}', "merges.txt": "#version: 0.2"}),
        ("llama", {"vocab.txt": "hello"}),
    ],
)
def test_a_vocabulary_that_transformers_made_up_is_refused(kind, files, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=r"is \d+ special tokens and no word|cannot be loaded without executing its code"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_json_of_special_tokens_alone_is_refused(tmp_path):
    rust = Rust(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    rust.add_special_tokens(["[PAD]", "[UNK]", "[CLS]"])
    rust.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="is 3 special tokens and no word"):
        load_tokenizer(tmp_path)


def test_something_else_in_place_of_a_vocabulary_is_named(checkpoint):
    folder = checkpoint("backbone-bert")
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "vocab.txt")
    with pytest.raises(CheckpointError, match=r"vocab\.txt is no file"):
        load_tokenizer(folder)
