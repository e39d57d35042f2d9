"""Llama-like decoders: `XModel` saves bare names, `XForCausalLM` puts `model.` before them."""

from collections.abc import Mapping
from typing import Any

from jaxembed.convert.rules import Ignore, Rule, Table

_ATTENTION, _MLP = "layers.{i}.self_attn.", "layers.{i}.mlp."


def _sizes(config: Any) -> Mapping[str, int]:
    return {
        "v": config.vocabulary,
        "d": config.width,
        "l": config.layers,
        "n": config.heads,
        "k": config.key_heads,
        "h": config.head_width,
        "f": config.mlp_width,
    }


def _projection(name: str, target: str, heads: str) -> list[Rule]:
    return [
        Rule(f"{_ATTENTION}{name}.weight", f"layers.{target}.w", f"({heads} h) d -> d {heads} h"),
        Rule(f"{_ATTENTION}{name}.bias", f"layers.{target}.b", f"({heads} h) -> {heads} h"),
    ]


RULES = Table(
    rules=(
        Rule("embed_tokens.weight", "words", "v d"),
        Rule("layers.{i}.input_layernorm.weight", "layers.attention_norm.scale", "d"),
        *_projection("q_proj", "q", "n"),
        *_projection("k_proj", "k", "k"),
        *_projection("v_proj", "v", "k"),
        Rule(_ATTENTION + "q_norm.weight", "layers.q_norm.scale", "h"),
        Rule(_ATTENTION + "k_norm.weight", "layers.k_norm.scale", "h"),
        Rule(_ATTENTION + "o_proj.weight", "layers.out.w", "d (n h) -> n h d"),
        Rule(_ATTENTION + "o_proj.bias", "layers.out.b", "d"),
        Rule("layers.{i}.post_attention_layernorm.weight", "layers.mlp_norm.scale", "d"),
        Rule(_MLP + "gate_proj.weight", "layers.gate.w", "f d -> d f"),
        Rule(_MLP + "up_proj.weight", "layers.up.w", "f d -> d f"),
        Rule(_MLP + "down_proj.weight", "layers.down.w", "d f -> f d"),
        Rule("norm.weight", "norm.scale", "d"),
    ),
    ignored=(
        Ignore(r"lm_head\.weight", because="the language head comes after the hidden states"),
        Ignore(r"(model\.)?layers\.\d+\.self_attn\.rotary_emb\.inv_freq", because="computed from the config"),
    ),
    prefixes=("", "model."),
    sizes=_sizes,
)
