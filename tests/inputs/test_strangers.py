"""Tokenizers from strangers: their panics, their regular expressions and their replacements."""

import json
from contextlib import suppress

import pytest
import tokenizers
from refusals import refused
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from jaxembed.convert.checkpoint.hub import find_model
from jaxembed.convert.checkpoint.tokenizer_files import load_tokenizer
from jaxembed.errors import CheckpointError, InputError
from jaxembed.inputs.tokenizer import Tokenizer

BACK_AND_FORTH = pre_tokenizers.Split(Regex(r"(a+)+$"), "isolated")


def made(**parts) -> Tokenizer:
    rust = tokenizers.Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    for name, part in parts.items():
        setattr(rust, name, part)
    return Tokenizer(rust)


def test_a_panic_while_it_runs_is_an_error_of_the_input():
    tokenizer = made(pre_tokenizer=BACK_AND_FORTH)
    with refused("prompts", "tokenizer"):
        tokenizer.encode(["a" * 40 + "b"])
    assert tokenizer.encode(["a"])[0].tolist() == [0]


def test_a_bare_exception_of_the_library_is_an_error_of_the_input():
    rust = tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="[UNK]"))
    with refused("prompts", "tokenizer"):
        Tokenizer(rust).encode(["b"])


def test_an_id_that_no_array_holds_is_an_error_of_the_input():
    rust = tokenizers.Tokenizer(models.WordLevel({"a": 4_000_000_000, "[UNK]": 1}, unk_token="[UNK]"))
    with refused("prompts", "tokenizer"):
        Tokenizer(rust).encode(["a"])


def test_a_panic_while_it_is_loaded_is_a_damaged_checkpoint(checkpoint, monkeypatch):
    """By a file that panics in today's library, and by one that would in any."""
    folder = checkpoint("pipeline-pooling-mean")
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text())
    for charsmap in ("AAAA", "/////w==", "", "AQAAAA=="):
        path.write_text(json.dumps(spec | {"normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap}}))
        with suppress(CheckpointError, InputError):  # some are taken for tables of nothing
            load_tokenizer(folder).encode(["a"])

    class PanicException(BaseException):
        pass

    def panic(*arguments):
        raise PanicException("index out of bounds\x1b]0;evil\x07")

    path.write_text(json.dumps(spec))
    monkeypatch.setattr("jaxembed.convert.checkpoint.tokenizer_files._apply", panic)
    with pytest.raises(CheckpointError, match=r"is damaged: index out of bounds\\x1b"):
        load_tokenizer(folder)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_process_is_no_damage(checkpoint, monkeypatch, error):
    def end(*arguments):
        raise error

    monkeypatch.setattr("jaxembed.convert.checkpoint.tokenizer_files._apply", end)
    with pytest.raises(error):
        load_tokenizer(checkpoint("pipeline-pooling-mean"))


def test_known_expressions_are_tame_and_unknown_ones_are_not():
    assert load_tokenizer(find_model(None)).tame
    gpt4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    byte_level = pre_tokenizers.ByteLevel(use_regex=False)
    qwen = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(gpt4), "isolated"), byte_level])
    assert made(pre_tokenizer=qwen).tame
    assert made(normalizer=normalizers.Replace(Regex(" {2,}"), "▁")).tame
    assert not made(pre_tokenizer=BACK_AND_FORTH).tame
    assert not made(pre_tokenizer=pre_tokenizers.Sequence([byte_level, BACK_AND_FORTH])).tame
    assert not made(normalizer=normalizers.Sequence([normalizers.Replace(Regex("a*a*b"), "c")])).tame
    assert not made(decoder=decoders.Replace(Regex("(a|a)*"), "c")).tame


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": normalizers.Replace("a", "b" * 100)},
        {"normalizer": normalizers.Replace(Regex("a"), "b" * 100)},
        {"normalizer": normalizers.Sequence([normalizers.Replace("a", "aaa")] * 18)},
        {"decoder": decoders.Sequence([decoders.Replace("a", "a" * 10)] * 3)},
    ],
)
def test_replacements_that_make_a_text_many_times_longer_are_refused(parts):
    with pytest.raises(CheckpointError, match="times longer"):
        made(**parts)
    made(normalizer=normalizers.Sequence([normalizers.Replace("``", '"'), normalizers.Replace("a", "aa")]))
