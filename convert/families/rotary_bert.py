"""GTE, NomicBERT, jina v2 and v3: what their configs and tensors are called, in public checkpoints and by transformers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxembed.convert.mapping.rules import Ignore, Rule, Table, fused, linear, norm
from jaxembed.errors import UnsupportedModelError
from jaxembed.layers import activation
from jaxembed.layers.rotary import Rotary
from jaxembed.models.rotary_bert import RotaryBertConfig

Config = Mapping[str, Any]


def _read(config: Config, **own: Any) -> RotaryBertConfig:
    """What GTE, jina and transformers' NomicBERT call the same."""
    return RotaryBertConfig(
        vocabulary=config["vocab_size"],
        types=config["type_vocab_size"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        mlp_width=config["intermediate_size"],
        epsilon=config["layer_norm_eps"],
        longest=config["max_position_embeddings"],
        **{"activation": activation(config["hidden_act"]), **own} if "activation" not in own else own,
    )


def _head_width(config: Config) -> int:
    return int(config["hidden_size"] // config["num_attention_heads"])


def read_gte(config: Config) -> RotaryBertConfig:
    """GTE: `hidden_act` names the gate's activation; the fixed NTK scaling stands in `rope_scaling`."""
    named = config.get("position_embedding_type", "rope")
    if named != "rope":
        raise UnsupportedModelError(f"position_embedding_type {named!r} is not supported for GTE; only 'rope' is.")
    return _read(config, rotary=Rotary.from_config(config, _head_width(config), theta=160_000.0), gated=True)


def read_nomic(config: Config) -> RotaryBertConfig:
    """NomicBERT, with the names of GPT-2 (public) or of transformers."""
    if "n_embd" in config:
        return _read_public_nomic(config)
    rotary = Rotary.from_config(config, config.get("head_dim") or _head_width(config), theta=1000.0)
    return _read(config, rotary=rotary, gated=True, qkv_bias=False, out_bias=False, down_bias=False)


def _read_public_nomic(config: Config) -> RotaryBertConfig:
    gates = {"swiglu": "silu", "geglu": "gelu", "glu": "sigmoid"}
    act: str = config["activation_function"]
    width, heads = config["n_embd"], config["n_head"]
    experts, every = config.get("num_experts") or 0, config.get("moe_every_n_layers") or 0
    experts = experts if every > 0 and experts > 1 else 0
    if experts and (every != 2 or config["n_layer"] % 2):
        raise UnsupportedModelError(f"moe_every_n_layers {every} of {config['n_layer']} layers is not supported; 2 is.")
    for key in ("num_shared_experts", "expert_choice_router", "moe_normalize_expert_weights"):
        if experts and config.get(key):
            raise UnsupportedModelError(f"{key} {config[key]!r} is not supported for NomicBERT.")
    chosen = config.get("moe_top_k", 1) if experts else 0
    if chosen > experts:
        raise UnsupportedModelError(f"moe_top_k {chosen} of {experts} experts cannot be.")
    return RotaryBertConfig(
        vocabulary=config["vocab_size"],
        types=config["type_vocab_size"],
        width=width,
        layers=config["n_layer"],
        heads=heads,
        mlp_width=config.get("n_inner") or 4 * width,
        activation=activation(gates.get(act, act)),
        epsilon=config["layer_norm_epsilon"],
        longest=config["n_positions"],
        rotary=_nomic_rotary(config, width // heads),
        gated=act in gates,
        qkv_bias=config["qkv_proj_bias"],
        out_bias=config["qkv_proj_bias"],
        up_bias=config["mlp_fc1_bias"],
        down_bias=config["mlp_fc2_bias"],
        experts=experts,
        chosen=chosen,
    )


def _nomic_rotary(config: Config, head_width: int) -> Rotary:
    """Dynamic NTK above the trained length, unless the config is given another scaling."""
    fraction = config.get("rotary_emb_fraction", 1.0)
    if fraction <= 0:
        raise UnsupportedModelError(f"rotary_emb_fraction {fraction} is not supported: there would be no positions.")
    scaling = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    theta = scaling.pop("rope_theta", None) or config.get("rotary_emb_base", 10_000.0)
    factor, trained = config.get("rotary_scaling_factor"), config.get("max_trained_positions", 2048)
    if not scaling and factor:
        scaling = {"rope_type": "dynamic", "factor": float(factor)}
    return Rotary.scaled(scaling, int(head_width * fraction), float(theta), trained)


def read_jina3(config: Config) -> RotaryBertConfig:
    """Jina v3: a rotary XLM-RoBERTa; `jina_task` says whose adapter is applied, `text-matching` by default, as in vLLM.

    None is for no adapter, which is what the checkpoint's own code does where no task is given.
    """
    native = config.get("model_type") == "jina_embeddings_v3" and "rotary_emb_base" not in config
    if native or "rope_parameters" in config:
        rotary = Rotary.from_config(config, _head_width(config), theta=20_000.0)
    else:
        theta = float(config.get("rotary_emb_base", 10_000.0))
        rotary = Rotary.scaled({}, _head_width(config), theta, config["max_position_embeddings"])
    names = list(config.get("lora_adaptations") or [])
    task = config.get("jina_task", "text-matching")
    if names and task is not None and task not in names:
        raise UnsupportedModelError(
            f"lora_adaptations lack {task!r}, the task that is applied; there are {', '.join(names)}, one of which may be "
            "jina_task in hf_overrides."
        )
    return _read(
        config,
        rotary=rotary,
        gated=False,
        up_bias=True,
        tasks=len(names),
        rank=config["lora_rank"] if names else 0,
        adapter_scale=config["lora_alpha"] / config["lora_rank"] if names else 1.0,
        task=names.index(task) if names and task is not None else -1 if names else 0,
    )


def read_jina2(config: Config) -> RotaryBertConfig:
    """Jina v2: ALiBi instead of positions, and a gate whose activation is in `feed_forward_type`."""
    gates = {"geglu": "gelu", "reglu": "relu"}
    named = config.get("feed_forward_type", "original")
    if config["position_embedding_type"] != "alibi" or named not in gates:
        raise UnsupportedModelError(
            f"feed_forward_type {named!r} with position_embedding_type {config['position_embedding_type']!r} is not supported "
            "for jina v2; geglu or reglu with alibi are."
        )
    # The two implementations have one config; which it is stands in the name of the code that neither of us runs.
    normed = "qk-post-norm" in str(config.get("auto_map"))
    return _read(config, rotary=None, gated=True, activation=gates[named], qk_norm=normed)


def _sizes(config: RotaryBertConfig) -> Mapping[str, int]:
    return {
        "v": config.vocabulary,
        "y": config.types,
        "d": config.width,
        "l": config.layers,
        "n": config.heads,
        "h": config.width // config.heads,
        "f": config.mlp_width,
        "x": config.experts,
        "a": config.tasks,
        "r": config.rank,
        "c": 3 * config.width,
    }


def _stacks(config: RotaryBertConfig) -> Mapping[str, range]:
    return {"pairs.plain": range(0, config.layers, 2), "pairs.experts": range(1, config.layers, 2)} if config.experts else {}


def _qkv(source: str, stack: str, weight: str = "weight") -> list[Rule]:
    return [
        *fused(f"{source}.{weight}", *((f"{stack}.{part}.w", "(n h) d -> d n h") for part in "qkv")),
        *fused(f"{source}.bias", *((f"{stack}.{part}.b", "(n h) -> n h") for part in "qkv")),
    ]


def _separate(at: str, *names: str) -> list[Rule]:
    """names: of q, k and v."""
    return [rule for part, name in zip("qkv", names, strict=True) for rule in linear(at + name, f"layers.{part}", "n h", "d")]


def _adapters(source: str, target: str, inputs: str, outputs: str) -> list[Rule]:
    at = f"{source}.parametrizations.weight.0."
    return [Rule(at + "lora_A", f"{target}.down", f"a r {inputs}"), Rule(at + "lora_B", f"{target}.up", f"a {outputs} r")]


def _table(first_norm: str, prefixes: tuple[str, ...], *rules: list[Rule], weight: str = "weight") -> Table:
    """first_norm: of the embeddings; weight: what the tensor of a weight is called."""
    return Table(
        rules=(
            Rule(f"embeddings.word_embeddings.{weight}", "embeddings.words", "v d"),
            Rule(f"embeddings.token_type_embeddings.{weight}", "embeddings.types", "y d"),
            *norm(first_norm, "embeddings.norm"),
            *(rule for some in rules for rule in some),
        ),
        ignored=(
            Ignore(r"(\w+\.)?pooler\..*", because="the pooler comes after the hidden states"),
            Ignore(r"(cls|lm_head|classifier)\..*", because="task heads come after the hidden states"),
            Ignore(r"(\w+\.)?embeddings\.position_ids", because="a table 0, 1, 2, ... that old versions saved"),
            Ignore(r"(\w+\.)?(.*\.)?rotary_emb\.\w*inv_freq", because="computed from the config"),
        ),
        prefixes=prefixes,
        sizes=_sizes,
        stacks=_stacks,
    )


def _parts(at: str, out: str, attention_norm: str, mlp_norm: str, stack: str = "layers", weight: str = "weight") -> list[Rule]:
    """The output of attention and the two norms."""
    return [
        *linear(at + out, f"{stack}.out", "d", "n h", weight),
        *norm(at + attention_norm, f"{stack}.attention_norm"),
        *norm(at + mlp_norm, f"{stack}.mlp_norm"),
    ]


def _mlp(at: str, up: str, down: str, gate: str | None = None, stack: str = "layers", weight: str = "weight") -> list[Rule]:
    gated = linear(at + gate, f"{stack}.mlp.gate", "f", "d", weight) if gate else ()
    return [
        *gated,
        *linear(at + up, f"{stack}.mlp.up", "f", "d", weight),
        *linear(at + down, f"{stack}.mlp.down", "d", "f", weight),
    ]


_AT = "layers.{i}."
_NATIVE = [
    *_separate(_AT, "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    *_parts(_AT, "self_attn.o_proj", "post_attention_layernorm", "post_mlp_layernorm"),
]
_NATIVE_GATED = [*_NATIVE, *_mlp(_AT + "mlp.", "up_proj", "down_proj", "gate_proj")]
_GTE_AT = "encoder.layer.{i}."
_GTE = [
    *_parts(_GTE_AT, "attention.o_proj", "attn_ln", "mlp_ln"),
    *fused(_GTE_AT + "mlp.up_gate_proj.weight", ("layers.mlp.up.w", "f d -> d f"), ("layers.mlp.gate.w", "f d -> d f")),
    *linear(_GTE_AT + "mlp.down_proj", "layers.mlp.down", "d", "f"),
]
_LAYER_NORM = "embeddings.LayerNorm"
GTE = replace(
    _table(_LAYER_NORM, ("", "new.", "gte."), _qkv(_GTE_AT + "attention.qkv_proj", "layers"), _GTE),
    others=(
        _table(_LAYER_NORM, ("", "new."), _separate(_GTE_AT + "attention.", "q_proj", "k_proj", "v_proj"), _GTE),
        _table(_LAYER_NORM, ("", "gte."), _NATIVE_GATED),
    ),
)


def _nomic(stack: str) -> list[Rule]:
    """A layer of NomicBERT, whose stack tells if it has experts; what it has not is no parameter."""
    at, mlp = "encoder.layers.{i}.", "encoder.layers.{i}.mlp."
    experts = f"{stack}.mlp."
    return [
        *_qkv(at + "attn.Wqkv", stack),
        *_parts(at, "attn.out_proj", "norm1", "norm2", stack),
        *_mlp(mlp, "fc11", "fc2", "fc12", stack),
        Rule(mlp + "router.layer.weight", experts + "router", "x d -> d x"),
        Rule(mlp + "experts.mlp.w1", experts + "up", "(x f) d -> x d f"),
        Rule(mlp + "experts.mlp.w2", experts + "down", "(x f) d -> x f d"),
        Rule(mlp + "experts.bias", experts + "b", "d"),
    ]


def _without_gate(rules: list[Rule]) -> list[Rule]:
    """Where there is no gate the layer into the MLP is called fc1."""
    return [replace(rule, source=rule.source.replace("fc11", "fc1")) for rule in rules if ".gate." not in rule.target]


_NOMIC = ("", "nomic_bert.", "bert.")
NOMIC = replace(
    _table("emb_ln", _NOMIC, _nomic("layers")),
    others=(
        _table("emb_ln", _NOMIC, _without_gate([*_nomic("layers"), *_nomic("pairs.plain"), *_nomic("pairs.experts")])),
        _table(_LAYER_NORM, _NOMIC, _NATIVE_GATED),
    ),
)


def _jina3(weight: str) -> list[Rule]:
    at = "encoder.layers.{i}."
    return [
        *_qkv(at + "mixer.Wqkv", "layers", weight),
        *_parts(at, "mixer.out_proj", "norm1", "norm2", weight=weight),
        *_mlp(at, "mlp.fc1", "mlp.fc2", weight=weight),
    ]


_ORIGINAL = "parametrizations.weight.original"
_JINA3_AT = "encoder.layers.{i}."
_EMBEDDED = "parametrizations.weight.0.lora_"
_JINA3_ADAPTERS = [
    *_adapters(_JINA3_AT + "mixer.Wqkv", "layers.qkv_adapters", "d", "c"),
    *_adapters(_JINA3_AT + "mixer.out_proj", "layers.out_adapters", "d", "d"),
    *_adapters(_JINA3_AT + "mlp.fc1", "layers.mlp.up_adapters", "d", "f"),
    *_adapters(_JINA3_AT + "mlp.fc2", "layers.mlp.down_adapters", "f", "d"),
    # A and B change places in embeddings.
    Rule(f"embeddings.word_embeddings.{_EMBEDDED}A", "embeddings.word_low", "a v r"),
    Rule(f"embeddings.word_embeddings.{_EMBEDDED}B", "embeddings.word_up", "a r d"),
    Rule(f"embeddings.token_type_embeddings.{_EMBEDDED}A", "embeddings.type_low", "a y r"),
    Rule(f"embeddings.token_type_embeddings.{_EMBEDDED}B", "embeddings.type_up", "a r d"),
]
_JINA3 = ("", "roberta.")
JINA3 = replace(
    _table("emb_ln", _JINA3, _jina3("weight")),
    others=(
        _table("emb_ln", _JINA3, _jina3(_ORIGINAL), _JINA3_ADAPTERS, weight=_ORIGINAL),
        _table(_LAYER_NORM, _JINA3, [*_NATIVE, *_mlp(_AT, "mlp.fc1", "mlp.fc2")]),
    ),
)

_JINA2 = [
    *_separate(_GTE_AT + "attention.self.", "query", "key", "value"),
    *linear(_GTE_AT + "attention.output.dense", "layers.out", "d", "n h"),
    *norm(_GTE_AT + "attention.output.LayerNorm", "layers.attention_norm"),
]
JINA2 = replace(
    _table(
        _LAYER_NORM,
        ("", "bert."),
        _JINA2,
        [
            *fused(_GTE_AT + "mlp.gated_layers.weight", ("layers.mlp.gate.w", "f d -> d f"), ("layers.mlp.up.w", "f d -> d f")),
            *linear(_GTE_AT + "mlp.wo", "layers.mlp.down", "d", "f"),
            *norm(_GTE_AT + "mlp.layernorm", "layers.mlp_norm"),
        ],
    ),
    others=(
        _table(
            _LAYER_NORM,
            ("", "bert."),
            _JINA2,
            [
                *norm(_GTE_AT + "attention.self.layer_norm_q", "layers.q_norm"),
                *norm(_GTE_AT + "attention.self.layer_norm_k", "layers.k_norm"),
                *norm(_GTE_AT + "layer_norm_1", "layers.again_norm"),
                *fused(
                    _GTE_AT + "mlp.up_gated_layer.weight",
                    ("layers.mlp.up.w", "f d -> d f"),
                    ("layers.mlp.gate.w", "f d -> d f"),
                ),
                *linear(_GTE_AT + "mlp.down_layer", "layers.mlp.down", "d", "f"),
                *norm(_GTE_AT + "layer_norm_2", "layers.mlp_norm"),
            ],
        ),
    ),
)
