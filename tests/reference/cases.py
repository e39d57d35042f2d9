"""The checkpoints that goldens are made of: what is built, as plain values."""

from dataclasses import dataclass, field

ENCODER = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 96,
    "type_vocab_size": 2,
}
ROBERTA = ENCODER | {"max_position_embeddings": 98, "type_vocab_size": 1, "pad_token_id": 1}
DECODER = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 96,
}
LENGTHS = [1, 2, 7, 64, 95, 96]
# A third smaller, for the families that came later: goldens stay small.
SHORT = [1, 2, 7, 64, 65, 66]
SMALL = ENCODER | {"hidden_size": 24, "max_position_embeddings": 66}
SMALL_DECODER = DECODER | {
    "hidden_size": 24,
    "max_position_embeddings": 66,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def rope(**numbers: object) -> dict:
    return DECODER | {"rope_parameters": {"rope_theta": 10000.0, **numbers}}


@dataclass(frozen=True)
class Case:
    """One backbone.

    real: the class of transformers, or of `own.py` if it starts with "own.". config: what it is built with. extra: keys added
    to `config.json` that the class does not read. public: the `config.json` of a public checkpoint, in place of the class's.
    native: tensors are saved under transformers' own names, where public checkpoints have others. both_ways: a causal class
    run without its mask. decoder: which tiny tokenizer goes with it. norms: what the scales of norms lie around.
    """

    real: str
    config: dict
    extra: dict = field(default_factory=dict)
    public: dict | None = None
    native: bool = False
    both_ways: bool = False
    decoder: bool = False
    norms: float = 1
    lengths: tuple[int, ...] = tuple(SHORT)


def first(real: str, config: dict, extra: dict | None = None) -> Case:
    """A case of the first families, with a longer row."""
    extra = extra or {}
    return Case(real, config, extra, both_ways=extra.get("is_causal") is False, decoder="Qwen" in real, lengths=tuple(LENGTHS))


def decoder(real: str, **config: object) -> Case:
    # Gemma stores the scales of its norms less one.
    return Case(real, SMALL_DECODER | config, decoder=True, norms=0 if real.startswith("Gemma") else 1)


DISTILBERT = {
    "vocab_size": 120,
    "max_position_embeddings": 66,
    "dim": 24,
    "n_layers": 3,
    "n_heads": 4,
    "hidden_dim": 48,
}
GEMMA3 = {"head_dim": 8, "sliding_window": 10, "num_hidden_layers": 4, "sliding_window_pattern": 2, "query_pre_attn_scalar": 16}

BACKBONES = {
    "bert": first("BertModel", ENCODER),
    "bert-masked-lm": first("BertForMaskedLM", ENCODER | {"hidden_act": "gelu_new"}),
    "roberta": first("RobertaModel", ROBERTA),
    "roberta-masked-lm": first("RobertaForMaskedLM", ROBERTA),
    "xlm-roberta": first("XLMRobertaModel", ROBERTA),
    "camembert": first("CamembertModel", ROBERTA),
    "qwen2": first("Qwen2Model", DECODER),
    "qwen2-causal-lm": first("Qwen2ForCausalLM", DECODER | {"tie_word_embeddings": False}),
    "qwen2-bidirectional": first("Qwen2Model", DECODER, {"is_causal": False}),
    "qwen2-one-key-head": first("Qwen2Model", DECODER | {"num_key_value_heads": 1}),
    "qwen2-sliding": first("Qwen2Model", DECODER | {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}),
    "qwen2-rope-linear": first("Qwen2Model", rope(rope_type="linear", factor=4.0)),
    "qwen2-rope-dynamic": first("Qwen2Model", rope(rope_type="dynamic", factor=2.0) | {"max_position_embeddings": 48}),
    "qwen2-rope-yarn": first(
        "Qwen2Model",
        rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=24),
    ),
    "qwen2-rope-llama3": first(
        "Qwen2Model",
        rope(
            rope_type="llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=24,
        ),
    ),
    "qwen3": first("Qwen3Model", DECODER | {"head_dim": 16}),
    "qwen3-causal-lm": first(
        "Qwen3ForCausalLM", DECODER | {"head_dim": 8, "attention_bias": True, "tie_word_embeddings": True}
    ),
    "mpnet": Case("MPNetModel", SMALL | {"max_position_embeddings": 68}),
    "mpnet-masked-lm": Case("MPNetForMaskedLM", SMALL | {"max_position_embeddings": 68}),
    "distilbert": Case("DistilBertModel", DISTILBERT),
    "distilbert-masked-lm": Case("DistilBertForMaskedLM", DISTILBERT),
    "electra": Case("ElectraModel", SMALL | {"embedding_size": 16}),
    "electra-discriminator": Case("ElectraForPreTraining", SMALL | {"embedding_size": 24}),
    "albert": Case("AlbertModel", SMALL | {"embedding_size": 16}),
    "albert-groups": Case("AlbertForMaskedLM", SMALL | {"embedding_size": 24, "num_hidden_layers": 4, "num_hidden_groups": 2}),
    "ernie": Case("ErnieModel", SMALL),
    "ernie-tasks": Case("ErnieForMaskedLM", SMALL | {"use_task_id": True}),
    "llama": decoder("LlamaModel"),
    "llama-biased": decoder("LlamaForCausalLM", attention_bias=True, mlp_bias=True, head_dim=8),
    "llama-bidirectional": Case(
        "LlamaModel",
        SMALL_DECODER,
        {"architectures": ["LlamaBidirectionalModel"], "pooling": "avg"},
        both_ways=True,
        decoder=True,
    ),
    "mistral": decoder("MistralModel", sliding_window=None),
    "mistral-sliding": decoder("MistralForCausalLM", sliding_window=9),
    "gritlm": Case(
        "MistralModel", SMALL_DECODER | {"sliding_window": None}, {"architectures": ["GritLM"]}, both_ways=True, decoder=True
    ),
    "phi3": decoder("Phi3ForCausalLM"),
    "phi3-longrope": decoder(
        "Phi3Model",
        original_max_position_embeddings=32,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "long_factor": [1.0, 1.5, 4.0],
            "short_factor": [1.0, 1.1, 1.2],
            "original_max_position_embeddings": 32,
            "partial_rotary_factor": 1.0,
        },
    ),
    "olmo2": decoder("Olmo2Model"),
    "granite": decoder(
        "GraniteForCausalLM", attention_multiplier=0.3, embedding_multiplier=2.0, residual_multiplier=0.4, logits_scaling=8.0
    ),
    "glm": decoder("GlmModel", head_dim=8),
    "glm4": decoder("Glm4ForCausalLM", head_dim=8),
    "starcoder2": decoder("Starcoder2Model", sliding_window=11),
    "gemma": decoder("GemmaModel", head_dim=8),
    "gemma2": decoder("Gemma2Model", head_dim=8, sliding_window=10, query_pre_attn_scalar=16, attn_logit_softcapping=2.0),
    "gemma3": decoder("Gemma3ForCausalLM", **GEMMA3),
    "embeddinggemma": decoder("Gemma3TextModel", use_bidirectional_attention=True, **GEMMA3),
    "smollm3": decoder("SmolLM3Model", no_rope_layer_interval=2),
    "eurobert": Case("EuroBertModel", SMALL_DECODER | {"num_key_value_heads": 4, "head_dim": 6}),
    "eurobert-masked-lm": Case("EuroBertForMaskedLM", SMALL_DECODER),
}

MODES = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]

# name: (backbone, modules behind it, prompt). A module is its name with its arguments.
PIPELINES = {
    **{f"pooling-{mode}": ("bert", [("Pooling", {"pooling_mode": mode})], None) for mode in MODES},
    "pooling-all": ("bert", [("Pooling", {"pooling_mode": MODES})], None),
    "pooling-without-prompt": (
        "bert",
        [("Pooling", {"pooling_mode": MODES, "include_prompt": False}), ("Normalize", {})],
        "w9 w8 w7 ",
    ),
    "pooling-prompt": ("bert", [("Pooling", {"pooling_mode": "mean"}), ("Normalize", {})], "w9 w8 w7 "),
    "dense": (
        "bert",
        [("Pooling", {"pooling_mode": "cls"}), ("Dense", {"in_features": 32, "out_features": 24}), ("Normalize", {})],
        None,
    ),
    "dense-many": (
        "bert",
        [
            ("Pooling", {"pooling_mode": ["mean", "max"]}),
            ("Dense", {"in_features": 64, "out_features": 48, "bias": False, "activation_function": "Identity"}),
            ("Normalize", {}),
            ("Dense", {"in_features": 48, "out_features": 48, "activation_function": "GELU", "use_residual": True}),
            ("Dense", {"in_features": 48, "out_features": 16, "activation_function": "ReLU", "use_residual": True}),
            ("LayerNorm", {"dimension": 16}),
        ],
        None,
    ),
    "qwen2-last": ("qwen2", [("Pooling", {"pooling_mode": "lasttoken"}), ("Normalize", {})], None),
    "qwen3-last": ("qwen3", [("Pooling", {"pooling_mode": "lasttoken"}), ("Normalize", {})], "w20 w21 "),
}
TEXT_LENGTHS = [0, 1, 2, 7, 60, 94, 120]
