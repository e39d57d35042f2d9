"""What the configs of Llama-like decoders say, each into the one `DecoderConfig`. The names of tensors are in `decoder.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jaxembed.convert.mapping.keys import layer_types
from jaxembed.errors import UnsupportedModelError
from jaxembed.layers import activation
from jaxembed.layers.rotary import Rotary
from jaxembed.models.decoder import DecoderConfig, LayerType

Config = Mapping[str, Any]


def read(config: Config, *, head_width: int | None = None, rotary: Rotary | None = None, **own: Any) -> DecoderConfig:
    """Reads what nearly all decoders call the same.

    head_width: where the config is silent. rotary: in place of what `rope_parameters` say. own: fields of `DecoderConfig` that
    the family fixes. A `is_causal` or `is_decoder` of false, or bidirectional attention, makes it see both ways.
    """
    heads = config["num_attention_heads"]
    # Every key that any Llama-like config may hold and that this function answers for is read, whatever it says.
    both_ways = (
        config.get("is_causal", True) is False
        or config.get("is_decoder") is False
        or bool(config.get("use_bidirectional_attention"))
    )
    key_heads = config.get("num_key_value_heads") or heads
    if heads % key_heads:
        raise UnsupportedModelError(f"{heads} attention heads cannot share {key_heads} num_key_value_heads evenly.")
    head_width = config.get("head_dim") or head_width or _head_width(config)
    count = config["num_hidden_layers"]
    causal = own.pop("causal", not both_ways)
    windows = own.pop("windows", None) or (None,) * count
    if "layer_types" not in own:
        rotary = rotary or Rotary.from_config(config, head_width)
        own["layer_types"] = tuple(window_layer(window, rotary, causal=causal) for window in windows)
    bias = bool(config.get("attention_bias"))
    given = {"scale": head_width**-0.5, "qkv_bias": bias, "out_bias": bias, "epsilon": config.get("rms_norm_eps"), **own}
    if given["epsilon"] is None:
        raise KeyError("rms_norm_eps")
    return DecoderConfig(
        vocabulary=config["vocab_size"],
        width=config["hidden_size"],
        layers=count,
        heads=heads,
        key_heads=key_heads,
        head_width=head_width,
        mlp_width=config["intermediate_size"],
        activation=activation(config.get("hidden_activation") or config["hidden_act"]),
        longest=config["max_position_embeddings"],
        causal=causal,
        **given,
    )


def _head_width(config: Config) -> int:
    return int(config["hidden_size"] // config["num_attention_heads"])


def window_layer(window: int | None, rotary: Rotary | None, *, causal: bool) -> LayerType:
    """A layer whose window counts the token itself; without causality it opens both ways."""
    if window is None:
        return LayerType(None, None, rotary)
    if window < 1:
        raise UnsupportedModelError(f"a sliding_window of {window} is not supported: it counts the token itself.")
    return LayerType(window - 1, None if causal else window - 1, rotary)


def _types(config: Config, otherwise: Sequence[str]) -> list[str]:
    return layer_types(config, otherwise, ("full_attention", "sliding_attention"))


def llama(config: Config) -> DecoderConfig:
    """Llama, and what calls itself one."""
    return read(config, mlp_bias=bool(config.get("mlp_bias")))


def llama_bidirectional(config: Config) -> DecoderConfig:
    """A Llama trained to see both ways (llama-nemotron-embed)."""
    return read(config, mlp_bias=bool(config.get("mlp_bias")), causal=False)


def mistral(config: Config) -> DecoderConfig:
    """Mistral: every layer slides, unless the config says that there is no window."""
    windows = (config.get("sliding_window", 4096),) * config["num_hidden_layers"]
    return read(config, windows=windows, qkv_bias=False, out_bias=False)


def gritlm(config: Config) -> DecoderConfig:
    """GritLM when it embeds: a Mistral that sees all of its text, both ways, without its window."""
    config.get("sliding_window")
    return read(config, causal=False, qkv_bias=False, out_bias=False)


def qwen2(config: Config) -> DecoderConfig:
    """Qwen2: biases on q, k and v whatever `attention_bias` says."""
    return read(config, windows=_qwen_windows(config), qkv_bias=True, out_bias=False)


def qwen3(config: Config) -> DecoderConfig:
    """Qwen3: norms on q and k, heads of 128 unless it says otherwise."""
    return read(config, windows=_qwen_windows(config), qk_norm="head", head_width=128)


def voyage(config: Config) -> DecoderConfig:
    """voyage-4-nano: a Qwen3 that sees both ways, with a linear layer before pooling."""
    windows = _qwen_windows(config)
    return read(config, windows=windows, qk_norm="head", head_width=128, causal=False, outputs=config["num_labels"])


def jina5(config: Config) -> DecoderConfig:
    """Jina v5: a Qwen3, or a EuroBERT where it is no decoder; `jina_task` says whose adapter is merged, as in vLLM.

    None is for weights that have it in them already.
    """
    tasks, task = list(config.get("task_names") or []), config.get("jina_task", "retrieval")
    if task is not None and task not in tasks:
        raise UnsupportedModelError(f"jina_task {task!r} is not among the tasks of this model: {', '.join(tasks)}.")
    adapter = "" if task is None else f"adapters/{task}"
    return replace(llama(config) if config.get("is_decoder") is False else qwen3(config), adapter=adapter)


def _qwen_windows(config: Config) -> tuple[int | None, ...]:
    """Each layer's window: from `layer_types`, or from `max_window_layers` in checkpoints older than that key."""
    count, window, sliding = config["num_hidden_layers"], config.get("sliding_window", 4096), config.get("use_sliding_window")
    full = config.get("max_window_layers", 28)
    layer_types = _types(config, ["full_attention" if i < full else "sliding_attention" for i in range(count)])
    if not sliding or window is None:
        return (None,) * count
    return tuple(window if name == "sliding_attention" else None for name in layer_types)


def phi3(config: Config) -> DecoderConfig:
    """Phi-3: the old names of its rope all mean longrope, and its first length stands outside the scaling."""
    scaling = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    rope = scaling.pop("rope_type", None) or scaling.pop("type", None) or "default"
    scaling["rope_type"] = "longrope" if rope in ("su", "yarn") else rope
    if scaling["rope_type"] == "longrope":
        scaling["original_max_position_embeddings"] = config.get("original_max_position_embeddings", 4096)
    theta = scaling.pop("rope_theta", None) or config.get("rope_theta") or 10000.0
    part = scaling.pop("partial_rotary_factor", None) or config.get("partial_rotary_factor") or 1.0
    rotary = Rotary.scaled(scaling, int(_head_width(config) * part), float(theta), config["max_position_embeddings"])
    windows = (config.get("sliding_window"),) * config["num_hidden_layers"]
    return read(config, rotary=rotary, windows=windows, qkv_bias=False, out_bias=False)


def olmo2(config: Config) -> DecoderConfig:
    """OLMo 2: norms behind each part instead of before it, and over all heads of q and k."""
    return read(config, qk_norm="all", before=False, after=True)


def olmo3(config: Config) -> DecoderConfig:
    """OLMo 3: an OLMo 2 in which three of four layers slide, and only the full ones may be scaled."""
    count, window = config["num_hidden_layers"], config.get("sliding_window", 4096)
    layer_types = _types(config, ["sliding_attention" if (i + 1) % 4 else "full_attention" for i in range(count)])
    width = config.get("head_dim") or _head_width(config)
    local, full = _two_rotaries(config, width, local=500_000.0, full=500_000.0)
    layers = {"sliding_attention": LayerType(window - 1, None, local), "full_attention": LayerType(None, None, full)}
    return read(config, layer_types=tuple(layers[name] for name in layer_types), qk_norm="all", before=False, after=True)


def ernie45(config: Config) -> DecoderConfig:
    """ERNIE 4.5: a Llama whose heads turn in neighboring pairs."""
    bias = bool(config.get("use_bias"))
    rotary = Rotary.from_config(config, config.get("head_dim") or 128, theta=500_000.0)
    return read(config, rotary=rotary, head_width=128, interleaved=True, qkv_bias=bias, out_bias=bias, mlp_bias=bias)


def helium(config: Config) -> DecoderConfig:
    """Helium: another Llama whose heads turn in neighboring pairs."""
    rotary = Rotary.from_config(config, config.get("head_dim") or 128, theta=100_000.0)
    return read(config, rotary=rotary, head_width=128, interleaved=True, out_bias=False, mlp_bias=bool(config.get("mlp_bias")))


def seed_oss(config: Config) -> DecoderConfig:
    """Seed-OSS: a Llama with biases on q, k and v, and one on the output only if `attention_out_bias` says so."""
    qkv, out = bool(config.get("attention_bias", True)), bool(config.get("attention_out_bias"))
    return read(config, head_width=128, qkv_bias=qkv, out_bias=out, mlp_bias=bool(config.get("mlp_bias")))


def arcee(config: Config) -> DecoderConfig:
    """Arcee: a Llama whose MLP has no gate."""
    return read(config, gated=False, mlp_bias=bool(config.get("mlp_bias")))


def granite(config: Config) -> DecoderConfig:
    """Granite: multipliers on embeddings, attention and what each part adds."""
    return read(
        config,
        mlp_bias=bool(config.get("mlp_bias")),
        scale=config["attention_multiplier"],
        embedding_scale=config["embedding_multiplier"],
        residual_scale=config["residual_multiplier"],
    )


def glm(config: Config) -> DecoderConfig:
    """GLM: half of each head turns, in neighboring pairs."""
    return read(config, **_glm(config))


def glm4(config: Config) -> DecoderConfig:
    """GLM-4: a GLM with norms on both sides of each part."""
    return read(config, after=True, **_glm(config))


def _glm(config: Config) -> dict[str, Any]:
    width, bias = config.get("head_dim", 128) or _head_width(config), bool(config.get("attention_bias", True))
    rotary = Rotary.from_config(config, width, part=0.5)
    return {"rotary": rotary, "head_width": width, "interleaved": True, "qkv_bias": bias, "out_bias": False}


def starcoder2(config: Config) -> DecoderConfig:
    """StarCoder2: layer norms, biases everywhere, an MLP without a gate."""
    bias = bool(config.get("use_bias", True))
    windows = (config.get("sliding_window"),) * config["num_hidden_layers"]
    own = {"norm": "layer", "gated": False, "epsilon": config["norm_epsilon"], "windows": windows}
    return read(config, qkv_bias=bias, out_bias=bias, mlp_bias=bias, **own)


def gemma(config: Config) -> DecoderConfig:
    """Gemma: embeddings times the root of the width, norms stored less one; its "gelu" always meant the tanh form."""
    found = read(config, norm="one", embedding_scale=config["hidden_size"] ** 0.5, head_width=256)
    return replace(found, activation="gelu_pytorch_tanh") if found.activation == "gelu" else found


def gemma2(config: Config) -> DecoderConfig:
    """Gemma 2: norms on both sides of each part, capped scores, every other layer slides."""
    count = config["num_hidden_layers"]
    layer_types = _types(config, ["full_attention" if i % 2 else "sliding_attention" for i in range(count)])
    window = config.get("sliding_window", 4096)
    return read(
        config,
        windows=tuple(window if name == "sliding_attention" else None for name in layer_types),
        norm="one",
        after=True,
        head_width=256,
        scale=config.get("query_pre_attn_scalar", 256) ** -0.5,
        softcap=config.get("attn_logit_softcapping", 50.0),
        embedding_scale=config["hidden_size"] ** 0.5,
    )


def gemma3(config: Config) -> DecoderConfig:
    """Gemma 3 and EmbeddingGemma: five sliding layers to a full one, each with a rope of its own, norms on q and k.

    Where it sees both ways, a window of w reaches w // 2 tokens to either side.
    """
    count, window = config["num_hidden_layers"], config.get("sliding_window", 4096)
    pattern = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or 6
    layer_types = _types(config, ["sliding_attention" if (i + 1) % pattern else "full_attention" for i in range(count)])
    width = config.get("head_dim") or 256
    both_ways = bool(config.get("use_bidirectional_attention"))
    if config.get("attn_logit_softcapping") is not None:
        raise UnsupportedModelError("attn_logit_softcapping is not supported for Gemma 3, whose reference ignores it.")
    local, full = _two_rotaries(config, width, local=10_000.0, full=1_000_000.0)
    reach = window // 2 if both_ways else window - 1
    sliding = LayerType(reach, reach if both_ways else None, local)
    return read(
        config,
        layer_types=tuple(sliding if name == "sliding_attention" else LayerType(None, None, full) for name in layer_types),
        norm="one",
        after=True,
        head_width=256,
        qk_norm="head",
        scale=config.get("query_pre_attn_scalar", 256) ** -0.5,
        embedding_scale=config["hidden_size"] ** 0.5,
    )


def _two_rotaries(config: Config, width: int, *, local: float, full: float) -> tuple[Rotary, Rotary]:
    """The ropes of sliding and full layers, by their default bases; before transformers 5 only the full ones were scaled."""
    if isinstance((config.get("rope_parameters") or {}).get("full_attention"), Mapping):
        return (
            Rotary.from_config(config, width, theta=local, layer_type="sliding_attention"),
            Rotary.from_config(config, width, theta=full, layer_type="full_attention"),
        )
    near = config.get("rope_local_base_freq") or local
    return Rotary.scaled({}, width, float(near), config["max_position_embeddings"]), Rotary.from_config(
        config, width, theta=full
    )


def smollm3(config: Config) -> DecoderConfig:
    """SmolLM3: a Llama in which every fourth layer has no positions, and those alone may slide."""
    count = config["num_hidden_layers"]
    every = config.get("no_rope_layer_interval", 4)
    turns = config.get("no_rope_layers") or [int((i + 1) % every != 0) for i in range(count)]
    if len(turns) < count:
        raise UnsupportedModelError(f"config.json says no_rope_layers of {len(turns)} layers, and there are {count}.")
    turns = turns[:count]
    window = config.get("sliding_window") if config.get("use_sliding_window") else None
    layer_types = _types(config, ["full_attention" if turn else "sliding_attention" for turn in turns])
    rotary = Rotary.from_config(config, config.get("head_dim") or _head_width(config), theta=2_000_000.0)
    windows = [window if name == "sliding_attention" else None for name in layer_types]
    found = read(config, rotary=rotary, mlp_bias=bool(config.get("mlp_bias")))
    layers = [window_layer(w, rotary if turn else None, causal=found.causal) for w, turn in zip(windows, turns, strict=True)]
    return replace(found, layer_types=tuple(layers))
