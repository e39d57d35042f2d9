"""Chat templates: rendered as the hub's templates expect, and harmless whoever wrote them."""

import pytest
from refusals import refused

from jaxembed.inputs.chat import ChatTemplate, texts_of

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PARTS = (
    "{% for message in messages %}[{{ message.role }}]{% for part in message['content'] %}"
    "{% if part.type == 'text' %}<{{ part.text }}>{% endif %}{% endfor %}{% endfor %}"
)
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


def test_a_conversation_becomes_the_text_its_template_says():
    rendered = ChatTemplate(CHATML).render(MESSAGES)
    assert rendered == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"


def test_the_generation_prompt_and_the_open_end_are_exclusive_choices():
    template = ChatTemplate(CHATML)
    assert template.render(MESSAGES, add_generation_prompt=True).endswith("<|im_start|>assistant\n")
    assert template.render(MESSAGES, continue_final_message=True).endswith("user\nHi")
    with refused("continue_final_message", "Cannot set both `continue_final_message` and `add_generation_prompt` to True"):
        template.render(MESSAGES, add_generation_prompt=True, continue_final_message=True)


def test_content_comes_as_a_string_or_as_parts_whatever_the_template_wants():
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
    plain = [{"role": "user", "content": "a"}]
    assert ChatTemplate(CHATML).content_format == "string"
    assert "user\na\nb<|im_end|>" in ChatTemplate(CHATML).render(parts)
    assert ChatTemplate(PARTS).content_format == "openai"
    assert ChatTemplate(PARTS).render(parts) == "[user]<a><b>"
    assert ChatTemplate(PARTS).render(plain) == "[user]<a>"
    assert ChatTemplate(PARTS, content_format="string").content_format == "string"


def test_names_of_tokens_and_further_arguments_reach_the_template():
    template = ChatTemplate("{{ bos_token }}{{ tone }}{{ {'a': '<é>'} | tojson }}", special_tokens={"bos_token": "<s>"})
    assert template.render(MESSAGES, arguments={"tone": "kind"}) == '<s>kind{"a": "<é>"}'
    with refused("chat_template_kwargs", "'messages'"):
        template.render(MESSAGES, arguments={"messages": []})


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append({'role': 'x'}) }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ 1 / 0 }}",
        "{{ messages[0].content + 1 }}",
        "{{ raise_exception('no system messages') }}",
    ],
)
def test_a_template_that_misbehaves_is_an_error_of_the_input(source):
    with refused("messages", "chat template"):
        ChatTemplate(source).render(MESSAGES)


def test_broken_jinja_is_named():
    with refused("chat_template", "Jinja"):
        ChatTemplate("{% for %}")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([{"type": "image_url", "image_url": {"url": "data:..."}}], "'image_url'"),
        ([{"type": "text"}], "{'type': 'text', 'text': ...}"),
        ([3], "{'type': 'text', 'text': ...}"),
        (3, "int"),
    ],
)
def test_what_is_not_text_is_refused(content, named):
    with refused("messages", named):
        texts_of(content)


def test_a_message_needs_a_role():
    with refused("messages", "'role'"):
        ChatTemplate(CHATML).render([{"content": "x"}])
    with refused("messages"):
        ChatTemplate(CHATML).render([])
