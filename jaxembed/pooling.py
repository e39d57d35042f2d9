"""From hidden states to vectors: pooling over each text of a row, the heads behind it, matryoshka and normalisation.

Everything is float32 and happens for each text as it asked, inside the program. Definitions follow sentence-transformers 6.2,
`sentence_transformer/modules/pooling.py`.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxembed.heads import DenseHead, Head, LayerNormHead
from jaxembed.kernels_pallas import Choice
from jaxembed.layers import ACTIVATIONS, LayerNorm, Linear
from jaxembed.packed import Packed


def pool(hidden: Float[Array, "t d"], packed: Packed, modes: Sequence[str], *, include_prompt: bool) -> Float[Array, "s e"]:
    """Returns one vector for each text, the results of `modes` (see `heads.MODES`) side by side, float32.

    Without `include_prompt` the first `packed.skip` tokens of a text do not count; where that leaves none, cls reads the first
    token and all others give zeros. Places without a text give finite values that nobody reads.
    """
    hidden = hidden.astype(jnp.float32)
    skip = jnp.zeros_like(packed.skip) if include_prompt else packed.skip
    first, end = packed.starts + skip, packed.starts + packed.lengths
    place = jnp.arange(hidden.shape[0], dtype=jnp.int32)
    counts = (place >= first[:, None]) & (place < end[:, None])  # [s, t]: which tokens count for which text
    total = jnp.maximum(packed.lengths - skip, 0).astype(jnp.float32)[:, None]
    ones = counts.astype(jnp.float32)

    def one(mode: str) -> Float[Array, "s d"]:
        if mode == "cls":
            return hidden.at[jnp.where(total[:, 0] > 0, first, packed.starts)].get(mode="clip")
        if mode == "lasttoken":
            return jnp.where(total > 0, hidden.at[end - 1].get(mode="clip"), 0)
        if mode == "max":
            text = jnp.where(counts.any(0), packed.text_of_token(), packed.starts.shape[0])
            highest = jax.ops.segment_max(hidden, text, num_segments=packed.starts.shape[0] + 1)[:-1]
            return jnp.where(total > 0, highest, 0)
        weights = ones * (packed.positions() + 1) if mode == "weightedmean" else ones
        # A matmul, not a scatter: exact zeros keep the texts apart, and every device is good at it.
        summed = jnp.matmul(weights, hidden, precision="highest")
        divisor = {
            "mean": total,
            "mean_sqrt_len_tokens": jnp.sqrt(total),
            "weightedmean": weights.sum(1, keepdims=True),
        }[mode]
        return summed / jnp.maximum(divisor, 1e-9)

    return jnp.concatenate([one(mode) for mode in modes], axis=-1)


class Dense(nnx.Module):
    """The parameters of a `DenseHead`."""

    def __init__(self, head: DenseHead) -> None:
        self.linear = Linear(head.inputs, head.outputs, bias=head.bias)
        projected = head.residual and head.inputs != head.outputs
        self.residual = Linear(head.inputs, head.outputs, bias=False) if projected else None
        self.head = head

    def __call__(self, x: Float[Array, "*s i"]) -> Float[Array, "*s o"]:
        y = ACTIVATIONS[self.head.activation](self.linear(x))
        if not self.head.residual:
            return y
        return y + (x if self.residual is None else self.residual(x))


class Normalize(nnx.Module):
    """Unit length, as a step between other heads."""

    def __call__(self, x: Float[Array, "*s d"]) -> Float[Array, "*s d"]:
        return unit(x)


def unit(x: Float[Array, "*s d"]) -> Float[Array, "*s d"]:
    """Returns x / max(|x|, 1e-12), as torch's `normalize` does."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def _module(head: Head) -> nnx.Module:
    if isinstance(head, DenseHead):
        return Dense(head)
    return LayerNorm(head.width, epsilon=1e-5) if isinstance(head, LayerNormHead) else Normalize()


class Embedder(nnx.Module):
    """A backbone with what comes behind it: all that a program runs."""

    def __init__(self, backbone: nnx.Module, heads: Sequence[Head], modes: Sequence[str], *, include_prompt: bool) -> None:
        self.backbone = backbone
        self.heads = nnx.List([_module(head) for head in heads])
        self.modes = tuple(modes)
        self.include_prompt = include_prompt

    def hidden(self, packed: Packed, choice: Choice) -> Float[Array, "t d"]:
        """Returns the last hidden states, float32."""
        states: Array = self.backbone(packed, choice)
        return states.astype(jnp.float32)

    def embed(self, packed: Packed, choice: Choice) -> Float[Array, "s e"]:
        """Returns one vector for each text."""
        pooled = pool(self.hidden(packed, choice), packed, self.modes, include_prompt=self.include_prompt)
        return _finish(self._through_heads(pooled), packed.dims, packed.normalise)

    def token_embed(self, packed: Packed, choice: Choice) -> Float[Array, "t e"]:
        """Returns one vector for each token: the heads and each text's wishes, without pooling."""
        text = jnp.minimum(packed.text_of_token(), packed.starts.shape[0] - 1)
        tokens = self._through_heads(self.hidden(packed, choice))
        return _finish(tokens, packed.dims[text], packed.normalise[text])

    def _through_heads(self, x: Float[Array, "*s d"]) -> Float[Array, "*s e"]:
        for head in self.heads:
            x = head(x)
        return x


def _finish(x: Float[Array, "s e"], dims: Array, normalise: Array) -> Float[Array, "s e"]:
    """Zeroes what lies beyond each vector's `dims`, then gives unit length to those that want it."""
    x = jnp.where(jnp.arange(x.shape[-1]) < dims[:, None], x, 0)
    return jnp.where(normalise[:, None], unit(x), x)
