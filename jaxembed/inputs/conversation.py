"""A text as a message: how sentence-transformers 6.2 puts texts through a checkpoint's chat template.

Its Transformer reads each text as what a user says, and a prompt as what the system says, where the file of the module lists
messages among its modalities, and for any model with a template that it did not save itself (`base/modules/transformer.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from jaxembed.inputs.chat import ChatTemplate, ContentFormat
from jaxembed.inputs.tokenizer import Side, Tokenizer

MessageFormat = Literal["auto", "flat", "structured"]

# Where nothing says in which form a template takes messages, these in it are for a list of parts.
_PARTS = ("content[0]", ".type", "'type'", '"type"', "message.content[")
# Two texts that differ from the first token on, and in how many they have.
_FILLERS = ("0", "1 2 3 4")


@dataclass(frozen=True)
class Conversation:
    """How a text is put through a template.

    Attributes:
        source: of the checkpoint's template.
        special_tokens: by name, for the template.
        content_format: of messages.
        arguments: further names for it.
        restored: whether what it puts behind a text is written over the end of one that was cut.
    """

    source: str
    special_tokens: Mapping[str, str]
    content_format: ContentFormat
    arguments: Mapping[str, Any] = field(default_factory=dict)
    restored: bool = True

    @classmethod
    def read(cls, tokenizer: Tokenizer, format_: MessageFormat, arguments: Mapping[str, Any]) -> "Conversation | None":
        """Returns how the template of a tokenizer is filled, None if it has none.

        format_: of messages. arguments: `processing_kwargs.chat_template` of the module's file.
        """
        source = tokenizer.chat_template
        if source is None:
            return None
        parts = format_ == "structured" or (format_ == "auto" and any(sign in source for sign in _PARTS))
        content: ContentFormat = "openai" if parts else "string"
        rest = {key: value for key, value in arguments.items() if key != "restore_suffix"}
        return cls(source, tokenizer.named_tokens, content, rest, bool(arguments.get("restore_suffix", True)))

    @cached_property
    def template(self) -> ChatTemplate:
        """The template, compiled when the first text needs it. Raises `InputError` for what is no Jinja."""
        return ChatTemplate(self.source, special_tokens=self.special_tokens, content_format=self.content_format)

    def encode(
        self, tokenizer: Tokenizer, texts: Sequence[str], prompt: str, *, cut: int | None, side: Side
    ) -> list[np.ndarray]:
        """Returns the ids of each text as a message, int32.

        Args:
            tokenizer: the model's; it adds no special tokens, for they are the template's.
            texts: any number.
            prompt: what the system says; "" for nothing.
            cut: longer ones are cut to so many tokens, None cuts nothing.
            side: where they are cut.

        Raises:
            InputError: the template refuses these messages.
        """
        rendered = [self._render(text, prompt) for text in texts]
        encoded = tokenizer.encode(rendered, add_special_tokens=False, max_length=cut, side=side)
        if cut is None or not self.restored or all(len(ids) < cut for ids in encoded):
            return encoded
        behind = self._behind(tokenizer, prompt)
        return [ids if len(ids) < cut or not len(behind) else _ending(ids, behind) for ids in encoded]

    def _render(self, text: str, prompt: str) -> str:
        messages = [{"role": "system", "content": prompt}] if prompt else []
        arguments = dict(self.arguments)
        generation = bool(arguments.pop("add_generation_prompt", False))
        return self.template.render(
            [*messages, {"role": "user", "content": text}], add_generation_prompt=generation, arguments=arguments
        )

    def _behind(self, tokenizer: Tokenizer, prompt: str) -> np.ndarray:
        """The tokens that the template puts behind any text; none where it shows nothing of the text."""
        filled = [self._render(filler, prompt) for filler in _FILLERS]
        first, second = tokenizer.encode(filled, add_special_tokens=False)
        shorter = min(len(first), len(second))
        differ = np.flatnonzero(first[::-1][:shorter] != second[::-1][:shorter])
        return first[len(first) - differ[0] :] if len(differ) else first[:0]


def _ending(ids: np.ndarray, behind: np.ndarray) -> np.ndarray:
    kept = min(len(ids), len(behind))
    return np.concatenate([ids[: len(ids) - kept], behind[len(behind) - kept :]])
