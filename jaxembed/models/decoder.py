"""Llama-like decoders used as embedders, driven by their config: Qwen2 and Qwen3 today.

Pre-norm layers, rotary positions, grouped keys, a gated MLP, a final norm. Numerics follow transformers'
`modeling_qwen2.py` and `modeling_qwen3.py`. A checkpoint that says `is_causal: false` (gte-Qwen2) sees both ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxembed.kernels_pallas import Choice, Spans, attention
from jaxembed.layers import ACTIVATIONS, Heads, Linear, Merge, RMSNorm, activation, each_layer, stacked
from jaxembed.packed import Packed
from jaxembed.rotary import Rotary, rotate


@dataclass(frozen=True)
class DecoderConfig:
    """The sizes of a decoder and what its layers have.

    windows: for each layer how many tokens back it sees, itself included, or None for all.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    key_heads: int
    head_width: int
    mlp_width: int
    activation: str
    epsilon: float
    rotary: Rotary
    causal: bool
    qkv_bias: bool
    out_bias: bool
    qk_norm: bool
    windows: tuple[int | None, ...]
    longest: int

    @classmethod
    def from_dict(
        cls, config: Mapping[str, Any], *, qkv_bias: bool, qk_norm: bool, head_width: int | None = None
    ) -> "DecoderConfig":
        """Reads `config.json`; the keywords are what a family fixes without saying it there."""
        heads = config["num_attention_heads"]
        head_width = config.get("head_dim") or head_width or config["hidden_size"] // heads
        return cls(
            vocabulary=config["vocab_size"],
            width=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            key_heads=config.get("num_key_value_heads") or heads,
            head_width=head_width,
            mlp_width=config["intermediate_size"],
            activation=activation(config["hidden_act"]),
            epsilon=config["rms_norm_eps"],
            rotary=Rotary.from_config(config, head_width),
            causal=config.get("is_causal", True) is not False,
            qkv_bias=qkv_bias or bool(config.get("attention_bias")),
            out_bias=bool(config.get("attention_bias")),
            qk_norm=qk_norm,
            windows=_windows(config),
            longest=config["max_position_embeddings"],
        )


def qwen2(config: Mapping[str, Any]) -> DecoderConfig:
    """Reads the config of a Qwen2: biases on q, k and v."""
    return DecoderConfig.from_dict({**config, "attention_bias": False}, qkv_bias=True, qk_norm=False)


def qwen3(config: Mapping[str, Any]) -> DecoderConfig:
    """Reads the config of a Qwen3: norms on q and k, heads of 128 unless it says otherwise."""
    return DecoderConfig.from_dict(config, qkv_bias=False, qk_norm=True, head_width=128)


def _windows(config: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Each layer's window: from `layer_types`, or from `max_window_layers` in checkpoints older than that key."""
    count, window = config["num_hidden_layers"], config.get("sliding_window")
    if not config.get("use_sliding_window") or window is None:
        return (None,) * count
    kinds = config.get("layer_types")
    if kinds is None:
        full = config.get("max_window_layers", count)
        kinds = ["full_attention" if i < full else "sliding_attention" for i in range(count)]
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


class Layer(nnx.Module):
    """Attention and a gated MLP, each on a normalised copy of its input and added to it."""

    def __init__(self, config: DecoderConfig) -> None:
        d, h = config.width, config.head_width
        self.attention_norm = RMSNorm(d, epsilon=config.epsilon)
        self.q = Heads(d, config.heads, h, bias=config.qkv_bias)
        self.k = Heads(d, config.key_heads, h, bias=config.qkv_bias)
        self.v = Heads(d, config.key_heads, h, bias=config.qkv_bias)
        self.q_norm = RMSNorm(h, epsilon=config.epsilon) if config.qk_norm else None
        self.k_norm = RMSNorm(h, epsilon=config.epsilon) if config.qk_norm else None
        self.out = Merge(d, config.heads, h, bias=config.out_bias)
        self.mlp_norm = RMSNorm(d, epsilon=config.epsilon)
        self.gate = Linear(d, config.mlp_width, bias=False)
        self.up = Linear(d, config.mlp_width, bias=False)
        self.down = Linear(config.mlp_width, d, bias=False)
        self.activation = config.activation

    def __call__(
        self, x: Float[Array, "t d"], angles: tuple[Array, Array], longest: int, choice: Choice, spans: Spans
    ) -> Float[Array, "t d"]:
        y = self.attention_norm(x)
        q, k, v = self.q(y), self.k(y), self.v(y)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate(q, *angles), rotate(k, *angles)
        x += self.out(attention(q, k, v, spans, scale=q.shape[-1] ** -0.5, longest=longest, choice=choice))
        y = self.mlp_norm(x)
        return x + self.down(ACTIVATIONS[self.activation](self.gate(y)) * self.up(y))


class Decoder(nnx.Module):
    """The decoder without its language head: normalised hidden states of the last layer."""

    def __init__(self, config: DecoderConfig) -> None:
        self.words = nnx.Param(jnp.zeros((config.vocabulary, config.width)))
        self.layers = stacked(lambda: Layer(config), config.layers)
        self.norm = RMSNorm(config.width, epsilon=config.epsilon)
        self.config = config

    def __call__(self, packed: Packed, choice: Choice) -> Float[Array, "t d"]:
        """Returns the normalised last hidden state of every token."""
        config = self.config
        angles = config.rotary.tables(packed.positions(), packed.lengths_of_tokens())
        full = packed.spans(causal=config.causal)
        kinds = sorted(set(config.windows), key=lambda window: (window is not None, window))
        spans = tuple(full if window is None else _windowed(full, window, config.causal) for window in kinds)
        which = tuple(kinds.index(window) for window in config.windows)
        x = self.words[...][packed.tokens]
        x = each_layer(self.layers, x, angles, packed.cell, choice, spans, choose=which)
        return self.norm(x)


def _windowed(spans: Spans, window: int, causal: bool) -> Spans:
    """A window of `window` tokens counts the token itself; without causality it opens both ways."""
    return spans.within(window - 1, 0 if causal else window - 1)
