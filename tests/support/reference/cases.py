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
    "stablelm": decoder("StableLmForCausalLM", hidden_size=64, use_qkv_bias=True),
    "stablelm-parallel": decoder("StableLmModel", hidden_size=64, use_parallel_residual=True),
    "phi2": decoder("PhiForCausalLM", hidden_size=64, hidden_act="gelu_new"),
    "olmo": decoder("OlmoForCausalLM"),
    "nemotron": Case("NemotronForCausalLM", SMALL_DECODER | {"hidden_act": "relu2", "head_dim": 16}, decoder=True, norms=0),
    "cohere": decoder("CohereForCausalLM"),
    "cohere2": decoder("Cohere2Model", sliding_window=9, num_hidden_layers=4),
    "smollm3": decoder("SmolLM3Model", no_rope_layer_interval=2),
    "eurobert": Case("EuroBertModel", SMALL_DECODER | {"num_key_value_heads": 4, "head_dim": 6}),
    "eurobert-masked-lm": Case("EuroBertForMaskedLM", SMALL_DECODER),
}

GTE_PUBLIC = {
    "architectures": ["NewModel"],
    "attention_probs_dropout_prob": 0.0,
    "auto_map": {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"},
    "classifier_dropout": 0.0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 24,
    "intermediate_size": 48,
    "layer_norm_eps": 1e-12,
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "max_position_embeddings": 66,
    "model_type": "new",
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "pack_qkv": True,
    "pad_token_id": 1,
    "position_embedding_type": "rope",
    "rope_scaling": {"factor": 8.0, "type": "ntk"},
    "rope_theta": 20000,
    "type_vocab_size": 1,
    "unpad_inputs": False,
    "use_memory_efficient_attention": False,
    "vocab_size": 120,
}
# NTK with a factor of 8 in heads of 6: the base times 8, every turn shortened by 8 to the power of 2 / 6.
GTE = SMALL | {
    "type_vocab_size": 1,
    "rope_parameters": {"rope_type": "linear", "factor": 8 ** (2 / 6), "rope_theta": 160000.0},
}
NOMIC = SMALL | {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}
NOMIC_PUBLIC = {
    "activation_function": "swiglu",
    "architectures": ["NomicBertModel"],
    "attn_pdrop": 0.0,
    "causal": False,
    "dense_seq_output": True,
    "fused_bias_fc": True,
    "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 66,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "model_type": "nomic_bert",
    "n_embd": 24,
    "n_head": 4,
    "n_inner": 48,
    "n_layer": 3,
    "n_positions": 66,
    "pad_vocab_size_multiple": 64,
    "parallel_block": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "type_vocab_size": 2,
    "use_rms_norm": False,
    "vocab_size": 120,
}
NOMIC_MOE = NOMIC_PUBLIC | {
    "activation_function": "gelu",
    "expert_choice_router": False,
    "layer_norm_epsilon": 1e-5,
    "mlp_fc1_bias": True,
    "mlp_fc2_bias": True,
    "moe_every_n_layers": 2,
    "moe_normalize_expert_weights": False,
    "moe_top_k": 2,
    "n_layer": 4,
    "num_experts": 4,
    "num_shared_experts": 0,
    "qkv_proj_bias": True,
    "rotary_emb_base": 10000,
    "type_vocab_size": 1,
}
JINA3 = SMALL | {"type_vocab_size": 1, "rope_parameters": {"rope_type": "default", "rope_theta": 20000.0}}
JINA3_PUBLIC = SMALL | {
    "auto_map": {"AutoModel": "jinaai/xlm-roberta-flash-implementation--modeling_lora.XLMRobertaLoRA"},
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-05,
    "load_trained_adapters": True,
    "lora_adaptations": ["retrieval.query", "retrieval.passage", "separation", "classification", "text-matching"],
    "lora_alpha": 2,
    "lora_dropout_p": 0.0,
    "lora_main_params_trainable": False,
    "lora_rank": 4,
    "matryoshka_dimensions": [8, 24],
    "model_type": "xlm-roberta",
    "pad_token_id": 1,
    "position_embedding_type": "rotary",
    "rotary_emb_base": 20000.0,
    "type_vocab_size": 1,
    "use_flash_attn": True,
}
JINA2 = SMALL | {
    "attn_implementation": "torch",
    "emb_pooler": "mean",
    "feed_forward_type": "geglu",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "model_type": "bert",
    "position_embedding_type": "alibi",
}
BACKBONES |= {
    "gte-new": Case("GteModel", GTE, public=GTE_PUBLIC),
    "gte-without-types": Case("GteForMaskedLM", GTE | {"type_vocab_size": 0}),
    "gte-native": Case("GteModel", GTE, native=True),
    "nomic": Case("NomicBertModel", NOMIC, public=NOMIC_PUBLIC),
    "nomic-dynamic": Case(
        "NomicBertModel",
        NOMIC
        | {"max_position_embeddings": 32, "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 2.0}},
        public=NOMIC_PUBLIC | {"max_trained_positions": 32, "rotary_scaling_factor": 2},
    ),
    "nomic-native": Case("NomicBertModel", NOMIC, native=True),
    "nomic-moe": Case("own.NomicMoe", NOMIC_MOE),
    "jina3": Case("own.JinaLora", JINA3_PUBLIC),
    "jina3-plain": Case("JinaEmbeddingsV3ForMaskedLM", JINA3),
    "jina3-native": Case("JinaEmbeddingsV3Model", JINA3, native=True),
    "jina2": Case("own.JinaBert", JINA2),
    "jina2-six-heads": Case("own.JinaBert", JINA2 | {"num_attention_heads": 6, "feed_forward_type": "reglu"}),
}

MODERN = SMALL | {
    "num_hidden_layers": 4,
    "local_attention": 10,
    **{f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "cls", "sep")},
}
MODERN.pop("type_vocab_size")
# What the config said before transformers 5.
MODERN_PUBLIC = MODERN | {
    "architectures": ["ModernBertForMaskedLM"],
    "attention_bias": False,
    "classifier_pooling": "mean",
    "global_attn_every_n_layers": 3,
    "global_rope_theta": 160000.0,
    "hidden_activation": "gelu",
    "layer_norm_eps": 1e-05,
    "local_rope_theta": 10000.0,
    "mlp_bias": False,
    "model_type": "modernbert",
    "norm_bias": False,
    "norm_eps": 1e-05,
    "position_embedding_type": "absolute",
}
# Scores are not scaled, so weights as large as other families' would make a softmax of one hot.
T5 = {"vocab_size": 120, "d_model": 24, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4}
DEBERTA = SMALL | {
    "max_relative_positions": -1,
    "norm_rel_ebd": "layer_norm",
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "position_buckets": 16,
    "relative_attention": True,
    "share_att_key": True,
    "type_vocab_size": 0,
}
BACKBONES |= {
    "modernbert": Case("ModernBertModel", MODERN),
    "modernbert-public": Case("ModernBertForMaskedLM", MODERN, public=MODERN_PUBLIC),
    "modernbert-biased": Case("ModernBertModel", MODERN | {"norm_bias": True, "attention_bias": True, "mlp_bias": True}),
    "t5": Case("T5EncoderModel", T5, norms=0.5),
    "t5-gated": Case(
        "T5EncoderModel", T5 | {"feed_forward_proj": "gated-gelu", "relative_attention_max_distance": 40}, norms=0.5
    ),
    "deberta": Case("DebertaV2Model", DEBERTA),
    "deberta-separate": Case(
        "DebertaV2ForSequenceClassification",
        DEBERTA | {"share_att_key": False, "position_buckets": -1, "position_biased_input": True, "norm_rel_ebd": "none"},
    ),
}

VOYAGE = SMALL_DECODER | {"head_dim": 8, "hidden_act": "silu", "rms_norm_eps": 1e-6, "num_labels": 40, "model_type": "qwen3"}
BACKBONES |= {"voyage": Case("own.Voyage", VOYAGE, decoder=True)}

FEW = (1, 7, 66)
BACKBONES |= {
    "olmo3": Case("Olmo3Model", SMALL_DECODER | {"sliding_window": 10, "num_hidden_layers": 4}, decoder=True, lengths=FEW),
    "ernie4.5": Case("Ernie4_5ForCausalLM", SMALL_DECODER | {"use_bias": True, "head_dim": 8}, decoder=True, lengths=FEW),
    "helium": Case("HeliumModel", SMALL_DECODER | {"head_dim": 6}, decoder=True, lengths=FEW),
    "seed-oss": Case("SeedOssModel", SMALL_DECODER | {"head_dim": 8}, decoder=True, lengths=FEW),
    "arcee": Case("ArceeForCausalLM", SMALL_DECODER, decoder=True, lengths=FEW),
}

JINA5 = SMALL_DECODER | {
    "head_dim": 8,
    "hidden_act": "silu",
    "model_type": "jina_embeddings_v5",
    "rms_norm_eps": 1e-6,
    "task_names": ["retrieval", "text-matching"],
}
JINA_CODE = JINA2 | {
    "num_attention_heads": 6,
    "auto_map": {"AutoModel": "jinaai/jina-bert-v2-qk-post-norm--modeling_bert.JinaBertModel"},
}
BACKBONES |= {
    "jina5-small": Case("own.JinaV5", JINA5, decoder=True, lengths=FEW),
    "jina5-nano": Case("own.JinaV5", JINA5 | {"is_decoder": False}, decoder=True, lengths=FEW),
    "jina2-code": Case("own.JinaCode", JINA_CODE, lengths=FEW),
}

GEMMA_2 = {
    "vocab_size": 120,
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 66,
    "sliding_window": 5,
    "hidden_size_per_layer_input": 40,
    "embedding_dim": 64,
    "sliding_window_pattern": 2,
    "global_head_dim": 12,
    "num_global_key_value_heads": 1,
}
BACKBONES |= {
    # Scores are not scaled, and q and k are normalized: scales of one would make a softmax of one hot.
    "embeddinggemma2": Case("EmbeddingGemma2TextModel", GEMMA_2, lengths=FEW, norms=0.7),
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

# What differs from a SentenceTransformer that begins with a StaticEmbedding and ends in Normalize.
STATIC = {
    "sentence-transformers": {},
    "model2vec": {
        "files": {
            "config.json": {
                "model_type": "model2vec",
                "architectures": ["StaticModel"],
                "apply_pca": 24,
                "apply_zipf": True,
                "hidden_dim": 24,
                "seq_length": 1000000,
                "normalize": True,
            },
            "modules.json": [
                {"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"},
                {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
            ],
        },
        "tensors": {"model.safetensors": {"embeddings": [120, 24], "weights": [120]}},
    },
}
