"""The tensors of Llama-like decoders: `XModel` saves bare names, `XForCausalLM` puts `model.` before them."""

from collections.abc import Mapping

from jaxembed.convert.mapping.rules import Ignore, Rule, Table, fused, linear, norm
from jaxembed.models.decoder import DecoderConfig

_LAYER = "layers.{i}."
ATTENTION, MLP = _LAYER + "self_attn.", _LAYER + "mlp."


def _sizes(config: DecoderConfig) -> Mapping[str, int]:
    return {
        "v": config.vocabulary,
        "d": config.width,
        "l": config.layers,
        "n": config.heads,
        "k": config.key_heads,
        "h": config.head_width,
        # Norms over all heads of q and k, as one axis.
        "a": config.heads * config.head_width,
        "b": config.key_heads * config.head_width,
        "f": config.mlp_width,
        "e": config.outputs,
    }


def norms(**names: str) -> list[Rule]:
    """target=source, of the norms that a layer has around its parts."""
    return [rule for target, source in names.items() for rule in norm(_LAYER + source, f"layers.{target}")]


def _attention(name: str, target: str, outputs: str, inputs: str) -> tuple[Rule, Rule]:
    return linear(ATTENTION + name, f"layers.{target}", outputs, inputs)


def _mlp(name: str, target: str, outputs: str, inputs: str) -> tuple[Rule, Rule]:
    return linear(MLP + name, f"layers.{target}", outputs, inputs)


QKV = [*_attention("q_proj", "q", "n h", "d"), *_attention("k_proj", "k", "k h", "d"), *_attention("v_proj", "v", "k h", "d")]
OUT = [*_attention("o_proj", "out", "d", "n h")]
_QK_NORM = [*norm(ATTENTION + "q_norm", "layers.q_norm", "h"), *norm(ATTENTION + "k_norm", "layers.k_norm", "h")]
GATED = [*_mlp("gate_proj", "gate", "f", "d"), *_mlp("up_proj", "up", "f", "d"), *_mlp("down_proj", "down", "d", "f")]
_GATE_UP = [
    *fused(MLP + "gate_up_proj.weight", ("layers.gate.w", "f d -> d f"), ("layers.up.w", "f d -> d f")),
    *_mlp("down_proj", "down", "d", "f"),
]
LLAMA_NORMS = norms(attention_norm="input_layernorm", mlp_norm="post_attention_layernorm")


def table(*rules: list[Rule], last: tuple[Rule, Rule] = norm("norm", "norm")) -> Table:
    """Returns the rules of a decoder whose layers are described. last: of its final norm."""
    return Table(
        rules=(
            Rule("embed_tokens.weight", "words", "v d"),
            *(rule for some in rules for rule in some),
            *last,
            Rule("/linear.weight", "linear.w", "e d -> d e"),
        ),
        ignored=(
            Ignore(r"lm_head\..*|score\..*", because="the heads come after the hidden states"),
            Ignore(r"(model\.)?layers\.\d+\.self_attn\.rotary_emb\.inv_freq", because="computed from the config"),
            Ignore(r"(model\.)?rotary_emb\.\w*inv_freq", because="computed from the config"),
        ),
        prefixes=("", "model."),
        sizes=_sizes,
    )


LLAMA = table(LLAMA_NORMS, QKV, _QK_NORM, OUT, GATED)
ARCEE = table(LLAMA_NORMS, QKV, OUT, [*_mlp("up_proj", "up", "f", "d"), *_mlp("down_proj", "down", "d", "f")])
PHI3 = table(
    LLAMA_NORMS,
    list(
        fused(
            ATTENTION + "qkv_proj.weight",
            ("layers.q.w", "(n h) d -> d n h"),
            ("layers.k.w", "(k h) d -> d k h"),
            ("layers.v.w", "(k h) d -> d k h"),
        )
    ),
    OUT,
    _GATE_UP,
)
GLM = table(LLAMA_NORMS, QKV, OUT, _GATE_UP)
GLM4 = table(LLAMA_NORMS, norms(attention_end="post_self_attn_layernorm", mlp_end="post_mlp_layernorm"), QKV, OUT, _GATE_UP)
OLMO2 = table(
    norms(attention_end="post_attention_layernorm", mlp_end="post_feedforward_layernorm"),
    QKV,
    [*norm(ATTENTION + "q_norm", "layers.q_norm", "a"), *norm(ATTENTION + "k_norm", "layers.k_norm", "b")],
    OUT,
    GATED,
)
STARCODER2 = table(LLAMA_NORMS, QKV, OUT, [*_mlp("c_fc", "up", "f", "d"), *_mlp("c_proj", "down", "d", "f")])
GEMMA2 = table(
    norms(
        attention_norm="input_layernorm",
        attention_end="post_attention_layernorm",
        mlp_norm="pre_feedforward_layernorm",
        mlp_end="post_feedforward_layernorm",
    ),
    QKV,
    _QK_NORM,
    OUT,
    GATED,
)
