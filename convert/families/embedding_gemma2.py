"""EmbeddingGemma 2: the text half of its config and tensors; its towers for pictures and sound are left out."""

from collections.abc import Mapping
from typing import Any

from jaxembed.convert.mapping.keys import Keys
from jaxembed.convert.mapping.rules import Ignore, Rule, Table, linear, norm
from jaxembed.errors import UnsupportedModelError
from jaxembed.layers import activation
from jaxembed.layers.rotary import Rotary
from jaxembed.models.embedding_gemma2 import EmbeddingGemma2Config, LayerType

# More layers in a group than any checkpoint has.
_LONGEST_PERIOD = 12


def read(config: Mapping[str, Any]) -> EmbeddingGemma2Config:
    """Reads `config.json`, of the whole model or of its text half."""
    config.get("layer_types"), config.get("sliding_window"), config.get("hidden_size_per_layer_input")
    text = Keys(config["text_config"]) if config.get("text_config") else config
    layer_types = list(text["layer_types"])
    period = layer_types.index("full_attention") + 1 if "full_attention" in layer_types else 0
    if not period or layer_types != (["sliding_attention"] * (period - 1) + ["full_attention"]) * (len(layer_types) // period):
        raise UnsupportedModelError("layer_types are not supported for EmbeddingGemma 2 unless every n-th layer alone is full.")
    own = text["per_layer_config"]
    wide = {(own[str(i)]["head_dim"], own[str(i)]["num_key_value_heads"]) for i in range(period - 1, len(layer_types), period)}
    if len(wide) > 1 or len(own) != len(layer_types) // period:
        raise UnsupportedModelError("per_layer_config is not supported unless it says the same of every full layer alone.")
    ((head_width, key_heads),) = wide
    return EmbeddingGemma2Config(
        vocabulary=text["vocab_size"],
        width=text["hidden_size"],
        layers=text["num_hidden_layers"],
        heads=text["num_attention_heads"],
        mlp_width=text["intermediate_size"],
        activation=activation(text["hidden_activation"]),
        epsilon=text["rms_norm_eps"],
        longest=text["max_position_embeddings"],
        period=period,
        sliding=LayerType(
            text["num_key_value_heads"],
            text["head_dim"],
            Rotary.from_config(text, text["head_dim"], layer_type="sliding_attention"),
            text["sliding_window"],
        ),
        full=LayerType(
            key_heads, head_width, Rotary.from_config(text, head_width, theta=1_000_000.0, layer_type="full_attention"), None
        ),
        signal_width=text["hidden_size_per_layer_input"],
        outputs=text["embedding_dim"],
    )


def _layer(stack: str, heads: str, keys: str) -> list[Rule]:
    """heads, keys: the letters of query and of key heads with their width."""
    at = "layers.{i}."
    head = heads.split()[-1]
    return [
        *norm(at + "input_layernorm", f"{stack}.attention_norm"),
        *linear(at + "self_attn.q_proj", f"{stack}.q", heads, "d"),
        *linear(at + "self_attn.k_proj", f"{stack}.k", keys, "d"),
        *linear(at + "self_attn.v_proj", f"{stack}.v", keys, "d"),
        *norm(at + "self_attn.q_norm", f"{stack}.q_norm", head),
        *norm(at + "self_attn.k_norm", f"{stack}.k_norm", head),
        *linear(at + "self_attn.o_proj", f"{stack}.out", "d", heads),
        *norm(at + "post_attention_layernorm", f"{stack}.attention_end"),
        *norm(at + "pre_feedforward_layernorm", f"{stack}.mlp_norm"),
        *linear(at + "mlp.gate_proj", f"{stack}.gate", "f", "d"),
        *linear(at + "mlp.up_proj", f"{stack}.up", "f", "d"),
        *linear(at + "mlp.down_proj", f"{stack}.down", "d", "f"),
        *norm(at + "post_feedforward_layernorm", f"{stack}.mlp_end"),
        *linear(at + "ple_block.per_layer_input_gate", f"{stack}.signal_gate", "p", "d"),
        *linear(at + "ple_block.per_layer_projection", f"{stack}.signal_out", "d", "p"),
        *norm(at + "ple_block.post_per_layer_input_norm", f"{stack}.signal_end"),
        Rule(at + "layer_scalar", f"{stack}.share", "u"),
    ]


def _stacks(config: EmbeddingGemma2Config) -> Mapping[str, range]:
    sliding = {f"groups.sliding.{j}": range(j, config.layers, config.period) for j in range(config.period - 1)}
    return {**sliding, "groups.full": range(config.period - 1, config.layers, config.period)}


RULES = Table(
    rules=(
        Rule("embed_tokens.weight", "words", "v d"),
        Rule("ple.per_layer_model_projection.weight", "signals", "(l p) d -> l p d"),
        *norm("ple.per_layer_projection_norm", "signal_norm", "p"),
        *(rule for j in range(_LONGEST_PERIOD) for rule in _layer(f"groups.sliding.{j}", "n h", "k h")),
        *_layer("groups.full", "n g", "m g"),
        *norm("norm", "norm"),
        *linear("embedding_projection", "linear", "e", "d"),
    ),
    ignored=(Ignore(r"(.*\.)?(vision_tower|embed_vision|audio_tower|embed_audio)\..*", because="only texts are embedded"),),
    prefixes=("", "language_model.", "model.language_model."),
    sizes=lambda config: {
        "v": config.vocabulary,
        "d": config.width,
        "l": config.layers,
        "n": config.heads,
        "k": config.sliding.key_heads,
        "h": config.sliding.head_width,
        "m": config.full.key_heads,
        "g": config.full.head_width,
        "f": config.mlp_width,
        "p": config.signal_width,
        "e": config.output_width,
        "u": 1,
    },
    stacks=_stacks,
)
