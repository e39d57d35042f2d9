"""From hidden states to vectors: a backbone, pooling over each text of a row, and the heads behind it.

Everything is float32 and happens inside the program, for each text by its own options. Definitions follow
sentence-transformers 6.2, `sentence_transformer/modules/pooling.py`.
"""

from collections.abc import Iterable, Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxembed.errors import UnsupportedModelError
from jaxembed.heads.recipe import DenseHead, Head, LayerNormHead
from jaxembed.kernels_pallas.pool.parts import ACTIVATIONS as FUSED_ACTIVATIONS
from jaxembed.kernels_pallas.pool.parts import Dense as FusedDense
from jaxembed.kernels_pallas.pool.parts import finish, unit
from jaxembed.layers import ACTIVATIONS, LayerNorm, Linear
from jaxembed.layers.run import Run
from jaxembed.packing.packed import Packed


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


def _module(head: Head) -> nnx.Module:
    if isinstance(head, DenseHead):
        return Dense(head)
    return LayerNorm(head.width, epsilon=1e-5) if isinstance(head, LayerNormHead) else Normalize()


class Embedder(nnx.Module):
    """A backbone with what comes behind it: all that a program runs."""

    def __init__(self, backbone: nnx.Module, heads: Sequence[Head], modes: Sequence[str]) -> None:
        self.backbone = backbone
        self.heads = nnx.List([_module(head) for head in heads])
        self.modes = tuple(modes)

    def pooled(self, packed: Packed, states: Float[Array, "t d"], run: Run) -> Float[Array, "s e"]:
        """Returns one vector for each text. Raises `UnsupportedModelError` if the checkpoint makes vectors of tokens only."""
        if not self.modes:
            raise UnsupportedModelError(
                "this checkpoint makes a vector of each token, for late interaction, and none of a text; ask for the task "
                "token_embed: LLM.encode(texts, pooling_task='token_embed'), or POST /pooling."
            )
        asked = packed.options
        fused, rest = self._fused()
        dims, normalize = (None, None) if rest else (asked.dimensions, asked.normalize)
        vectors = run.pool(states, packed.starts, packed.lengths, asked.skip, dims, normalize, fused, modes=self.modes)
        return finish(_through(rest, vectors), asked.dimensions, asked.normalize) if rest else vectors

    def each_token(self, packed: Packed, states: Float[Array, "t d"]) -> Float[Array, "t e"]:
        """Returns one vector for each token: the heads and each text's options, without pooling."""
        slot = jnp.minimum(packed.text_of_token(), packed.starts.shape[0] - 1)
        tokens = _through(self.heads, states.astype(jnp.float32))
        return finish(tokens, packed.options.dimensions[slot], packed.options.normalize[slot])

    def _fused(self) -> tuple[FusedDense | None, Sequence[nnx.Module]]:
        """The first head, if `pool` can take it in, and the others."""
        first = self.heads[0] if len(self.heads) else None
        if not isinstance(first, Dense) or first.head.residual or first.head.activation not in FUSED_ACTIVATIONS:
            return None, list(self.heads)
        w, b = first.linear.w[...], first.linear.b
        return FusedDense(w, None if b is None else b[...], first.head.activation), list(self.heads)[1:]


def _through(heads: Iterable[nnx.Module], x: Float[Array, "*s d"]) -> Float[Array, "*s e"]:
    for head in heads:
        x = head(x)
    return x
