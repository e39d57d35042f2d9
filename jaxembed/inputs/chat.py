"""Conversations to texts with a checkpoint's chat template. Knows nothing about models or HTTP.

A template comes from strangers, so it runs in a sandbox (`sandbox.py`) in a process of its own (`renderer.py`), with limits on
time, memory and what it writes, and fails with `InputError`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jaxembed.errors import InputError
from jaxembed.inputs.renderer import RENDERER

ContentFormat = Literal["auto", "string", "openai"]

# Names of the rendering that a caller's own arguments must not take.
_RESERVED = {"messages", "add_generation_prompt", "continue_final_message", "chat_template", "tokenize"}


class ChatTemplate:
    """A template.

    Args:
        source: Jinja.
        special_tokens: `bos_token` and the like, by name.
        content_format: whether messages carry their content as one string or as a list of parts; "auto" looks whether the
            template walks over the parts.

    Raises:
        InputError: the source is not Jinja, or takes too much to be compiled.
    """

    def __init__(
        self, source: str, *, special_tokens: Mapping[str, str] | None = None, content_format: ContentFormat = "auto"
    ) -> None:
        self._source, self._special_tokens = source, dict(special_tokens or {})
        walks = RENDERER.compile(source)
        if content_format != "auto":
            walks = content_format == "openai"
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
            InputError: the messages cannot be read, or the template fails or takes too much.
            EngineError: no process can be started to render in.
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
        text = RENDERER.render(self._source, names)
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
