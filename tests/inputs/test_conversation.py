"""Texts as messages, as sentence-transformers 6.2 makes them where a checkpoint asks for it or was not saved by it."""

import json

import numpy as np
import pytest

from jaxembed import LLM, SentenceTransformer
from jaxembed.convert.checkpoint.loading import describe
from jaxembed.errors import CheckpointError
from jaxembed.inputs.conversation import Conversation

TEMPLATE = "{% for m in messages %}({{ m['role'] }}){{ m['content'] }}{{ eos_token }}{% endfor %}!"
STATES = {"method": "forward", "method_output_name": "last_hidden_state"}


@pytest.fixture
def folder(checkpoint):
    """A decoder with a template that sentence-transformers did not save."""
    made = checkpoint("backbone-qwen3-causal-lm")
    changed(made / "tokenizer_config.json", chat_template=TEMPLATE)
    return made


def changed(path, **values):
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values))


def saved(folder, **file):
    """The same with the files of sentence-transformers. file: that of its Transformer."""
    types = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [{"path": place, "type": f"sentence_transformers.models.{kind}"} for place, kind in types]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": "lasttoken"}))
    changed(folder / "sentence_bert_config.json", **file)
    return folder


def as_written(folder, text):
    """The vector of a text as it is, with no special token added."""
    model = SentenceTransformer(str(folder))
    tokens = model.engine.model.tokenizer.encode([text], add_special_tokens=False)[0]
    (output,) = LLM(str(folder)).embed([{"prompt_token_ids": tokens.tolist()}], use_tqdm=False)
    return np.array(output.outputs.embedding)


def test_a_text_is_what_a_user_says_and_a_prompt_what_the_system_says(folder):
    model = SentenceTransformer(str(folder))
    said = "(user)hello<|endoftext|>!"
    np.testing.assert_allclose(unit(model.encode("hello")), as_written(folder, said), atol=1e-5)
    prompted = model.encode("hello", prompt="find: ")
    np.testing.assert_allclose(unit(prompted), as_written(folder, f"(system)find: <|endoftext|>{said}"), atol=1e-5)


def unit(x):
    return x / np.linalg.norm(x)


def test_what_sentence_transformers_saved_is_no_message_unless_its_file_says_so(folder):
    messages = SentenceTransformer(str(folder)).encode("hello")
    plain = SentenceTransformer(str(saved(folder))).encode("hello")
    assert np.abs(messages - plain).max() > 1e-3
    assert describe(str(folder)).encoder.conversation is None
    changed(folder / "sentence_bert_config.json", modality_config={"text": STATES, "message": STATES})
    np.testing.assert_allclose(SentenceTransformer(str(folder)).encode("hello"), messages, atol=1e-6)
    assert describe(str(folder)).recipe.facts["texts"] == (
        "messages for the chat template, in SentenceTransformer",
        "sentence_bert_config.json",
    )


def test_vllms_words_take_a_text_as_it_is(folder):
    (output,) = LLM(str(folder)).embed("hello", use_tqdm=False)
    (tokens,) = describe(str(folder)).encoder.tokenizer.encode(["hello"])
    (given,) = LLM(str(folder)).embed([{"prompt_token_ids": tokens.tolist()}], use_tqdm=False)
    np.testing.assert_allclose(output.outputs.embedding, given.outputs.embedding, atol=1e-6)


def test_a_text_that_is_cut_keeps_what_the_template_puts_behind_it(folder):
    found = describe(str(folder))
    tokenizer, conversation = found.encoder.tokenizer, found.encoder.conversation
    whole, cut = (conversation.encode(tokenizer, ["x" * 30], "", cut=cut, side="right")[0] for cut in (None, 12))
    assert cut.tolist() == [*whole[:10], *whole[-2:]]
    bare = Conversation.read(tokenizer, "auto", {"restore_suffix": False})
    assert bare.encode(tokenizer, ["x" * 30], "", cut=12, side="right")[0].tolist() == whole[:12].tolist()


def test_messages_without_a_template_are_an_error_that_names_the_file(checkpoint):
    made = saved(checkpoint("backbone-qwen3-causal-lm"), modality_config={"text": STATES, "message": STATES})
    with pytest.raises(CheckpointError, match=r"sentence_bert_config\.json says that texts are messages"):
        describe(str(made))


def test_a_template_that_is_no_jinja_stops_nobody_who_does_not_need_it(folder):
    changed(folder / "tokenizer_config.json", chat_template="{% broken")
    assert LLM(str(folder)).embed("hello", use_tqdm=False)
