"""One row of texts laid end to end: all that a model is given. Knows nothing about tokenizers, models or queues."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from jaxembed.kernels_pallas import Spans


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Packed:
    """Texts in one row of `t` tokens with room for `s` texts, in the order in which they lie in the row.

    tokens: vocabulary ids, 0 outside every text. starts, lengths: where text i begins and how long it is; unused places,
    all at the end, have start t and length 0. skip: leading prompt tokens that pooling leaves out. dims: how many leading
    output dimensions text i asked for. normalize: whether text i wants unit length. types: token types, or None where
    every token has type 0. cell (static): no text crosses a multiple of it.
    """

    tokens: Int[Array, " t"]
    starts: Int[Array, " s"]
    lengths: Int[Array, " s"]
    skip: Int[Array, " s"]
    dims: Int[Array, " s"]
    normalize: Bool[Array, " s"]
    types: Int[Array, " t"] | None = None
    cell: int = field(kw_only=True, metadata={"static": True})

    def text_of_token(self) -> Int[Array, " t"]:
        """Returns the place (0 to s - 1) of the text each token belongs to, s for padding."""
        place = jnp.arange(self.tokens.shape[0], dtype=jnp.int32)
        text = jnp.searchsorted(self.starts, place, side="right", method="compare_all").astype(jnp.int32) - 1
        inside = (text >= 0) & (place < (self.starts + self.lengths)[text])
        return jnp.where(inside, text, self.starts.shape[0])

    def positions(self) -> Int[Array, " t"]:
        """Returns each token's position in its own text, from 0; 0 for padding."""
        text = self.text_of_token()
        place = jnp.arange(self.tokens.shape[0], dtype=jnp.int32)
        start = self.starts.at[text].get(mode="fill", fill_value=0)
        return jnp.where(text < self.starts.shape[0], place - start, 0)

    def lengths_of_tokens(self) -> Int[Array, " t"]:
        """Returns for each token the length of the text it belongs to; 0 for padding."""
        return self.lengths.at[self.text_of_token()].get(mode="fill", fill_value=0)

    def spans(self, *, causal: bool) -> Spans:
        """Returns what each token sees: its own text, up to and including itself if `causal`; nothing for padding."""
        start = self.starts.at[self.text_of_token()].get(mode="fill", fill_value=0)
        spans = Spans(start, start + self.lengths_of_tokens())
        return spans.within(self.tokens.shape[0], 0) if causal else spans
