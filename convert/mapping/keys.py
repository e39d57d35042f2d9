"""A `config.json` that remembers which of its keys were read, so that one that changes the vectors is never passed over."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxembed.convert.mapping.values import checked, needed
from jaxembed.errors import UnsupportedModelError

# Keys that change hidden states, each with the values that mean "as if it were not there"; None always does. A family that
# implements a key reads it. Any other key of a config is taken to be about training, tokens or heads.
CHANGES: dict[str, tuple[Any, ...]] = {
    "add_cross_attention": (False,),
    "alibi": (False,),
    "attention_bias": (False,),
    "attention_chunk_size": (),
    "attention_multiplier": (),
    "attn_logit_softcapping": (),
    "attn_qkv_bias": (False,),
    "causal": (False,),
    "clip_qkv": (),
    "conv_kernel_size": (0,),
    "embedding_multiplier": (1, 1.0),
    "feed_forward_type": ("original",),
    "hidden_size_per_layer_input": (0,),
    "is_decoder": (False,),
    "layer_norm_type": ("layer_norm",),
    "layer_types": (),
    "logn_attention_clip1": (False,),
    "logn_attention_scale": (False,),
    "lora_adaptations": ([],),
    "mlp_bias": (False,),
    "moe_every_n_layers": (0,),
    "n_routed_experts": (0,),
    "no_rope_layers": ([],),
    "num_experts": (0, 1),
    "num_local_experts": (0, 1),
    "parallel_attn": (False,),
    "parallel_block": (False,),
    "partial_rotary_factor": (1, 1.0),
    "position_biased_input": (True,),
    "position_embedding_type": ("absolute", "rotary", "rope"),
    "prenorm": (False,),
    "qk_layernorm": (False,),
    "query_pre_attn_scalar": (),
    "relative_attention": (False,),
    "residual_multiplier": (1, 1.0),
    "rope_scaling": ({},),
    "rotary_emb_interleaved": (False,),
    "rotary_emb_scale_base": (),
    "scale_attn_by_inverse_layer_idx": (False,),
    "scale_attn_weights": (True,),
    "scale_depth": (),
    "scale_emb": (1,),
    "sliding_window": (),
    "use_alibi": (False,),
    "use_bias": (False,),
    "use_bidirectional_attention": (False,),
    "use_parallel_residual": (False,),
    "use_qk_norm": (False,),
    "use_rms_norm": (False,),
    "use_sliding_window": (False,),
    "use_task_id": (False,),
}

# Of an unknown architecture more is asked: where "as if it were not there" means a BERT, a Llama would differ.
_OF_A_LLAMA: dict[str, tuple[Any, ...]] = {
    **CHANGES,
    **dict.fromkeys(("feed_forward_type", "layer_norm_type", "position_biased_input", "prenorm", "use_rms_norm"), ()),
    "position_embedding_type": ("rotary", "rope"),
}

# What an unknown architecture may say beside what the generic decoder reads, as it is about training, tokens or heads.
HARMLESS = frozenset(
    """
    architectures model_type auto_map torch_dtype dtype transformers_version _name_or_path name_or_path use_cache
    cache_implementation tie_word_embeddings initializer_range gradient_checkpointing pretraining_tp bos_token_id
    eos_token_id pad_token_id unk_token_id sep_token_id cls_token_id mask_token_id decoder_start_token_id
    attention_dropout hidden_dropout attention_probs_dropout_prob hidden_dropout_prob dropout embd_pdrop resid_pdrop
    attn_pdrop classifier_dropout embedding_dropout residual_dropout id2label label2id num_labels problem_type
    task_specific_params finetuning_task prefix output_attentions output_hidden_states return_dict use_return_dict
    chunk_size_feed_forward is_encoder_decoder attn_implementation _attn_implementation use_flash_attn max_window_layers
    logits_scaling max_length final_logit_softcapping is_matryoshka matryoshka_dimensions task_instructions head_type
    rope_theta rope_parameters torchscript use_bfloat16 tie_encoder_decoder remove_invalid_values output_scores
    return_dict_in_generate do_sample early_stopping unsloth_version unsloth_fixed original_max_position_embeddings
    """.split()
)


def layer_types(config: Mapping[str, Any], otherwise: Sequence[str], known: Sequence[str]) -> list[str]:
    """Returns the type of each layer, `otherwise` where the config does not say. Raises `UnsupportedModelError` for another.

    known: the names that there are.
    """
    names = list(config.get("layer_types") or otherwise)
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise UnsupportedModelError(f"layer_types {unknown[0]!r} is not supported; {' and '.join(known)} are.")
    if len(names) != len(otherwise):
        raise UnsupportedModelError(f"config.json says layer_types of {len(names)} layers, and there are {len(otherwise)}.")
    return names


class Keys(Mapping[str, Any]):
    """A read-only config that collects in `read` the keys that were asked for, in order, and checks their kinds of values.

    A key that is indexed must be there and may not be null. Raises `UnsupportedModelError` for a value of the wrong kind.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config, self.read = dict(config), dict[str, None]()

    def __getitem__(self, key: str) -> Any:
        self.read[key] = None
        return needed(key, self._config[key])

    def get(self, key: str, default: Any = None) -> Any:
        """Returns the value of a key, None if it is null, `default` only if it is not there."""
        self.read[key] = None
        return checked(key, self._config[key]) if key in self._config else default

    def __contains__(self, key: object) -> bool:
        self.read[str(key)] = None
        return key in self._config

    def __iter__(self) -> Iterator[str]:
        return iter(self._config)

    def __len__(self) -> int:
        return len(self._config)

    def check(self, family: str) -> None:
        """Raises `UnsupportedModelError` naming every key that changes the vectors and was not read."""
        passed = [
            f"{key}: {self._config[key]!r}"
            for key, neutral in CHANGES.items()
            if key in self._config and key not in self.read and self._config[key] not in (None, *neutral)
        ]
        if passed:
            raise UnsupportedModelError(
                f"config.json says {', '.join(passed)}, which changes the vectors and is not supported for {family}."
            )

    def unknown(self) -> list[str]:
        """Returns the keys that nobody read and that are not known to be harmless; a false may switch off what a Llama has."""
        return sorted(
            key
            for key, value in self._config.items()
            if key not in self.read and key not in HARMLESS and value not in (None, *_OF_A_LLAMA.get(key, ()))
        )
