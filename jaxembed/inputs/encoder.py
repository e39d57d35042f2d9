"""The one way in: what a caller passes becomes tokenized, checked texts, once, for every face."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np

from jaxembed.errors import InputError
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
    """

    tokenizer: Tokenizer
    vocab_size: int
    max_length: int
    include_prompt: bool = True
    instruction_end: str = ""

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
    ) -> Iterator[Text]:
        """Yields the prompts as texts that the model can take, tokenized some thousand at a time.

        Args:
            prompts: texts, or token ids that need no tokenizer.
            options: those of each, or of all.
            tokenization: how texts become ids.
            prefix: put before every prompt that is a text; a model whose pooling leaves prompts out does so.
            bounded: see `ids`.
            empty: whether a text without any token is one; its vector is what the heads make of zeros.

        Raises:
            InputError: a prompt is empty, too long, or has an id that the model does not know.
        """
        each = repeat(options) if isinstance(options, Options) else iter(options)
        for chunk, encoded in self.ids(prompts, tokenization, prefix=prefix, bounded=bounded):
            self.check(encoded, empty=empty)
            skips = self.skips(chunk, prefix, tokenization)
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
        for chunk in _chunks(prompts):
            whole = [self._whole(one, prefix, tokenization, bounded) for one in chunk] if prefix or bounded else chunk
            yield whole, tokenization.encode(self.tokenizer, whole)

    def check(self, texts: Sequence[np.ndarray], *, empty: bool = False) -> None:
        """Raises `InputError` for the first ids that the model cannot take. empty: whether it takes no ids at all."""
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        if not empty and (lengths == 0).any():
            raise InputError("The prompt cannot be empty: it has no tokens.", field="prompts")
        if (lengths > self.max_length).any():
            raise InputError(
                f"This model's maximum context length is {self.max_length} tokens. However, your prompt contains "
                f"{lengths.max()} input tokens. Please reduce the length of the input prompt or ask for truncation.",
                field="prompts",
            )
        ids = np.concatenate(texts) if len(texts) else np.zeros(0, np.int32)
        wrong = ids[(ids < 0) | (ids >= self.vocab_size)]
        if wrong.size:
            raise InputError(
                f"Token id {wrong[0]} is out of vocabulary: this model's ids are 0 to {self.vocab_size - 1}.", field="prompts"
            )

    def _whole(self, prompt: Prompt, prefix: str, tokenization: Tokenization, bounded: bool) -> Prompt:
        if not isinstance(prompt, str):
            return prompt
        most = self.max_length * _MOST_CHARACTERS_PER_TOKEN + _FREE_CHARACTERS
        if not bounded or len(prompt) <= most:
            return prefix + prompt
        if tokenization.cut is None:
            raise InputError(
                f"This model's maximum context length is {self.max_length} tokens. However, your prompt contains "
                f"{len(prompt)} characters. Please reduce the length of the input prompt or ask for truncation.",
                field="prompts",
            )
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
