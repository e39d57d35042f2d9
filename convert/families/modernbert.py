"""ModernBERT: its config, which transformers 5 wrote anew, and its tensors."""

from collections.abc import Mapping
from typing import Any

from jaxembed.convert.mapping.keys import layer_types
from jaxembed.convert.mapping.rules import Ignore, Rule, Table, fused, linear, norm
from jaxembed.layers import activation
from jaxembed.layers.rotary import Rotary
from jaxembed.models.modernbert import ModernBertConfig

Config = Mapping[str, Any]


def read(config: Config) -> ModernBertConfig:
    """Reads `config.json`, with `layer_types` and nested `rope_parameters` or with the keys that came before them."""
    config.get("position_embedding_type")  # "sans_pos" in mmBERT and Ettin; the reference never looks, it always turns
    count, heads = config["num_hidden_layers"], config["num_attention_heads"]
    every = config.get("global_attn_every_n_layers", 3)
    usual = ["sliding_attention" if i % every else "full_attention" for i in range(count)]
    names = layer_types(config, usual, ("full_attention", "sliding_attention"))
    local, full = _rotaries(config, config["hidden_size"] // heads)
    return ModernBertConfig(
        vocabulary=config["vocab_size"],
        width=config["hidden_size"],
        layers=count,
        heads=heads,
        mlp_width=config["intermediate_size"],
        activation=activation(config["hidden_activation"]),
        epsilon=config["norm_eps"],
        longest=config["max_position_embeddings"],
        reach=config["local_attention"] // 2,
        sliding=tuple(name == "sliding_attention" for name in names),
        local=local,
        full=full,
        attention_bias=bool(config.get("attention_bias")),
        mlp_bias=bool(config.get("mlp_bias")),
        norm_bias=bool(config.get("norm_bias")),
    )


def _rotaries(config: Config, width: int) -> tuple[Rotary, Rotary]:
    """The rotary positions of sliding and of full layers; a local base of null, but not one left out, is the global one."""
    wide = float(config.get("global_rope_theta") or 160_000.0)
    near = float(config.get("local_rope_theta", 10_000.0) or wide)
    if config.get("rope_parameters"):
        thetas = ("sliding_attention", near), ("full_attention", wide)
        local, full = (Rotary.from_config(config, width, theta=theta, layer_type=name) for name, theta in thetas)
        return local, full
    scaling, longest = config.get("rope_scaling") or {}, config["max_position_embeddings"]
    return Rotary.scaled(scaling, width, near, longest), Rotary.scaled(scaling, width, wide, longest)


def _layer(at: str, stack: str) -> list[Rule]:
    qkv = [(f"{stack}.{part}.w", "(n h) d -> d n h") for part in "qkv"]
    biases = [(f"{stack}.{part}.b", "(n h) -> n h") for part in "qkv"]
    return [
        *norm(at + "attn_norm", f"{stack}.attention_norm"),
        *fused(at + "attn.Wqkv.weight", *qkv),
        *fused(at + "attn.Wqkv.bias", *biases),
        *linear(at + "attn.Wo", f"{stack}.out", "d", "n h"),
        *norm(at + "mlp_norm", f"{stack}.mlp_norm"),
        *fused(at + "mlp.Wi.weight", (f"{stack}.gate.w", "f d -> d f"), (f"{stack}.up.w", "f d -> d f")),
        *fused(at + "mlp.Wi.bias", (f"{stack}.gate.b", "f"), (f"{stack}.up.b", "f")),
        *linear(at + "mlp.Wo", f"{stack}.down", "d", "f"),
    ]


RULES = Table(
    rules=(
        Rule("embeddings.tok_embeddings.weight", "words", "v d"),
        *norm("embeddings.norm", "word_norm"),
        *_layer("layers.0.", "first"),
        *_layer("layers.{i}.", "layers"),
        *norm("final_norm", "norm"),
    ),
    ignored=(Ignore(r"(head|decoder|classifier|lm_head)\..*", because="task heads come after the hidden states"),),
    prefixes=("", "model."),
    sizes=lambda config: {
        "v": config.vocabulary,
        "d": config.width,
        "l": config.layers,
        "n": config.heads,
        "h": config.width // config.heads,
        "f": config.mlp_width,
    },
    stacks=lambda config: {"layers": range(1, config.layers)},
)
