"""BERT and those that share its layers: what their configs and tensors are called."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxembed.convert.mapping.rules import Ignore, Rule, Table, linear, norm
from jaxembed.errors import UnsupportedModelError
from jaxembed.layers import activation
from jaxembed.models.bert import BertConfig


def _sizes(config: BertConfig) -> Mapping[str, int]:
    return {
        "v": config.vocabulary,
        "p": config.positions,
        "y": config.types,
        "z": config.tasks,
        "b": config.buckets,
        "e": config.embedding_width,
        "d": config.width,
        "l": config.layers,
        "n": config.heads,
        "h": config.width // config.heads,
        "f": config.mlp_width,
    }


def read_bert(config: Mapping[str, Any], **own: Any) -> BertConfig:
    """Reads `config.json`; `own` are fields that differ from BERT's. Raises `UnsupportedModelError`."""
    named = config.get("position_embedding_type", "absolute")
    if named != "absolute":
        raise UnsupportedModelError(f"position_embedding_type {named!r} is not supported; only 'absolute' is.")
    given: dict[str, Any] = {
        "types": config["type_vocab_size"] if "types" not in own else own["types"],
        "layers": config["num_hidden_layers"],
        "embedding_width": config["hidden_size"],
        **own,
    }
    return BertConfig(
        vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        mlp_width=config["intermediate_size"],
        activation=activation(config["hidden_act"]),
        epsilon=config["layer_norm_eps"],
        **given,
    )


def read_roberta(config: Mapping[str, Any]) -> BertConfig:
    """Reads the config of a RoBERTa, whose positions begin behind the padding token's id, as in fairseq."""
    return read_bert(config, first_position=config["pad_token_id"] + 1)


def read_electra(config: Mapping[str, Any]) -> BertConfig:
    """Reads the config of an ELECTRA, whose embeddings may be narrower than its layers."""
    narrow = config["embedding_size"]
    return read_bert(config, embedding_width=narrow, projected=narrow != config["hidden_size"])


def read_ernie(config: Mapping[str, Any]) -> BertConfig:
    """Reads the config of an ERNIE, which may have task types."""
    return read_bert(config, tasks=config.get("task_type_vocab_size", 3) if config.get("use_task_id") else 0)


def read_mpnet(config: Mapping[str, Any]) -> BertConfig:
    """Reads the config of an MPNet: the padding id is 1 and the buckets are 32 in its reference, whatever the config says."""
    buckets = config.get("relative_attention_num_buckets", 32)
    if buckets != 32:
        raise UnsupportedModelError(f"relative_attention_num_buckets {buckets} is not supported; only 32 is.")
    return read_bert(config, types=0, first_position=2, buckets=buckets)


def read_albert(config: Mapping[str, Any]) -> BertConfig:
    """Reads the config of an ALBERT, whose layers are few and run many times."""
    groups, runs = config.get("num_hidden_groups", 1), config["num_hidden_layers"]
    if runs % groups or config.get("inner_group_num", 1) != 1:
        raise UnsupportedModelError(
            f"num_hidden_groups {groups} and inner_group_num {config.get('inner_group_num')} are not supported for "
            f"{runs} layers; groups must divide the layers, with one inner group."
        )
    narrow = config["embedding_size"]
    return read_bert(config, layers=groups, repeats=runs // groups, embedding_width=narrow, projected=True)


def read_distilbert(config: Mapping[str, Any]) -> BertConfig:
    """Reads the config of a DistilBERT, which has names of its own."""
    return BertConfig(
        vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"],
        types=0,
        width=config["dim"],
        layers=config["n_layers"],
        heads=config["n_heads"],
        mlp_width=config["hidden_dim"],
        activation=activation(config["activation"]),
        epsilon=1e-12,
        embedding_width=config["dim"],
    )


def _table(layer: str, names: Mapping[str, str], prefixes: tuple[str, ...], *more: Rule) -> Table:
    """The tables of all these families: `layer` comes before the names of a layer's parts."""
    parts = {part: f"{layer}.{name}" for part, name in names.items()}
    return Table(
        rules=(
            Rule("embeddings.word_embeddings.weight", "embeddings.words", "v e"),
            Rule("embeddings.position_embeddings.weight", "embeddings.positions", "p e"),
            Rule("embeddings.token_type_embeddings.weight", "embeddings.types", "y e"),
            *norm("embeddings.LayerNorm", "embeddings.norm", "e"),
            *(rule for part in "qkv" for rule in linear(parts[part], f"layers.{part}", "n h", "d")),
            *linear(parts["out"], "layers.out", "d", "n h"),
            *norm(parts["attention_norm"], "layers.attention_norm"),
            *linear(parts["up"], "layers.up", "f", "d"),
            *linear(parts["down"], "layers.down", "d", "f"),
            *norm(parts["mlp_norm"], "layers.mlp_norm"),
            *more,
        ),
        ignored=(
            Ignore(r"(\w+\.)?embeddings\.position_ids", because="a table 0, 1, 2, ... that old versions saved"),
            Ignore(r"(\w+\.)?embeddings\.token_type_ids", because="a row of zeros that old versions saved"),
            Ignore(
                r"(\w+\.)?pooler(\.dense)?\.(weight|bias)",
                because="the pooler of next-sentence prediction comes after the hidden states",
            ),
            Ignore(
                r"(cls|lm_head|classifier|pre_classifier|vocab_\w+|qa_outputs|predictions|sop_classifier|"
                r"discriminator_predictions|generator_predictions|generator_lm_head)\..*",
                because="task heads come after the hidden states",
            ),
        ),
        prefixes=prefixes,
        sizes=_sizes,
    )


def _renamed(source: str) -> str:
    for new, old in _OLD.items():
        source = source.replace(new, old)
    return source


_BERT = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "mlp_norm": "output.LayerNorm",
}
_DISTILBERT = {
    "q": "attention.q_lin",
    "k": "attention.k_lin",
    "v": "attention.v_lin",
    "out": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "mlp_norm": "output_layer_norm",
}
_ALBERT = {
    "q": "attention.query",
    "k": "attention.key",
    "v": "attention.value",
    "out": "attention.dense",
    "attention_norm": "attention.LayerNorm",
    "up": "ffn",
    "down": "ffn_output",
    "mlp_norm": "full_layer_layer_norm",
}
_MPNET = {
    **_BERT,
    "q": "attention.attn.q",
    "k": "attention.attn.k",
    "v": "attention.attn.v",
    "out": "attention.attn.o",
    "attention_norm": "attention.LayerNorm",
}

_PLAIN = _table("encoder.layer.{i}", _BERT, ("", "bert.", "roberta.", "model."))
# Checkpoints made by TensorFlow, bert-base-uncased among them, call the parameters of their norms gamma and beta.
_OLD = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
BERT = replace(
    _PLAIN,
    others=(replace(_PLAIN, rules=tuple(replace(rule, source=_renamed(rule.source)) for rule in _PLAIN.rules)),),
)
ERNIE = _table(
    "encoder.layer.{i}",
    _BERT,
    ("", "ernie.", "bert."),
    Rule("embeddings.task_type_embeddings.weight", "embeddings.tasks", "z e"),
)
ELECTRA = _table("encoder.layer.{i}", _BERT, ("", "electra."), *linear("embeddings_project", "embeddings.projection", "d", "e"))
ALBERT = _table(
    "encoder.albert_layer_groups.{i}.albert_layers.0",
    _ALBERT,
    ("", "albert."),
    *linear("encoder.embedding_hidden_mapping_in", "embeddings.projection", "d", "e"),
)
DISTILBERT = _table("transformer.layer.{i}", _DISTILBERT, ("", "distilbert."))
MPNET = _table("encoder.layer.{i}", _MPNET, ("", "mpnet."), Rule("encoder.relative_attention_bias.weight", "distances", "b n"))
