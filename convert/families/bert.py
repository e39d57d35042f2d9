"""BERT, RoBERTa, XLM-RoBERTa and CamemBERT: the names are the same, behind the prefix of the task class."""

from collections.abc import Mapping
from typing import Any

from jaxembed.convert.rules import Ignore, Rule, Table

_LAYER = "encoder.layer.{i}."
_SELF, _OUT = _LAYER + "attention.self.", _LAYER + "attention.output."


def _sizes(config: Any) -> Mapping[str, int]:
    return {
        "v": config.vocabulary,
        "p": config.positions,
        "y": config.types,
        "d": config.width,
        "l": config.layers,
        "n": config.heads,
        "h": config.width // config.heads,
        "f": config.mlp_width,
    }


def _projection(name: str, target: str) -> list[Rule]:
    return [
        Rule(f"{_SELF}{name}.weight", f"layers.{target}.w", "(n h) d -> d n h"),
        Rule(f"{_SELF}{name}.bias", f"layers.{target}.b", "(n h) -> n h"),
    ]


def _norm(source: str, target: str) -> list[Rule]:
    return [Rule(f"{source}.weight", f"{target}.scale", "d"), Rule(f"{source}.bias", f"{target}.bias", "d")]


RULES = Table(
    rules=(
        Rule("embeddings.word_embeddings.weight", "embeddings.words", "v d"),
        Rule("embeddings.position_embeddings.weight", "embeddings.positions", "p d"),
        Rule("embeddings.token_type_embeddings.weight", "embeddings.types", "y d"),
        *_norm("embeddings.LayerNorm", "embeddings.norm"),
        *_projection("query", "q"),
        *_projection("key", "k"),
        *_projection("value", "v"),
        Rule(_OUT + "dense.weight", "layers.out.w", "d (n h) -> n h d"),
        Rule(_OUT + "dense.bias", "layers.out.b", "d"),
        *_norm(_OUT + "LayerNorm", "layers.attention_norm"),
        Rule(_LAYER + "intermediate.dense.weight", "layers.up.w", "f d -> d f"),
        Rule(_LAYER + "intermediate.dense.bias", "layers.up.b", "f"),
        Rule(_LAYER + "output.dense.weight", "layers.down.w", "d f -> f d"),
        Rule(_LAYER + "output.dense.bias", "layers.down.b", "d"),
        *_norm(_LAYER + "output.LayerNorm", "layers.mlp_norm"),
    ),
    ignored=(
        Ignore(r"(\w+\.)?embeddings\.position_ids", because="a table 0, 1, 2, ... that old versions saved"),
        Ignore(r"(\w+\.)?embeddings\.token_type_ids", because="a row of zeros that old versions saved"),
        Ignore(
            r"(\w+\.)?pooler\.dense\.(weight|bias)",
            because="the pooler of next-sentence prediction comes after the hidden states",
        ),
        Ignore(r"(cls|lm_head|classifier)\..*", because="task heads come after the hidden states"),
    ),
    prefixes=("", "bert.", "roberta.", "model."),
    sizes=_sizes,
)
