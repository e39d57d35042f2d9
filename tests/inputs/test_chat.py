"""Chat templates: rendered as the hub's templates expect, and harmless whoever wrote them."""

import resource
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from refusals import refused

from jaxembed.errors import InputError
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


def rendered(source: str) -> None:
    ChatTemplate(source).render(MESSAGES)


BOMBS = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "nested loops over text": "{% for i in 'a' * 9999 %}{% for j in 'a' * 9999 %}{% endfor %}{% endfor %}",
    "a loop that knows its place": "{% for i in range(999) %}{% for j in range(9999) %}{{ loop.last }}{% endfor %}{% endfor %}",
    "a recursive loop": "{% for i in range(9999) recursive %}{{ loop(range(9999)) }}{% endfor %}",
    "macros that call macros": "".join(
        f"{{% macro m{n + 1}() %}}{{{{ m{n}() }}}}{{{{ m{n}() }}}}{{% endmacro %}}" for n in range(40)
    ).replace("m0()", "''")
    + "{{ m40() }}",
    "a folded constant": "{{ 'a' * 10**10 }}",
    "times through a name": "{% set n = 10**10 %}{{ 'a' * n }}",
    "a list": "{{ [0] * 10**9 }}",
    "a power": "{{ 9 ** (9 ** 9) }}",
    "doubling": "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(64) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "doubling lists": "{% set n = namespace(x=[0]) %}{% for i in range(64) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
    "percent": "{{ '%09999999999d' % 1 }}",
    "percent with a star": "{{ '%*d' % (999999999, 1) }}",
    "the filter format": "{{ '%0999999999d' | format(1) }}",
    "a method": "{{ '{:>9999999999}'.format(1) }}",
    "another method": "{{ 'a'.center(9999999999) }}",
    "zeros in front": "{{ 'a'.zfill(9999999999) }}",
    "a filter": "{{ 'a' | center(9999999999) }}",
    "indent": "{{ 'a\n' * 999999 | indent(999999999) }}",
    "tojson": "{{ messages | tojson(indent=10**9) }}",
    "batch": "{{ [1] | batch(10**9, 0) | list }}",
    "slices": "{{ [1] | slice(10**9, 0) | list }}",
    "replace": "{{ ('a' * 999999) | replace('a', 'b' * 999999) }}",
    "join": "{{ range(99999) | join('b' * 999999) }}",
    "much output": "{% for i in range(9999) %}{{ 'a' * 9999 }}{% endfor %}",
    "time's format": "{{ strftime_now('%c' * 999999) * 999 }}",
    "lorem ipsum": "{{ lipsum(n=10**7) }}",
    "deep parentheses": "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
    "deep blocks": "{% if 1 %}" * 5000 + "{% endif %}" * 5000,
}


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS)
def test_a_template_that_would_never_end_or_take_all_memory_is_one_error(source):
    """In a process of its own, so that nothing of it stays behind: memory is that of this one."""
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as error:
        rendered(source)
    assert error.value.field in ("messages", "chat_template")
    assert "chat template" in str(error.value)
    assert len(str(error.value)) < 400
    assert time.monotonic() - begin < 20  # two seconds of processor time on a busy machine
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # KiB
    assert "Hi<|im_end|>" in ChatTemplate(CHATML).render(MESSAGES), "the next one is served"


def test_a_lone_surrogate_is_an_error():
    for text in ("\ud800", "a\udfff"):
        with refused("messages", "surrogate"):
            ChatTemplate(CHATML).render([{"role": "user", "content": text}])
    with refused("messages", "surrogate"):
        rendered("{{ '\\ud800' }}")


@pytest.mark.parametrize("value", [object(), {1, 2}, b"a"])
def test_what_is_no_json_is_refused(value):
    with refused("messages", "JSON"):
        ChatTemplate("{{ tone }}").render(MESSAGES, arguments={"tone": value})


def test_what_a_template_says_is_shown_as_text_and_cut():
    with refused("messages", match=r"^[ -~]{100,400}$"):
        rendered("{{ raise_exception('\x1b]0;evil\x07' + 'a' * 10000) }}")


def test_a_long_conversation_is_no_bomb():
    messages = [{"role": "user", "content": "some words " * 20}] * 20_000
    assert len(ChatTemplate(CHATML).render(messages)) > 4_400_000
    words = "{% for word in message.content.split() %}{{ word ~ loop.index }}{% endfor %}"
    loops = "{% for message in messages if message.role == 'user' %}" + words + "{% endfor %}"
    assert ChatTemplate(loops).render(messages[:100]).startswith("some1words2")


def test_threads_render_at_once_and_each_gets_its_own():
    def one(number: int) -> bool:
        bomb = number % 8 == 0
        content = f"text {number} " * 50
        try:
            return bomb != (
                content in ChatTemplate(BOMBS["a list"] if bomb else CHATML).render([MESSAGES[0] | {"content": content}])
            )
        except InputError:
            return bomb

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(64)))
