"""Conversations to texts with a checkpoint's chat template: Jinja in a sandbox. Knows nothing about models or HTTP.

The environment is the one that templates of the hub are written for (transformers, `utils/chat_template_utils.py`): blocks
trimmed, `raise_exception`, `strftime_now`, a `tojson` that does not escape for HTML, `break` and `continue`. A template comes
from strangers, so it runs sandboxed, sees immutable values, and fails with `InputError`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from jaxembed.errors import InputError

ContentFormat = Literal["auto", "string", "openai"]

# Names of the rendering that a caller's own arguments must not take.
_RESERVED = {"messages", "add_generation_prompt", "continue_final_message", "chat_template", "tokenize"}


class ChatTemplate:
    """A compiled template.

    Args:
        source: Jinja.
        special_tokens: `bos_token` and the like, by name.
        content_format: whether messages carry their content as one string or as a list of parts; "auto" looks whether the
            template walks over the parts.

    Raises:
        InputError: the source is not Jinja.
    """

    def __init__(
        self, source: str, *, special_tokens: Mapping[str, str] | None = None, content_format: ContentFormat = "auto"
    ) -> None:
        self._template = _compiled(source)
        self._special_tokens = dict(special_tokens or {})
        walks = _walks_over_content(source) if content_format == "auto" else content_format == "openai"
        self.content_format: ContentFormat = "openai" if walks else "string"

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> str:
        """Returns the text of a conversation.

        Args:
            messages: each with "role" and "content", a string or a list of parts {"type": "text", "text": ...}.
            add_generation_prompt: ask the template for the beginning of an answer.
            continue_final_message: leave the last message open, without what the template puts behind it.
            arguments: further names for the template, the `chat_template_kwargs` of a request.

        Raises:
            InputError: the messages cannot be read, or the template fails.
        """
        if add_generation_prompt and continue_final_message:
            raise InputError(
                "Cannot set both `continue_final_message` and `add_generation_prompt` to True.", field="continue_final_message"
            )
        taken = sorted(_RESERVED & set(arguments or {}))
        if taken:
            raise InputError(
                f"chat_template_kwargs must not hold {taken[0]!r}; it is a field of the request.", field="chat_template_kwargs"
            )
        read = [self._message(message) for message in messages]
        if not read:
            raise InputError("a conversation needs at least one message.", field="messages")
        names = {**self._special_tokens, **(arguments or {}), "messages": read, "add_generation_prompt": add_generation_prompt}
        from jinja2 import TemplateError

        try:
            text: str = self._template.render(**names)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
            # What a stranger's template may stumble over, given a stranger's messages.
            raise InputError(f"the chat template cannot be filled with these messages: {error}", field="messages") from None
        return _opened(text, read[-1]["content"]) if continue_final_message else text

    def _message(self, message: Any) -> dict[str, Any]:
        if not isinstance(message, Mapping):
            raise InputError(
                f"a message must be an object with a 'role' and a 'content', not {type(message).__name__}.", field="messages"
            )
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str):
            raise InputError("each message needs a 'role', a string.", field="messages")
        texts = texts_of(content)
        if self.content_format == "openai":
            return {**message, "content": [{"type": "text", "text": text} for text in texts]}
        return {**message, "content": "\n".join(texts)}


def texts_of(content: Any) -> list[str]:
    """Returns the texts of a message's content, a string or a list of parts. Raises `InputError` for images and the like."""
    if content is None:
        return [""]
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        raise InputError(
            f"a message's content must be a string or a list of parts, not {type(content).__name__}.", field="messages"
        )
    texts = []
    for part in content:
        type_ = part.get("type") if isinstance(part, Mapping) else None
        text = part if isinstance(part, str) else part.get("text") if type_ in ("text", "input_text") else None
        if not isinstance(text, str):
            if isinstance(type_, str) and type_ not in ("text", "input_text"):
                raise InputError(
                    f"a part of type {type_!r} cannot be embedded: the model that is served takes text only.", field="messages"
                )
            raise InputError(
                "each part of a message's content must be a string or {'type': 'text', 'text': ...}.", field="messages"
            )
        texts.append(text)
    return texts


@lru_cache(maxsize=32)
def _compiled(source: str) -> Any:
    from jinja2 import TemplateError

    try:
        return _environment().from_string(source)
    except (TemplateError, RecursionError) as error:
        raise InputError(f"the chat template is not valid Jinja: {error}", field="chat_template") from None


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise InputError(f"the chat template refuses these messages: {message}", field="messages")

    def tojson(value: Any, **options: Any) -> str:
        allowed = {key: options[key] for key in ("indent", "sort_keys", "separators") if key in options}
        return json.dumps(value, ensure_ascii=False, **allowed)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda format_: datetime.now().strftime(format_)
    return environment


def _walks_over_content(source: str) -> bool:
    """Whether the template has a loop over a message's content, and so wants it as a list of parts."""
    from jinja2 import nodes

    tree = _environment().parse(source)
    for loop in tree.find_all(nodes.For):
        over = loop.iter
        if isinstance(over, nodes.Getattr) and over.attr == "content":
            return True
        if isinstance(over, nodes.Getitem) and isinstance(over.arg, nodes.Const) and over.arg.value == "content":
            return True
        if isinstance(over, nodes.Name) and over.name == "content":
            return True
    return False


def _opened(text: str, content: str | list[dict[str, str]]) -> str:
    """Cuts what the template put behind the last message."""
    last = (content if isinstance(content, str) else content[-1]["text"]).strip()
    end = text.rfind(last)
    if end < 0:
        raise InputError(
            "continue_final_message is set, but the chat template does not show the last message as it is.",
            field="continue_final_message",
        )
    return text[: end + len(last)]


def plain(prompt: Any) -> Any:
    """Returns the text of what scores take beside prompts, {"content": [parts]} and {"text": ...}; all else as it is."""
    if isinstance(prompt, Mapping) and "content" in prompt:
        return "\n".join(texts_of(prompt["content"]))
    return prompt["text"] if isinstance(prompt, Mapping) and "text" in prompt else prompt
