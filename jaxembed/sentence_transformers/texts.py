"""What `encode` is given becomes tokenized texts: prompts before them, pairs together, empty ones kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
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
            yield from (self._pairs if paired else self._plain)(items, prefix, start, len(given))
            start += len(items)

    def _plain(self, texts: list[str], prefix: str, start: int, count: int) -> Iterator[Text]:
        cut = self._encoder.cut(self._side)
        with _placed(start, count):
            yield from self._encoder.texts(
                texts, self._options, tokenization=cut, prefix=prefix, empty=self._empty, messages=True
            )

    def _pairs(self, pairs: list[tuple[str, str]], prefix: str, start: int, count: int) -> Iterator[Text]:
        skip = 0 if self._encoder.include_prompt else self._encoder.cut(self._side).length(self._encoder.tokenizer, prefix)
        for index, (ids, types) in enumerate(self._encoded([(prefix + one, other) for one, other in pairs], start, count)):
            with _placed(start + index, count):
                self._encoder.check([ids])
            yield Text(ids, replace(self._options, skip=min(skip, len(ids))), types if self._types > 1 else None)

    def _encoded(self, pairs: list[tuple[str, str]], start: int, count: int) -> list[tuple[Any, Any]]:
        encode = partial(self._encoder.tokenizer.encode_pairs, max_length=self._encoder.max_length, side=self._side)
        try:
            return encode(pairs)
        except InputError as error:
            if error.field == "prompts":  # one of them, and not all
                for index, pair in enumerate(pairs):
                    with _placed(start + index, count):
                        encode([pair])
            raise


@contextmanager
def _placed(start: int, count: int) -> Iterator[None]:
    """Gives errors about a text its place among all that were given. start: of the first text inside. count: of all."""
    try:
        yield
    except InputError as error:
        if error.field == "prompts":
            error.index = start + (error.index or 0) if count > 1 else None
        raise
