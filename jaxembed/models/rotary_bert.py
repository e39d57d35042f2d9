"""BERTs without a table of positions: GTE, NomicBERT, jina v2 and v3 (arXiv 2407.19669, 2402.01613, 2310.19923, 2409.10173).

Post-norm layers as in BERT; positions are rotary, or linear biases (ALiBi) in jina v2; the MLP may be gated, or a mixture of
experts in every second layer (nomic v2, arXiv 2502.07972); jina v3 adds low-rank adapters for its tasks. Numerics follow
transformers' `modeling_gte.py` and its kin, and the published definitions where transformers has no class.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxembed.kernels_pallas import Alibi, Spans
from jaxembed.layers import ACTIVATIONS, Heads, LayerNorm, Linear, Merge, stacked
from jaxembed.layers.rotary import Rotary, rotate
from jaxembed.layers.run import Run
from jaxembed.models.backbone import BackboneConfig
from jaxembed.packing.packed import Packed


@dataclass(frozen=True, kw_only=True)
class RotaryBertConfig(BackboneConfig):
    """The sizes of such a BERT and what its layers have.

    rotary: None for ALiBi. qk_norm: layer norms over all heads of q and k, and a further one behind attention that adds the
    layer's input once more (jina v2 for code). experts: of the MLP in every second layer, 0 for
    none; chosen: how many of them each token goes through. tasks, rank, adapter_scale: of jina's adapters; task: the one that
    is applied, -1 for none.
    """

    types: int
    heads: int
    mlp_width: int
    activation: str
    epsilon: float
    longest: int
    rotary: Rotary | None
    gated: bool
    qkv_bias: bool = True
    out_bias: bool = True
    up_bias: bool = False
    down_bias: bool = True
    qk_norm: bool = False
    experts: int = 0
    chosen: int = 0
    tasks: int = 0
    rank: int = 0
    adapter_scale: float = 1.0
    task: int = 0


class Adapters(nnx.Module):
    """What each task adds to a linear layer: scale · up (down x), of low rank (LoRA, arXiv 2106.09685)."""

    def __init__(self, inputs: int, outputs: int, config: RotaryBertConfig) -> None:
        self.down = nnx.Param(jnp.zeros((config.tasks, config.rank, inputs)))
        self.up = nnx.Param(jnp.zeros((config.tasks, outputs, config.rank)))
        self.scale = config.adapter_scale

    def __call__(self, x: Float[Array, "t i"], tasks: Float[Array, "t a"]) -> Float[Array, "t o"]:
        """tasks: one-hot, the task of each token."""
        low = _chosen(jnp.einsum("ti,ari->tar", x, self.down[...]), tasks[:, :, None])
        return _raised("tar,aor->to", low, self.up[...], tasks) * self.scale


def _chosen(x: Array, tasks: Array) -> Array:
    """Returns x where it is of a token's own task, and 0 elsewhere: not a product, because 0 · NaN is NaN."""
    return jnp.where(tasks != 0, x, 0)


def _raised(equation: str, low: Array, up: Array, tasks: Array) -> Array:
    """Returns the product with `up`, one matrix a task; tokens of a task whose matrix is not finite get NaN, and they alone."""
    finite = jnp.isfinite(up)
    broken = tasks @ (~finite.all((1, 2))).astype(tasks.dtype)
    return jnp.where(broken[:, None] != 0, jnp.nan, jnp.einsum(equation, low, jnp.where(finite, up, 0)))


def _adapted(y: Array, adapters: Adapters | None, x: Array, tasks: Array | None) -> Array:
    """Returns y, the output of a layer for x, with what its adapters add."""
    return y if adapters is None or tasks is None else y + adapters(x, tasks)


class Embeddings(nnx.Module):
    """Words and token types, summed and normalized."""

    def __init__(self, config: RotaryBertConfig) -> None:
        d = config.width
        self.words = nnx.Param(jnp.zeros((config.vocabulary, d)))
        self.types = nnx.Param(jnp.zeros((config.types, d))) if config.types else None
        self.norm = LayerNorm(d, epsilon=config.epsilon)
        adapted = config.tasks > 0
        self.word_low = nnx.Param(jnp.zeros((config.tasks, config.vocabulary, config.rank))) if adapted else None
        self.word_up = nnx.Param(jnp.zeros((config.tasks, config.rank, d))) if adapted else None
        self.type_low = nnx.Param(jnp.zeros((config.tasks, config.types, config.rank))) if adapted else None
        self.type_up = nnx.Param(jnp.zeros((config.tasks, config.rank, d))) if adapted else None
        self.scale = config.adapter_scale

    def __call__(self, packed: Packed, tasks: Float[Array, "t a"] | None) -> Float[Array, "t d"]:
        types = jnp.zeros_like(packed.tokens) if packed.types is None else packed.types
        x = self.words[...][packed.tokens]
        if self.types is not None:
            x += self.types[...][types]
        if tasks is not None:
            x += self._low_rank(self.word_low, self.word_up, packed.tokens, tasks)
            x += self._low_rank(self.type_low, self.type_up, types, tasks)
        return self.norm(x)

    def _low_rank(self, low: Any, up: Any, ids: Array, tasks: Array) -> Float[Array, "t d"]:
        mine = _chosen(low[...][:, ids], tasks.T[:, :, None])
        return _raised("atr,ard->td", mine, up[...], tasks) * self.scale


class Mlp(nnx.Module):
    """Two layers, or three with a gate."""

    def __init__(self, config: RotaryBertConfig) -> None:
        d, f = config.width, config.mlp_width
        self.gate = Linear(d, f, bias=config.up_bias) if config.gated else None
        self.up = Linear(d, f, bias=config.up_bias)
        self.down = Linear(f, d, bias=config.down_bias)
        self.up_adapters = Adapters(d, f, config) if config.tasks else None
        self.down_adapters = Adapters(f, d, config) if config.tasks else None
        self.activation = config.activation

    def __call__(self, x: Float[Array, "t d"], tasks: Float[Array, "t a"] | None) -> Float[Array, "t d"]:
        activate, wide = ACTIVATIONS[self.activation], _adapted(self.up(x), self.up_adapters, x, tasks)
        wide = activate(wide) if self.gate is None else activate(self.gate(x)) * wide
        return _adapted(self.down(wide), self.down_adapters, wide, tasks)


class Experts(nnx.Module):
    """The MLPs that a router's softmax finds best for a token, weighted by it; the weights are not made to sum to one.

    All experts see all tokens and what was not chosen is dropped: nothing depends on what else lies in the row.
    """

    def __init__(self, config: RotaryBertConfig) -> None:
        d, f, experts = config.width, config.mlp_width, config.experts
        self.router = nnx.Param(jnp.zeros((d, experts)))
        self.up = nnx.Param(jnp.zeros((experts, d, f)))
        self.down = nnx.Param(jnp.zeros((experts, f, d)))
        self.b = nnx.Param(jnp.zeros(d))
        self.activation, self.chosen = config.activation, config.chosen

    def __call__(self, x: Float[Array, "t d"], tasks: Float[Array, "t a"] | None) -> Float[Array, "t d"]:
        weights = jax.nn.softmax((x @ self.router[...]).astype(jnp.float32), axis=-1)
        best, which = jax.lax.top_k(weights, self.chosen)
        shares = (jax.nn.one_hot(which, weights.shape[-1]) * best[..., None]).sum(1).astype(x.dtype)
        wide = ACTIVATIONS[self.activation](jnp.einsum("td,xdf->txf", x, self.up[...]))
        # What overflows in an expert that was not chosen must not come through its share of 0.
        wide = jnp.where(shares[..., None] != 0, wide * shares[..., None], 0)
        return jnp.einsum("txf,xfd->td", wide, self.down[...]) + self.b[...]


class Layer(nnx.Module):
    """Attention and an MLP, each added to its input and then normalized."""

    def __init__(self, config: RotaryBertConfig, *, experts: bool = False) -> None:
        d, n, h = config.width, config.heads, config.width // config.heads
        self.q = Heads(d, n, h, bias=config.qkv_bias)
        self.k = Heads(d, n, h, bias=config.qkv_bias)
        self.v = Heads(d, n, h, bias=config.qkv_bias)
        self.q_norm = LayerNorm(d, epsilon=config.epsilon) if config.qk_norm else None
        self.k_norm = LayerNorm(d, epsilon=config.epsilon) if config.qk_norm else None
        self.out = Merge(d, n, h, bias=config.out_bias)
        self.qkv_adapters = Adapters(d, 3 * d, config) if config.tasks else None
        self.out_adapters = Adapters(d, d, config) if config.tasks else None
        self.attention_norm = LayerNorm(d, epsilon=config.epsilon)
        self.again_norm = LayerNorm(d, epsilon=config.epsilon) if config.qk_norm else None
        self.mlp = Experts(config) if experts else Mlp(config)
        self.mlp_norm = LayerNorm(d, epsilon=config.epsilon)

    def __call__(
        self,
        x: Float[Array, "t d"],
        run: Run,
        spans: Spans,
        place: "tuple[Array, Array] | Alibi",
        tasks: Float[Array, "t a"] | None,
    ) -> Float[Array, "t d"]:
        """place: angles to turn by, or a bias."""
        q, k, v = self.q(x), self.k(x), self.v(x)
        if self.qkv_adapters is not None and tasks is not None:
            more = self.qkv_adapters(x, tasks).reshape(x.shape[0], 3, *q.shape[1:])
            q, k, v = q + more[:, 0], k + more[:, 1], v + more[:, 2]
        if self.q_norm is not None and self.k_norm is not None:
            q = self.q_norm(q.reshape(x.shape)).reshape(q.shape)
            k = self.k_norm(k.reshape(x.shape)).reshape(k.shape)
        bias = place if isinstance(place, Alibi) else None
        if not isinstance(place, Alibi):
            q, k = rotate(q, *place), rotate(k, *place)
        seen = run.attention(q, k, v, spans, scale=q.shape[-1] ** -0.5, bias=bias)
        y = self.attention_norm(x + _adapted(self.out(seen), self.out_adapters, seen.reshape(x.shape), tasks))
        x = y if self.again_norm is None else self.again_norm(x + y)
        return self.mlp_norm(x + self.mlp(x, tasks))


class Pair(nnx.Module):
    """A plain layer and one with experts."""

    def __init__(self, config: RotaryBertConfig) -> None:
        self.plain = Layer(config)
        self.experts = Layer(config, experts=True)

    def __call__(self, x: Float[Array, "t d"], *shared: Any) -> Float[Array, "t d"]:
        return self.experts(self.plain(x, *shared), *shared)


class RotaryBert(nnx.Module):
    """The encoder: hidden states of the last layer."""

    def __init__(self, config: RotaryBertConfig) -> None:
        self.embeddings = Embeddings(config)
        self.layers = None if config.experts else stacked(lambda: Layer(config), config.layers)
        self.pairs = stacked(lambda: Pair(config), config.layers // 2) if config.experts else None
        self.config = config

    def __call__(self, packed: Packed, run: Run) -> Float[Array, "t d"]:
        """Returns the last hidden state of every token."""
        config, t = self.config, packed.tokens.shape[0]
        tasks = None
        if config.tasks:
            tasks = jnp.broadcast_to(
                jax.nn.one_hot(config.task, config.tasks, dtype=self.embeddings.words[...].dtype), (t, config.tasks)
            )
        place = (
            Alibi(jnp.asarray(alibi_slopes(config.heads)))
            if config.rotary is None
            else config.rotary.tables(packed.positions(), packed.lengths_of_tokens())
        )
        layers = self.layers if self.pairs is None else self.pairs
        return run.layers(layers, self.embeddings(packed, tasks), packed.spans(causal=False), place, tasks)


def alibi_slopes(heads: int) -> np.ndarray:
    """Returns ALiBi's slope of each head (arXiv 2108.12409): a geometric row, and between its first ones for further heads."""
    whole = 2 ** int(np.log2(heads))
    slopes = [2.0 ** (-8 * (i + 1) / whole) for i in range(whole)]
    between = [2.0 ** (-8 * (i + 1) / (2 * whole)) for i in range(0, 2 * whole, 2)]
    return np.asarray(slopes + between[: heads - whole], np.float32)
