"""DeBERTa v2 and v3: what their configs and tensors are called."""

from collections.abc import Mapping
from typing import Any

from jaxembed.convert.mapping.rules import Ignore, Rule, Table, linear, norm
from jaxembed.errors import UnsupportedModelError
from jaxembed.layers import activation
from jaxembed.models.deberta import DebertaConfig


def read(config: Mapping[str, Any]) -> DebertaConfig:
    """Reads `config.json`. Raises `UnsupportedModelError` for what only the largest v2 have, and for plain attention."""
    if not config.get("relative_attention"):
        raise UnsupportedModelError("relative_attention: false is not supported for DeBERTa; its attention is relative.")
    if config.get("embedding_size", config["hidden_size"]) != config["hidden_size"]:
        raise UnsupportedModelError("an embedding_size other than hidden_size is not supported for DeBERTa.")
    positions = config["max_position_embeddings"]
    far = config.get("max_relative_positions", -1)
    far = far if far >= 1 else positions
    buckets = max(config.get("position_buckets", -1), 0)
    terms = config.get("pos_att_type") or []
    terms = [term.strip() for term in terms.lower().split("|")] if isinstance(terms, str) else terms
    return DebertaConfig(
        vocabulary=config["vocab_size"],
        positions=positions if config.get("position_biased_input", True) else 0,
        types=config.get("type_vocab_size", 0),
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        mlp_width=config["intermediate_size"],
        activation=activation(config["hidden_act"]),
        epsilon=config["layer_norm_eps"],
        longest=positions,
        span=buckets or far,
        buckets=buckets,
        far=far,
        shared=bool(config.get("share_att_key")),
        to_position="c2p" in terms,
        from_position="p2c" in terms,
        position_norm="layer_norm" in config.get("norm_rel_ebd", "none").lower(),
    )


_AT = "encoder.layer.{i}."
_SELF = _AT + "attention.self."
RULES = Table(
    rules=(
        Rule("embeddings.word_embeddings.weight", "words", "v d"),
        Rule("embeddings.position_embeddings.weight", "positions", "p d"),
        Rule("embeddings.token_type_embeddings.weight", "types", "y d"),
        *norm("embeddings.LayerNorm", "word_norm"),
        Rule("encoder.rel_embeddings.weight", "places", "s d"),
        *norm("encoder.LayerNorm", "place_norm"),
        *linear(_SELF + "query_proj", "layers.q", "n h", "d"),
        *linear(_SELF + "key_proj", "layers.k", "n h", "d"),
        *linear(_SELF + "value_proj", "layers.v", "n h", "d"),
        *linear(_SELF + "pos_query_proj", "layers.position_q", "n h", "d"),
        *linear(_SELF + "pos_key_proj", "layers.position_k", "n h", "d"),
        *linear(_AT + "attention.output.dense", "layers.out", "d", "n h"),
        *norm(_AT + "attention.output.LayerNorm", "layers.attention_norm"),
        *linear(_AT + "intermediate.dense", "layers.up", "f", "d"),
        *linear(_AT + "output.dense", "layers.down", "d", "f"),
        *norm(_AT + "output.LayerNorm", "layers.mlp_norm"),
    ),
    ignored=(
        Ignore(r"(\w+\.)?embeddings\.position_ids", because="a table 0, 1, 2, ... that old versions saved"),
        Ignore(
            r"(\w+\.)?(pooler|classifier|cls|lm_predictions|mask_predictions|lm_head)\..*",
            because="the pooler and the heads come after the hidden states",
        ),
    ),
    prefixes=("", "deberta."),
    sizes=lambda config: {
        "v": config.vocabulary,
        "p": config.positions,
        "y": config.types,
        "d": config.width,
        "l": config.layers,
        "n": config.heads,
        "h": config.width // config.heads,
        "f": config.mlp_width,
        "s": 2 * config.span,
    },
)
