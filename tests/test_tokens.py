import numpy as np
import pytest
from tokenizers import Tokenizer as Rust

from jaxembed.errors import CheckpointError, InputError, InputTypeError
from jaxembed.loading import find_model
from jaxembed.tokens import Tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.load(find_model(None))


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
    with pytest.raises(InputError, match="no room for the 2 special tokens"):
        tokenizer.encode([LONG], max_length=1)


@pytest.mark.parametrize("bad", [1, None, b"bytes", ["nested"]])
def test_only_str_is_a_text(tokenizer, bad):
    with pytest.raises(InputTypeError, match="must be a str"):
        tokenizer.encode(["fine", bad])


def test_a_lone_surrogate_is_refused_in_a_sentence(tokenizer):
    with pytest.raises(InputError, match="lone surrogate"):
        tokenizer.encode(["\ud83d"])


def test_a_damaged_tokenizer_is_a_checkpoint_error(checkpoint):
    folder = checkpoint("backbone-bert")
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="tokenizer"):
        Tokenizer.load(folder)


def test_lower_case_is_applied_when_asked_for(checkpoint):
    folder = checkpoint("backbone-bert")
    plain, lower = Tokenizer.load(folder), Tokenizer.load(folder, lowercase=True)
    assert plain.encode(["W7"])[0].tolist() != lower.encode(["W7"])[0].tolist() == plain.encode(["w7"])[0].tolist()
