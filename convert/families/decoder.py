"""The tensors of Llama-like decoders: `XModel` saves bare names, `XForCausalLM` puts `model.` before them."""

from collections.abc import Mapping

from jaxembed.convert.rules import Ignore, Rule, Table, fused
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


def _projection(name: str, target: str, heads: str) -> list[Rule]:
    return [
        Rule(f"{_ATTENTION}{name}.weight", f"layers.{target}.w", f"({heads} h) d -> d {heads} h"),
        Rule(f"{_ATTENTION}{name}.bias", f"layers.{target}.b", f"({heads} h) -> {heads} h"),
    ]


def _linear(name: str, target: str, dims: str) -> list[Rule]:
    """dims: outputs, then inputs."""
    outputs, inputs = dims.split()
    return [
        Rule(f"{_MLP}{name}.weight", f"layers.{target}.w", f"{outputs} {inputs} -> {inputs} {outputs}"),
        Rule(f"{_MLP}{name}.bias", f"layers.{target}.b", outputs),
    ]


def _norm(source: str, target: str, dims: str = "d") -> list[Rule]:
    return [Rule(f"{source}.weight", f"{target}.scale", dims), Rule(f"{source}.bias", f"{target}.bias", dims)]


def _norms(**names: str) -> list[Rule]:
    """target=source, of the norms that a layer has around its parts."""
    return [rule for target, source in names.items() for rule in _norm(_LAYER + source, f"layers.{target}")]


_QKV = [*_projection("q_proj", "q", "n"), *_projection("k_proj", "k", "k"), *_projection("v_proj", "v", "k")]
_OUT = [
    Rule(_ATTENTION + "o_proj.weight", "layers.out.w", "d (n h) -> n h d"),
    Rule(_ATTENTION + "o_proj.bias", "layers.out.b", "d"),
]
_QK_NORM = [*_norm(_ATTENTION + "q_norm", "layers.q_norm", "h"), *_norm(_ATTENTION + "k_norm", "layers.k_norm", "h")]
_GATED = [*_linear("gate_proj", "gate", "f d"), *_linear("up_proj", "up", "f d"), *_linear("down_proj", "down", "d f")]
_GATE_UP = [
    *fused(_MLP + "gate_up_proj.weight", ("layers.gate.w", "f d -> d f"), ("layers.up.w", "f d -> d f")),
    *_linear("down_proj", "down", "d f"),
]
_LLAMA_NORMS = _norms(attention_norm="input_layernorm", mlp_norm="post_attention_layernorm")


def _table(*rules: list[Rule]) -> Table:
    return Table(
        rules=(
            Rule("embed_tokens.weight", "words", "v d"),
            *(rule for some in rules for rule in some),
            *_norm("norm", "norm"),
            Rule("linear.weight", "linear.w", "e d -> d e"),
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
    [*_norm(_ATTENTION + "q_norm", "layers.q_norm", "a"), *_norm(_ATTENTION + "k_norm", "layers.k_norm", "b")],
    _OUT,
    _GATED,
)
STARCODER2 = _table(_LLAMA_NORMS, _QKV, _OUT, [*_linear("c_fc", "up", "f d"), *_linear("c_proj", "down", "d f")])
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
