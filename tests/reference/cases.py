"""The checkpoints that goldens are made of: what is built, as plain values."""

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


def rope(**numbers: object) -> dict:
    return DECODER | {"rope_parameters": {"rope_theta": 10000.0, **numbers}}


# name: (class, config, keys added to config.json that the class itself does not read)
BACKBONES = {
    "bert": ("BertModel", ENCODER, {}),
    "bert-masked-lm": ("BertForMaskedLM", ENCODER | {"hidden_act": "gelu_new"}, {}),
    "roberta": ("RobertaModel", ROBERTA, {}),
    "roberta-masked-lm": ("RobertaForMaskedLM", ROBERTA, {}),
    "xlm-roberta": ("XLMRobertaModel", ROBERTA, {}),
    "camembert": ("CamembertModel", ROBERTA, {}),
    "qwen2": ("Qwen2Model", DECODER, {}),
    "qwen2-causal-lm": ("Qwen2ForCausalLM", DECODER | {"tie_word_embeddings": False}, {}),
    "qwen2-bidirectional": ("Qwen2Model", DECODER, {"is_causal": False}),
    "qwen2-one-key-head": ("Qwen2Model", DECODER | {"num_key_value_heads": 1}, {}),
    "qwen2-sliding": ("Qwen2Model", DECODER | {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}, {}),
    "qwen2-rope-linear": ("Qwen2Model", rope(rope_type="linear", factor=4.0), {}),
    "qwen2-rope-dynamic": ("Qwen2Model", rope(rope_type="dynamic", factor=2.0) | {"max_position_embeddings": 48}, {}),
    "qwen2-rope-yarn": (
        "Qwen2Model",
        rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=24),
        {},
    ),
    "qwen2-rope-llama3": (
        "Qwen2Model",
        rope(
            rope_type="llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=24,
        ),
        {},
    ),
    "qwen3": ("Qwen3Model", DECODER | {"head_dim": 16}, {}),
    "qwen3-causal-lm": ("Qwen3ForCausalLM", DECODER | {"head_dim": 8, "attention_bias": True, "tie_word_embeddings": True}, {}),
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
