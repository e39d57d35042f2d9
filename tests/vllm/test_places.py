"""The library too names the text that is wrong, by the argument that was called with it and its place there."""

import numpy as np
import pytest

from jaxembed.errors import InputError, InputTypeError

LONG = "word " * 400
BAD = [
    (None, InputTypeError, "a prompt must be"),
    ("half \ud83d", InputError, "lone surrogate"),
    (LONG, InputError, "maximum context length"),
    ([101, 99999], InputError, "Token id 99999"),
    ([], InputError, "cannot be empty"),
    ({"prompt": None}, InputTypeError, "a prompt must be"),
]


@pytest.mark.parametrize(("bad", "error", "message"), BAD)
def test_a_prompt_among_others_is_named(llm, bad, error, message):
    calls = (
        ("prompts[2]", lambda: llm.embed(["a", "b", bad], use_tqdm=False)),
        ("prompts[0]", lambda: llm.encode([bad, "b"], pooling_task="token_embed", use_tqdm=False)),
        ("data_1[1]", lambda: llm.score(["a", bad], ["c", "d"], use_tqdm=False)),
        ("data_2[1]", lambda: llm.score("a", ["c", bad], use_tqdm=False)),
    )
    for place, call in calls:
        with pytest.raises(error) as raised:
            call()
        assert str(raised.value).startswith(f"{place}: ")
        assert message in str(raised.value)


def test_a_lone_prompt_has_no_number_and_the_side_of_a_score_is_named(llm):
    for call, field in (
        (lambda: llm.embed([LONG], use_tqdm=False), "prompts"),
        (lambda: llm.score("a", LONG, use_tqdm=False), "data_2"),
        (lambda: llm.score(LONG, ["a", "b"], use_tqdm=False), "data_1"),
    ):
        with pytest.raises(InputError) as raised:
            call()
        assert str(raised.value).startswith("This model's maximum context length is 256 tokens.")
        assert "truncate_prompt_tokens" in str(raised.value)
        assert (raised.value.field, raised.value.index) == (field, None)


@pytest.mark.parametrize("place", [0, 1023, 1024, 2999])
def test_the_number_counts_all_texts_and_not_those_that_are_tokenized_together(llm, place):
    for bad in ("half \ud83d", LONG):
        prompts = ["a"] * 3000
        prompts[place] = bad
        with pytest.raises(InputError) as raised:
            llm.embed(prompts, use_tqdm=False)
        assert (raised.value.field, raised.value.index) == ("prompts", place)


def test_the_first_of_several_that_are_wrong_is_named(llm):
    encoder = llm.engine.model.encoder
    ids = [np.array(one, np.int32) for one in ([101], [101, 102], [5, 99999], [-1], [70000])]
    with pytest.raises(InputError, match=r"prompts\[2\]: Token id 99999"):
        encoder.check(ids)
