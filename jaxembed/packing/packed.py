"""One row of texts laid end to end: all that a model is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxembed.kernels_pallas import Spans
from jaxembed.packing.planning import Row, RowShape
from jaxembed.packing.text import Options, Text

jax.tree_util.register_dataclass(Options, data_fields=[one.name for one in fields(Options)], meta_fields=[])


def per_token(values: Callable[[Text], np.ndarray | None]) -> dict[str, Any]:
    """Declares a field of shape [t], int32: what each text has for its tokens, or None for zeros."""
    return {"values": values}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Packed:
    """Texts in one row of `t` tokens with room for `s` texts, in the order in which they lie in the row.

    Attributes:
        tokens: vocabulary ids, 0 outside every text.
        starts, lengths: where text i begins and how long it is; unused slots, all at the end, have start t and length 0.
        options: what each text carries beside its tokens, arrays of shape [s].
        types: token types, or None where every token has type 0.
    """

    tokens: Int[Any, " t"] = field(metadata=per_token(lambda text: text.ids))
    starts: Int[Any, " s"]
    lengths: Int[Any, " s"]
    options: Options
    types: Int[Any, " t"] | None = field(default=None, metadata=per_token(lambda text: text.types))

    @classmethod
    def host(cls, row: Row, texts: Sequence[Text], shape: RowShape) -> "Packed":
        """Returns a planned row as numpy arrays, laid out in `shape`, which may be larger than planned.

        Args:
            row: the plan.
            texts: what the plan's indices mean.
            shape: the sizes of the program that will run it.
        """
        own = [texts[index] for index in row.texts]
        starts, lengths = np.full(shape.texts, shape.row, np.int32), np.zeros(shape.texts, np.int32)
        starts[: len(own)] = row.starts
        lengths[: len(own)] = [len(text.ids) for text in own]
        found = {}
        for name, values in _PER_TOKEN.items():
            array = found[name] = np.zeros(shape.row, np.int32)
            for text, start in zip(own, row.starts, strict=True):
                given = values(text)
                if given is not None:
                    array[start : start + len(given)] = given
        return cls(starts=starts, lengths=lengths, options=Options.arrays(own, shape.texts), **found)

    @classmethod
    def abstract(cls, shape: RowShape) -> "Packed":
        """Returns a row of this shape without values, for the compiler."""
        row = cls.host(Row(shape, (), (), 0), [], shape)
        made: Packed = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), row)
        return made

    def text_of_token(self) -> Int[Array, " t"]:
        """Returns the slot (0 to s - 1) of the text each token belongs to, s for padding."""
        token = jnp.arange(self.tokens.shape[0], dtype=jnp.int32)
        text = jnp.searchsorted(self.starts, token, side="right", method="compare_all").astype(jnp.int32) - 1
        inside = (text >= 0) & (token < (self.starts + self.lengths)[text])
        return jnp.where(inside, text, self.starts.shape[0])

    def positions(self) -> Int[Array, " t"]:
        """Returns each token's position in its own text, from 0; 0 for padding."""
        text = self.text_of_token()
        token = jnp.arange(self.tokens.shape[0], dtype=jnp.int32)
        start = self.starts.at[text].get(mode="fill", fill_value=0)
        return jnp.where(text < self.starts.shape[0], token - start, 0)

    def positions_without(self, padding: int) -> Int[Array, " t"]:
        """Returns each token's position in its own text, from 1, counted over tokens other than `padding`; 0 for that one."""
        text = self.text_of_token()
        counts = ((text < self.starts.shape[0]) & (self.tokens != padding)).astype(jnp.int32)
        through = jnp.cumsum(counts)
        before = (through - counts).at[self.starts.at[text].get(mode="fill", fill_value=0)].get(mode="clip")
        return (through - before) * counts

    def lengths_of_tokens(self) -> Int[Array, " t"]:
        """Returns for each token the length of the text it belongs to; 0 for padding."""
        return self.lengths.at[self.text_of_token()].get(mode="fill", fill_value=0)

    def spans(self, *, causal: bool) -> Spans:
        """Returns what each token sees: its own text, up to and including itself if `causal`; nothing for padding."""
        start = self.starts.at[self.text_of_token()].get(mode="fill", fill_value=0)
        spans = Spans(start, start + self.lengths_of_tokens())
        return spans.within(self.tokens.shape[0], 0) if causal else spans


_PER_TOKEN: dict[str, Callable[[Text], np.ndarray | None]] = {
    one.name: one.metadata["values"] for one in fields(Packed) if "values" in one.metadata
}
