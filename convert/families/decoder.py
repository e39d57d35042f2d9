"""The tensors of Llama-like decoders: `XModel` saves bare names, `XForCausalLM` puts `model.` before them."""

from collections.abc import Mapping

from jaxembed.convert.mapping.rules import Ignore, Rule, Table, fused, linear, norm
from jaxembed.models.decoder import DecoderConfig

_LAYER = "layers.{i}."
_ATTENTION, _MLP = _LAYER + "self_attn.", _LAYER + "mlp."


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


def _norms(**names: str) -> list[Rule]:
    """target=source, of the norms that a layer has around its parts."""
    return [rule for target, source in names.items() for rule in norm(_LAYER + source, f"layers.{target}")]


def _attention(name: str, target: str, outputs: str, inputs: str) -> tuple[Rule, Rule]:
    return linear(_ATTENTION + name, f"layers.{target}", outputs, inputs)


def _mlp(name: str, target: str, outputs: str, inputs: str) -> tuple[Rule, Rule]:
    return linear(_MLP + name, f"layers.{target}", outputs, inputs)


_QKV = [*_attention("q_proj", "q", "n h", "d"), *_attention("k_proj", "k", "k h", "d"), *_attention("v_proj", "v", "k h", "d")]
_OUT = [*_attention("o_proj", "out", "d", "n h")]
_QK_NORM = [*norm(_ATTENTION + "q_norm", "layers.q_norm", "h"), *norm(_ATTENTION + "k_norm", "layers.k_norm", "h")]
_GATED = [*_mlp("gate_proj", "gate", "f", "d"), *_mlp("up_proj", "up", "f", "d"), *_mlp("down_proj", "down", "d", "f")]
_GATE_UP = [
    *fused(_MLP + "gate_up_proj.weight", ("layers.gate.w", "f d -> d f"), ("layers.up.w", "f d -> d f")),
    *_mlp("down_proj", "down", "d", "f"),
]
_LLAMA_NORMS = _norms(attention_norm="input_layernorm", mlp_norm="post_attention_layernorm")


def _table(*rules: list[Rule]) -> Table:
    return Table(
        rules=(
            Rule("embed_tokens.weight", "words", "v d"),
            *(rule for some in rules for rule in some),
            *norm("norm", "norm"),
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


LLAMA = _table(_LLAMA_NORMS, _QKV, _QK_NORM, _OUT, _GATED)
ARCEE = _table(_LLAMA_NORMS, _QKV, _OUT, [*_mlp("up_proj", "up", "f", "d"), *_mlp("down_proj", "down", "d", "f")])
PHI3 = _table(
    _LLAMA_NORMS,
    list(
        fused(
            _ATTENTION + "qkv_proj.weight",
            ("layers.q.w", "(n h) d -> d n h"),
            ("layers.k.w", "(k h) d -> d k h"),
            ("layers.v.w", "(k h) d -> d k h"),
        )
    ),
    _OUT,
    _GATE_UP,
)
GLM = _table(_LLAMA_NORMS, _QKV, _OUT, _GATE_UP)
GLM4 = _table(
    _LLAMA_NORMS, _norms(attention_end="post_self_attn_layernorm", mlp_end="post_mlp_layernorm"), _QKV, _OUT, _GATE_UP
)
OLMO2 = _table(
    _norms(attention_end="post_attention_layernorm", mlp_end="post_feedforward_layernorm"),
    _QKV,
    [*norm(_ATTENTION + "q_norm", "layers.q_norm", "a"), *norm(_ATTENTION + "k_norm", "layers.k_norm", "b")],
    _OUT,
    _GATED,
)
STARCODER2 = _table(_LLAMA_NORMS, _QKV, _OUT, [*_mlp("c_fc", "up", "f", "d"), *_mlp("c_proj", "down", "d", "f")])
GEMMA2 = _table(
    _norms(
        attention_norm="input_layernorm",
        attention_end="post_attention_layernorm",
        mlp_norm="pre_feedforward_layernorm",
        mlp_end="post_feedforward_layernorm",
    ),
    _QKV,
    _QK_NORM,
    _OUT,
    _GATED,
)
