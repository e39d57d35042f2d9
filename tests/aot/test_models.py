"""The engine's own programs compile for absent hardware, whole models of base size, with the chosen kernels inside."""

import jax
import jax.numpy as jnp
import pytest
from hardware import abstractly, device, on

from jaxembed.convert.mapping.architectures import find
from jaxembed.convert.weights.parameters import declare
from jaxembed.engine.backends import Backends
from jaxembed.engine.programs import Programs
from jaxembed.heads.recipe import Recipe
from jaxembed.heads.vectors import EMBED
from jaxembed.kernels_pallas import Target
from jaxembed.packing.planning import TABLES

pytestmark = pytest.mark.aot

CONFIGS = {
    "BERT-base": {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    },
    "Qwen3-0.6B": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": 151669,
        "hidden_size": 1024,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 3072,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "use_sliding_window": False,
    },
}
POOLING = {"BERT-base": "mean", "Qwen3-0.6B": "lasttoken"}
CALLS = {"tpu": 'custom_call_target="tpu_custom_call"', "gpu": 'custom_call_target="mosaic_gpu'}


def programs(name, kind, hardware):
    family = find(CONFIGS[name])
    config = family.read_config(CONFIGS[name])
    declared = declare(family, config, Recipe(modes=(POOLING[name],)))
    graph = declared.graph
    state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), declared.state)
    state = on(hardware, state)
    table = TABLES[kind]
    full = table.shape(table.row, table.cell)
    target = Target(kind, "NVIDIA H200" if kind == "gpu" else device(hardware).device_kind)
    return Programs(graph, state, Backends(graph, state, target, full, {})), table


@pytest.mark.parametrize(("kind", "hardware"), [("tpu", "v5e"), ("tpu", "v6e"), ("gpu", "h200")])
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("row", ["smallest", "full", "long texts"])
def test_a_models_program_compiles_with_its_kernels_inside(kind, hardware, name, row):
    made, table = programs(name, kind, hardware)
    shape = {
        "smallest": table.shape(table.smallest, table.smallest),
        "full": table.shape(table.row, table.cell),
        "long texts": table.shape(table.row, 512),
    }[row]
    with abstractly(hardware):
        program = made.lowered(EMBED, shape).compile()
    # Layers are scanned: one call of attention in the body, one of pooling behind it.
    assert program.as_text().count(CALLS[kind]) == 2
    memory = program.memory_analysis()
    print(f"{name}, {shape}, {hardware}: {memory.temp_size_in_bytes >> 20} MiB of temporary memory")
    # A row's activations, a few copies of them; an array of t² scores for one head alone would be 256 MiB in float32.
    assert memory.temp_size_in_bytes < 700 << 20
