"""BERT (arXiv 1810.04805) and those that share its layers: RoBERTa, XLM-RoBERTa, CamemBERT.

They differ only in where positions begin, so one config serves them all. Numerics follow transformers'
`modeling_bert.py`: post-norm layers, token types, absolute positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxembed.errors import UnsupportedModelError
from jaxembed.kernels_pallas import Choice, Spans, attention
from jaxembed.layers import ACTIVATIONS, Heads, LayerNorm, Linear, Merge, activation, each_layer, stacked
from jaxembed.packed import Packed


@dataclass(frozen=True)
class BertConfig:
    """The sizes of a BERT, and `first_position`: the row of the position table that a text's first token reads."""

    vocabulary: int
    positions: int
    types: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: str
    epsilon: float
    first_position: int

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "BertConfig":
        """Reads `config.json`. Raises `UnsupportedModelError` for what would change the vectors and is not implemented."""
        kind = config.get("position_embedding_type", "absolute")
        if kind != "absolute":
            raise UnsupportedModelError(f"position_embedding_type {kind!r} is not supported; only 'absolute' is.")
        if config.get("is_decoder"):
            raise UnsupportedModelError("is_decoder: true is not supported for BERT; only encoders are.")
        return cls(
            vocabulary=config["vocab_size"],
            positions=config["max_position_embeddings"],
            types=config["type_vocab_size"],
            width=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            mlp_width=config["intermediate_size"],
            activation=activation(config["hidden_act"]),
            epsilon=config["layer_norm_eps"],
            first_position=0,
        )

    @property
    def longest(self) -> int:
        """The longest text that the position table has room for."""
        return self.positions - self.first_position


@dataclass(frozen=True)
class RobertaConfig(BertConfig):
    """A BERT whose positions begin behind the padding token's id, as in fairseq."""

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "RobertaConfig":
        """Reads `config.json`."""
        bert = BertConfig.from_dict(config)
        return cls(**{**vars(bert), "first_position": config["pad_token_id"] + 1})


class Embeddings(nnx.Module):
    """Words, positions and token types, summed and normalised."""

    def __init__(self, config: BertConfig) -> None:
        self.words = nnx.Param(jnp.zeros((config.vocabulary, config.width)))
        self.positions = nnx.Param(jnp.zeros((config.positions, config.width)))
        self.types = nnx.Param(jnp.zeros((config.types, config.width)))
        self.norm = LayerNorm(config.width, epsilon=config.epsilon)
        self.first_position = config.first_position

    def __call__(self, packed: Packed) -> Float[Array, "t d"]:
        x = self.words[...][packed.tokens] + self.positions[...][packed.positions() + self.first_position]
        types = self.types[...]
        x += types[0] if packed.types is None else types[packed.types]
        return self.norm(x)


class Layer(nnx.Module):
    """Attention and a two-layer MLP, each added to its input and then normalised."""

    def __init__(self, config: BertConfig) -> None:
        d, n, h = config.width, config.heads, config.width // config.heads
        self.q = Heads(d, n, h, bias=True)
        self.k = Heads(d, n, h, bias=True)
        self.v = Heads(d, n, h, bias=True)
        self.out = Merge(d, n, h, bias=True)
        self.attention_norm = LayerNorm(d, epsilon=config.epsilon)
        self.up = Linear(d, config.mlp_width, bias=True)
        self.down = Linear(config.mlp_width, d, bias=True)
        self.mlp_norm = LayerNorm(d, epsilon=config.epsilon)
        self.activation = config.activation

    def __call__(self, x: Float[Array, "t d"], spans: Spans, longest: int, choice: Choice) -> Float[Array, "t d"]:
        q, k, v = self.q(x), self.k(x), self.v(x)
        seen = attention(q, k, v, spans, scale=q.shape[-1] ** -0.5, longest=longest, choice=choice)
        x = self.attention_norm(x + self.out(seen))
        return self.mlp_norm(x + self.down(ACTIVATIONS[self.activation](self.up(x))))


class Bert(nnx.Module):
    """The encoder: hidden states of the last layer."""

    def __init__(self, config: BertConfig) -> None:
        self.embeddings = Embeddings(config)
        self.layers = stacked(lambda: Layer(config), config.layers)

    def __call__(self, packed: Packed, choice: Choice) -> Float[Array, "t d"]:
        """Returns the last hidden state of every token."""
        return each_layer(self.layers, self.embeddings(packed), packed.spans(causal=False), packed.cell, choice)
