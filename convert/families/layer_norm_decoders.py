"""Decoders with layer norms, most of them with attention and MLP side by side: StableLM, Phi-2, OLMo, Nemotron, Cohere."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxembed.convert.families.decoder import ATTENTION, GATED, LLAMA_NORMS, MLP, OUT, QKV, norms, table
from jaxembed.convert.families.decoder_configs import read, window_layer
from jaxembed.convert.mapping.keys import layer_types
from jaxembed.convert.mapping.rules import Table, linear, norm
from jaxembed.errors import UnsupportedModelError
from jaxembed.layers.rotary import Rotary
from jaxembed.models.decoder import DecoderConfig

Config = Mapping[str, Any]


def _rotary(config: Config, part: float = 1.0, *, theta: float = 10_000.0) -> Rotary:
    """part, theta: the share of a head that turns, and the base, where the config is silent."""
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return Rotary.from_config(config, width, part=part, theta=theta)


def _no_norms_of_heads(config: Config, key: str = "qk_layernorm") -> None:
    if config.get(key):
        raise UnsupportedModelError(f"{key} is not supported: its norms have numbers of their own for each head.")


def stablelm(config: Config) -> DecoderConfig:
    """StableLM: a quarter of each head turns; biases on q, k and v only if the config says so."""
    _no_norms_of_heads(config)
    return read(
        config,
        rotary=_rotary(config, 0.25),
        norm="layer",
        epsilon=config["layer_norm_eps"],
        qkv_bias=bool(config.get("use_qkv_bias")),
        out_bias=False,
        parallel=bool(config.get("use_parallel_residual")),
    )


def phi(config: Config) -> DecoderConfig:
    """Phi-1.5 and Phi-2: attention and an MLP without a gate beside it, biases everywhere, half of each head turns."""
    _no_norms_of_heads(config)
    own = {"norm": "layer", "epsilon": config["layer_norm_eps"], "qkv_bias": True, "out_bias": True, "mlp_bias": True}
    return read(config, rotary=_rotary(config, 0.5), gated=False, parallel=True, **own)


def olmo(config: Config) -> DecoderConfig:
    """OLMo: a Llama whose norms have no numbers of their own."""
    return read(config, norm="bare", epsilon=1e-5)


def nemotron(config: Config) -> DecoderConfig:
    """Nemotron: layer norms stored less one, an MLP without a gate whose activation is squared, half of each head turns."""
    return read(
        config,
        rotary=_rotary(config, 0.5),
        norm="layer_one",
        epsilon=config["norm_eps"],
        gated=False,
        mlp_bias=bool(config.get("mlp_bias")),
    )


def cohere(config: Config) -> DecoderConfig:
    """Command R: attention and MLP side by side, heads turn in neighboring pairs, norms without a bias."""
    _no_norms_of_heads(config, "use_qk_norm")
    return _cohere(config, _rotary(config, theta=500_000.0))


def _cohere(config: Config, rotary: Rotary) -> DecoderConfig:
    own = {"norm": "layer_scale", "epsilon": config["layer_norm_eps"], "interleaved": True, "parallel": True}
    return read(config, rotary=rotary, **own)


def cohere2(config: Config) -> DecoderConfig:
    """Command R7B: a Command R in which three of four layers slide, and those that do not have no positions."""
    count, window = config["num_hidden_layers"], config.get("sliding_window", 4096)
    every = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or 4
    names = layer_types(
        config,
        ["sliding_attention" if (i + 1) % every else "full_attention" for i in range(count)],
        ("full_attention", "sliding_attention"),
    )
    rotary = _rotary(config)
    found = _cohere(config, rotary)
    kinds = {
        "sliding_attention": window_layer(window, rotary, causal=found.causal),
        "full_attention": window_layer(None, None, causal=found.causal),
    }
    return replace(found, layer_types=tuple(kinds[name] for name in names))


_INPUT_NORM = norms(attention_norm="input_layernorm")
STABLELM: Table = table(LLAMA_NORMS, QKV, OUT, GATED)
PHI: Table = table(
    _INPUT_NORM,
    QKV,
    [*linear(ATTENTION + "dense", "layers.out", "d", "n h")],
    [*linear(MLP + "fc1", "layers.up", "f", "d"), *linear(MLP + "fc2", "layers.down", "d", "f")],
    last=norm("final_layernorm", "norm"),
)
OLMO: Table = table(QKV, OUT, GATED)
NEMOTRON: Table = table(
    LLAMA_NORMS,
    QKV,
    OUT,
    [*linear(MLP + "up_proj", "layers.up", "f", "d"), *linear(MLP + "down_proj", "layers.down", "d", "f")],
)
COHERE: Table = table(_INPUT_NORM, QKV, OUT, GATED)
