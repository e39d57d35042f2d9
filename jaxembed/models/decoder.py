"""Llama-like decoders used as embedders (arXiv 2307.09288), driven by their config.

Rotary positions, grouped keys, a norm before or after each part, a gated MLP, a final norm. What sets Qwen, Phi, OLMo, Granite,
GLM, StarCoder and Gemma apart is in `DecoderConfig`; numerics follow transformers' files of these names. Those trained to see
both ways (gte-Qwen2, EuroBERT, EmbeddingGemma) are decoders that are not causal.
"""

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxembed.kernels_pallas import Spans
from jaxembed.layers import ACTIVATIONS, Heads, LayerNorm, Linear, Merge, RMSNorm, stacked
from jaxembed.layers.rotary import Rotary, rotate
from jaxembed.layers.run import Run
from jaxembed.models.backbone import BackboneConfig
from jaxembed.packing.packed import Packed


@dataclass(frozen=True)
class LayerType:
    """What differs between the layers of one decoder.

    back, ahead: how many tokens before and after itself a token sees, None for all of its text. rotary: None for a layer
    without positions.
    """

    back: int | None
    ahead: int | None
    rotary: Rotary | None


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(BackboneConfig):
    """The sizes of a decoder and what its layers have.

    layer_types: one for each layer. qk_norm: norms on queries and keys, over each "head" or over "all" heads together. norm:
    "one" is an RMS norm whose scale is stored less one; "layer" has a bias, "layer_scale" none, "layer_one" one and its scale
    less one, "bare" neither. before, after: whether attention and MLP have a norm before and after them. parallel: both read
    what the first norm gives. scale: of attention scores. embedding_scale: on word vectors. residual_scale: on what each part
    adds. outputs: width of a linear layer behind the last norm, 0 for none. adapter: the folder of what is merged into the
    weights, "" for none.
    """

    heads: int
    key_heads: int
    head_width: int
    mlp_width: int
    activation: str
    epsilon: float
    longest: int
    causal: bool
    layer_types: tuple[LayerType, ...]
    scale: float
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: Literal["none", "head", "all"] = "none"
    norm: Literal["rms", "one", "layer", "layer_scale", "layer_one", "bare"] = "rms"
    before: bool = True
    after: bool = False
    parallel: bool = False
    gated: bool = True
    interleaved: bool = False
    softcap: float | None = None
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    outputs: int = 0

    @property
    def output_width(self) -> int:
        """The width of the hidden states that come out."""
        return self.outputs or self.width


def _norm(config: DecoderConfig, width: int) -> nnx.Module:
    if config.norm in ("layer", "layer_one"):
        return LayerNorm(width, epsilon=config.epsilon, from_one=config.norm == "layer_one")
    if config.norm in ("layer_scale", "bare"):
        return LayerNorm(width, epsilon=config.epsilon, bias=False, scaled=config.norm == "layer_scale")
    return RMSNorm(width, epsilon=config.epsilon, from_one=config.norm == "one")


class Layer(nnx.Module):
    """Attention and an MLP, each on a normalized copy of its input and added to it."""

    def __init__(self, config: DecoderConfig) -> None:
        d, n, k, h, f = config.width, config.heads, config.key_heads, config.head_width, config.mlp_width
        normed = config.qk_norm != "none"
        shared = config.qk_norm == "head"
        self.attention_norm = _norm(config, d) if config.before else None
        self.q = Heads(d, n, h, bias=config.qkv_bias)
        self.k = Heads(d, k, h, bias=config.qkv_bias)
        self.v = Heads(d, k, h, bias=config.qkv_bias)
        self.q_norm = _norm(config, h if shared else n * h) if normed else None
        self.k_norm = _norm(config, h if shared else k * h) if normed else None
        self.out = Merge(d, n, h, bias=config.out_bias)
        self.attention_end = _norm(config, d) if config.after else None
        self.mlp_norm = _norm(config, d) if config.before and not config.parallel else None
        self.gate = Linear(d, f, bias=config.mlp_bias) if config.gated else None
        self.up = Linear(d, f, bias=config.mlp_bias)
        self.down = Linear(f, d, bias=config.mlp_bias)
        self.mlp_end = _norm(config, d) if config.after else None
        self.config = config

    def __call__(self, x: Float[Array, "t d"], run: Run, layer_type: tuple[Spans, tuple[Array, Array]]) -> Float[Array, "t d"]:
        if self.config.parallel:
            normal = _through(self.attention_norm, x)
            return x + self.attend(normal, run, *layer_type) + self.mlp(normal)
        share = self.config.residual_scale
        seen = _through(self.attention_end, self.attend(_through(self.attention_norm, x), run, *layer_type))
        x += seen if share == 1.0 else seen * share
        added = _through(self.mlp_end, self.mlp(_through(self.mlp_norm, x)))
        return x + (added if share == 1.0 else added * share)

    def attend(self, x: Float[Array, "t d"], run: Run, spans: Spans, angles: tuple[Array, Array]) -> Float[Array, "t d"]:
        config = self.config
        q, k, v = self.q(x), self.k(x), self.v(x)
        if config.qk_norm == "all":
            q = _through(self.q_norm, q.reshape(q.shape[0], -1)).reshape(q.shape)
            k = _through(self.k_norm, k.reshape(k.shape[0], -1)).reshape(k.shape)
        else:
            q, k = _through(self.q_norm, q), _through(self.k_norm, k)
        q, k = (rotate(one, *angles, interleaved=config.interleaved) for one in (q, k))
        seen = run.attention(q, k, v, spans, scale=config.scale, softcap=config.softcap)
        return self.out(seen)

    def mlp(self, x: Float[Array, "t d"]) -> Float[Array, "t d"]:
        activate = ACTIVATIONS[self.config.activation]
        return self.down(activate(self.up(x)) if self.gate is None else activate(self.gate(x)) * self.up(x))


def _through(norm: nnx.Module | None, x: Array) -> Array:
    return x if norm is None else norm(x)


class Decoder(nnx.Module):
    """The decoder without its language head: normalized hidden states of the last layer."""

    def __init__(self, config: DecoderConfig) -> None:
        self.words = nnx.Param(jnp.zeros((config.vocabulary, config.width)))
        self.layers = stacked(lambda: Layer(config), config.layers)
        self.norm = _norm(config, config.width)
        self.linear = Linear(config.width, config.outputs, bias=False) if config.outputs else None
        self.config = config

    def __call__(self, packed: Packed, run: Run) -> Float[Array, "t d"]:
        """Returns the normalized last hidden state of every token."""
        config = self.config
        x = self.words[...][packed.tokens]
        if config.embedding_scale != 1.0:
            # Gemma rounds the scale to the type of the weights first: 55.4 becomes 55.5 in bfloat16.
            x *= jnp.asarray(config.embedding_scale, x.dtype)
        layer_types = list(dict.fromkeys(config.layer_types))
        options = tuple((self._spans(packed, layer_type), self._angles(packed, layer_type)) for layer_type in layer_types)
        which = tuple(layer_types.index(layer_type) for layer_type in config.layer_types)
        x = self.norm(run.layers(self.layers, x, options=options, choose=which))
        return x if self.linear is None else self.linear(x)

    def _spans(self, packed: Packed, layer_type: LayerType) -> Spans:
        spans, t = packed.spans(causal=self.config.causal), packed.tokens.shape[0]
        if layer_type.back is None and layer_type.ahead is None:
            return spans
        return spans.within(
            t if layer_type.back is None else layer_type.back, t if layer_type.ahead is None else layer_type.ahead
        )

    def _angles(self, packed: Packed, layer_type: LayerType) -> tuple[Array, Array]:
        if layer_type.rotary is not None:
            return layer_type.rotary.tables(packed.positions(), packed.lengths_of_tokens())
        widths = {one.rotary.width for one in self.config.layer_types if one.rotary is not None} or {self.config.head_width}
        still = jnp.zeros((packed.tokens.shape[0], max(widths) // 2))
        return jnp.cos(still), jnp.sin(still)
