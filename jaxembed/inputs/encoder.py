"""The one way in: what a caller passes becomes tokenized, checked texts, once, for every face."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np

from jaxembed.errors import TRUNCATE, InputError, counted_from
from jaxembed.inputs.conversation import Conversation
from jaxembed.inputs.prompts import Prompt, Tokenization
from jaxembed.inputs.tokenizer import Side, Tokenizer
from jaxembed.packing.text import Options, Text, nothing

# Tokenized at once: enough for the Rust threads, little enough that encodings, some hundred bytes a token, never pile up.
_CHUNK_TEXTS, _CHUNK_CHARACTERS = 1024, 1 << 20
# A text with more characters than this cannot fit, whatever its tokenizer: words of the vocabulary are shorter, and the free
# ones leave room for blanks and for words that are a single unknown token.
_MOST_CHARACTERS_PER_TOKEN, _FREE_CHARACTERS = 100, 100_000


@dataclass(frozen=True)
class Encoder:
    """A model's way from prompts to texts.

    Attributes:
        tokenizer: the model's.
        vocab_size: token ids are below it.
        max_length: tokens of the longest text.
        include_prompt: whether pooling takes in the prompts before texts.
        instruction_end: where prompts are left out, the mark up to which a text is an instruction; "" for none.
        conversation: how a text becomes a message, where sentence-transformers makes one of it; else None.
    """

    tokenizer: Tokenizer
    vocab_size: int
    max_length: int
    include_prompt: bool = True
    instruction_end: str = ""
    conversation: Conversation | None = None

    def tokenization(self, options: Mapping[str, Any] | None = None) -> Tokenization:
        """Reads vLLM's `tokenization_kwargs` for this model; without them nothing is cut. Raises `InputError`."""
        return Tokenization.read(options, max_length=self.max_length, side=self.tokenizer.side)

    def cut(self, side: Side | None = None) -> Tokenization:
        """Returns the tokenization that cuts what is too long, at `side` or where the tokenizer's files say."""
        return Tokenization(cut=self.max_length, side=side or self.tokenizer.side)

    def texts(
        self,
        prompts: Sequence[Prompt],
        options: Options | Sequence[Options] = Options(),
        *,
        tokenization: Tokenization,
        prefix: str = "",
        bounded: bool = False,
        empty: bool = False,
        messages: bool = False,
    ) -> Iterator[Text]:
        """Yields the prompts as texts that the model can take, tokenized some thousand at a time.

        Args:
            prompts: texts, or token ids that need no tokenizer.
            options: those of each, or of all.
            tokenization: how texts become ids.
            prefix: put before every prompt that is a text; a model whose pooling leaves prompts out does so.
            bounded: see `ids`.
            empty: whether a text without any token is one; its vector is what the heads make of zeros.
            messages: whether texts are messages where the files ask for that, with the prefix as the system's.

        Raises:
            InputError: a prompt is empty, too long, or has an id that the model does not know.
        """
        each = repeat(options) if isinstance(options, Options) else iter(options)
        messages = messages and self.conversation is not None
        each_chunk = self._messages(prompts, tokenization, prefix) if messages else None
        before = 0
        for chunk, encoded in each_chunk or self.ids(prompts, tokenization, prefix=prefix, bounded=bounded):
            with counted_from(before, alone=len(prompts) == 1):
                self.check(encoded, empty=empty)
            before += len(chunk)
            # Of a message sentence-transformers cannot tell what is prompt, and pools all of it.
            skips = [0] * len(chunk) if messages else self.skips(chunk, prefix, tokenization)
            for ids, skip in zip(encoded, skips, strict=True):
                own = next(each)
                if not len(ids):
                    yield nothing(own)
                    continue
                yield Text(ids, replace(own, skip=min(skip, len(ids))) if skip else own)

    def ids(
        self, prompts: Sequence[Prompt], tokenization: Tokenization, *, prefix: str = "", bounded: bool = False
    ) -> Iterator[tuple[list[Prompt], list[np.ndarray]]]:
        """Yields prompts, with their prefix, and the ids of each, int32 and unchecked, some thousand at a time.

        bounded: refuse a text with more characters than can fit unless it shall be cut, so that a book is never tokenized to
        be thrown away. Raises `InputError`.
        """
        before = 0
        for chunk in _chunks(prompts):
            with counted_from(before, alone=len(prompts) == 1):
                whole = chunk
                if prefix or bounded:
                    whole = [self._whole(one, index, prefix, tokenization, bounded) for index, one in enumerate(chunk)]
                encoded = self._encoded(whole, tokenization)
            yield whole, encoded
            before += len(chunk)

    def _messages(
        self, prompts: Sequence[Prompt], tokenization: Tokenization, prefix: str
    ) -> Iterator[tuple[list[Prompt], list[np.ndarray]]]:
        """Yields what `ids` yields for texts that are messages; ids stay what they are."""
        assert self.conversation is not None, "asked by `texts`"
        for chunk in _chunks(prompts):
            texts = [one for one in chunk if isinstance(one, str)]
            cut, side = tokenization.cut, tokenization.side
            encoded = iter(self.conversation.encode(self.tokenizer, texts, prefix, cut=cut, side=side))
            yield chunk, [next(encoded) if isinstance(one, str) else one for one in chunk]

    def check(self, texts: Sequence[np.ndarray], *, empty: bool = False) -> None:
        """Raises `InputError` for the first ids that the model cannot take, with the index of their text.

        empty: whether it takes no ids at all.
        """
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        if not empty and (lengths == 0).any():
            first = int(np.argmax(lengths == 0))
            raise InputError("The prompt cannot be empty: it has no tokens.", field="prompts", index=first)
        if (lengths > self.max_length).any():
            long = int(np.argmax(lengths > self.max_length))
            raise self._too_long(f"{lengths[long]} input tokens", long)
        ids = np.concatenate(texts) if len(texts) else np.zeros(0, np.int32)
        wrong = (ids < 0) | (ids >= self.vocab_size)
        if wrong.any():
            place = int(np.argmax(wrong))
            raise InputError(
                f"Token id {ids[place]} is out of vocabulary: this model's ids are 0 to {self.vocab_size - 1}.",
                field="prompts",
                index=int(np.searchsorted(np.cumsum(lengths), place, side="right")),
            )

    def _too_long(self, contents: str, index: int) -> InputError:
        return InputError(
            f"This model's maximum context length is {self.max_length} tokens. However, your prompt contains {contents}.",
            field="prompts",
            index=index,
            remedy=TRUNCATE,
        )

    def _encoded(self, prompts: list[Prompt], tokenization: Tokenization) -> list[np.ndarray]:
        """Returns the ids of each prompt; an error about one of them says which."""
        try:
            return tokenization.encode(self.tokenizer, prompts)
        except InputError as error:
            if error.field != "prompts":  # it is about all of them
                raise
        for index, one in enumerate(prompts):
            try:
                tokenization.encode(self.tokenizer, [one])
            except InputError as error:
                error.index = index
                raise
        raise AssertionError("a prompt that cannot be encoded among others cannot be encoded alone")

    def _whole(self, prompt: Prompt, index: int, prefix: str, tokenization: Tokenization, bounded: bool) -> Prompt:
        if not isinstance(prompt, str):
            return prompt
        most = self.max_length * _MOST_CHARACTERS_PER_TOKEN + _FREE_CHARACTERS
        if not bounded or len(prompt) <= most:
            return prefix + prompt
        if tokenization.cut is None:
            raise self._too_long(f"{len(prompt)} characters", index)
        return prefix + (prompt[:most] if tokenization.side == "right" else prompt[-most:])

    def skips(self, prompts: Sequence[Prompt], prefix: str, tokenization: Tokenization) -> list[int]:
        """Returns how many leading tokens of each prompt, which has the prefix already, pooling leaves out.

        None where it takes in all; else the prefix, and what a text holds up to the mark that ends an instruction; nobody knows
        the instruction of token ids. Both are measured as they were cut.
        """
        if self.include_prompt:
            return [0] * len(prompts)
        mark = self.instruction_end
        before = tokenization.length(self.tokenizer, prefix)

        def through_mark(text: str) -> int:
            return tokenization.length(self.tokenizer, text[: text.find(mark) + len(mark)]) if mark and mark in text else 0

        return [max(before, through_mark(one)) if isinstance(one, str) else 0 for one in prompts]


def _chunks(prompts: Sequence[Prompt]) -> Iterator[list[Prompt]]:
    """Yields the prompts in groups that are not too large to tokenize at once."""
    chunk: list[Prompt] = []
    size = 0
    for prompt in prompts:
        if chunk and (len(chunk) == _CHUNK_TEXTS or size + len(prompt) > _CHUNK_CHARACTERS):
            yield chunk
            chunk, size = [], 0
        chunk.append(prompt)
        size += len(prompt)
    if chunk:
        yield chunk
