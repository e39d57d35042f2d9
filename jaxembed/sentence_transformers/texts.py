"""What `encode` is given becomes tokenized texts: prompts before them, pairs together, empty ones kept."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from jaxembed.errors import InputError
from jaxembed.inputs.encoder import Encoder
from jaxembed.inputs.tokenizer import Side
from jaxembed.packing.text import Options, Text
from jaxembed.sentence_transformers.arguments import One


class Texts:
    """A model's way from texts and pairs to what its engine runs; too long ones are cut without a word.

    encoder: the model's, with the longest text that is asked for. options: what each text asks for. side: where texts are cut.
    types: how many token types the model tells apart. empty: whether a text without any token is one.
    """

    def __init__(self, encoder: Encoder, options: Options, side: Side, types: int, empty: bool) -> None:
        self._encoder, self._options, self._side, self._types, self._empty = encoder, options, side, types, empty

    def __call__(self, given: Sequence[One], prefix: str) -> Iterator[Text]:
        """Yields the texts in their order. Raises `InputError` that names the first one that the model cannot take."""
        start = 0
        for paired, group in groupby(given, lambda one: isinstance(one, tuple)):
            items: list[Any] = list(group)
            yield from self._pairs(items, prefix) if paired else self._plain(items, prefix, start, len(given))
            start += len(items)

    def _plain(self, texts: list[str], prefix: str, start: int, count: int) -> Iterator[Text]:
        cut = self._encoder.cut(self._side)
        done = 0
        try:
            encoded = self._encoder.texts(
                texts, self._options, tokenization=cut, prefix=prefix, empty=self._empty, messages=True
            )
            for text in encoded:
                yield text
                done += 1
        except InputError as error:
            raise _named(error, texts, done, start, count) from None

    def _pairs(self, pairs: list[tuple[str, str]], prefix: str) -> Iterator[Text]:
        tokenizer = self._encoder.tokenizer
        whole = [(prefix + first, second) for first, second in pairs]
        skip = 0 if self._encoder.include_prompt else self._encoder.cut(self._side).length(tokenizer, prefix)
        for ids, types in tokenizer.encode_pairs(whole, max_length=self._encoder.max_length, side=self._side):
            self._encoder.check([ids])
            yield Text(ids, replace(self._options, skip=min(skip, len(ids))), types if self._types > 1 else None)


def _named(error: InputError, texts: list[str], done: int, start: int, count: int) -> InputError:
    """Returns the error with the place of the first text that is no Unicode, where one is to be found."""
    for index in range(done, len(texts)):
        try:
            texts[index].encode()
        except UnicodeEncodeError:
            place = f"inputs[{start + index}]: " if count > 1 else ""
            return type(error)(f"{place}{error}", field=error.field)
    return error
