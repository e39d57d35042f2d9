"""The encoder of T5 and mT5; what a whole T5 has beside it is left out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxembed.convert.mapping.rules import Ignore, Rule, Table, linear
from jaxembed.layers import activation
from jaxembed.models.t5 import T5Config


def read(config: Mapping[str, Any]) -> T5Config:
    """Reads `config.json`. "gated-gelu" means the tanh form, as in its reference."""
    config.get("is_decoder")  # false in an encoder; where a whole T5 says it, its encoder is still none
    named = config.get("feed_forward_proj", "relu")
    gated, act = named.startswith("gated-"), named.removeprefix("gated-")
    return T5Config(
        vocabulary=config["vocab_size"],
        width=config["d_model"],
        layers=config["num_layers"],
        heads=config["num_heads"],
        head_width=config["d_kv"],
        mlp_width=config["d_ff"],
        activation=activation("gelu_new" if named == "gated-gelu" else act),
        epsilon=config["layer_norm_epsilon"],
        # Nothing in the model ends here; it is what T5 was trained with.
        longest=config.get("n_positions") or 512,
        buckets=config["relative_attention_num_buckets"],
        far=config.get("relative_attention_max_distance", 128),
        gated=gated,
    )


_AT = "encoder.block.{i}.layer."


def _mlp(up: str, gate: str | None) -> list[Rule]:
    gated = linear(f"{_AT}1.DenseReluDense.{gate}", "layers.gate", "f", "d") if gate else ()
    return [*gated, *linear(f"{_AT}1.DenseReluDense.{up}", "layers.up", "f", "d")]


def _rules(words: str, up: str, gate: str | None) -> tuple[Rule, ...]:
    return (
        Rule(words, "words", "v d"),
        Rule("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "distances", "b n"),
        Rule(_AT + "0.layer_norm.weight", "layers.attention_norm.scale", "d"),
        *(rule for part in "qkv" for rule in linear(f"{_AT}0.SelfAttention.{part}", f"layers.{part}", "n h", "d")),
        *linear(_AT + "0.SelfAttention.o", "layers.out", "d", "n h"),
        Rule(_AT + "1.layer_norm.weight", "layers.mlp_norm.scale", "d"),
        *_mlp(up, gate),
        *linear(_AT + "1.DenseReluDense.wo", "layers.down", "d", "f"),
        Rule("encoder.final_layer_norm.weight", "norm.scale", "d"),
    )


_SHARED, _OWN = "shared.weight", "encoder.embed_tokens.weight"
_GATED = Table(
    rules=_rules(_OWN, "wi_1", "wi_0"),
    ignored=(
        Ignore(r"(decoder|lm_head)\..*", because="only the encoder makes vectors"),
        Ignore(r"shared\.weight", because="the encoder has a table of words of its own, most often the same one"),
    ),
    prefixes=("",),
    sizes=lambda config: {
        "v": config.vocabulary,
        "d": config.width,
        "l": config.layers,
        "n": config.heads,
        "h": config.head_width,
        "f": config.mlp_width,
        "b": config.buckets,
    },
)
RULES = replace(
    _GATED,
    # Of two layouts that fit alike the first is taken: the encoder's own table where both are there, as in transformers.
    others=(
        replace(_GATED, rules=_rules(_OWN, "wi", None)),
        replace(_GATED, rules=_rules(_SHARED, "wi_1", "wi_0")),
        replace(_GATED, rules=_rules(_SHARED, "wi", None)),
    ),
)
