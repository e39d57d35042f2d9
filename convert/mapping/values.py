"""What the values of a `config.json` may be, by the names of their keys, which mean the same in every family."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxembed.convert.formats.json_files import is_real, is_whole
from jaxembed.errors import UnsupportedModelError, shown


def _are(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# The largest value that a size may have; what is declared, and looked for among the tensors, grows with some of them, and
# tables by distance are made before the tensors are looked at. No tensor has more than the last along an axis.
_MOST = {
    **dict.fromkeys(
        """
        num_hidden_layers n_layers num_layers n_layer num_hidden_groups inner_group_num global_attn_every_n_layers
        sliding_window_pattern _sliding_window_pattern no_rope_layer_interval moe_every_n_layers
        """.split(),
        10_000,
    ),
    **dict.fromkeys(("relative_attention_num_buckets", "relative_attention_max_distance"), 1 << 20),
}
_MOST_OF_ANY = (1 << 31) - 1

# What the values of these keys are called in an error, what they must be, and the keys.
_KINDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "a whole number above 0",
        lambda value: is_whole(value) and value > 0,
        """
        vocab_size hidden_size num_hidden_layers num_attention_heads num_key_value_heads intermediate_size head_dim
        max_position_embeddings embedding_size dim n_layers n_heads hidden_dim d_model num_layers num_heads d_kv d_ff
        n_positions n_embd n_head n_layer n_inner relative_attention_num_buckets relative_attention_max_distance
        num_hidden_groups inner_group_num global_attn_every_n_layers local_attention sliding_window_pattern
        _sliding_window_pattern no_rope_layer_interval lora_rank max_trained_positions embedding_dim num_labels moe_top_k
        original_max_position_embeddings hidden_size_per_layer_input r
        """,
    ),
    (
        "a whole number, 0 or more",
        lambda value: is_whole(value) and value >= 0,
        "type_vocab_size task_type_vocab_size max_window_layers num_experts moe_every_n_layers pad_token_id",
    ),
    ("a whole number", is_whole, "sliding_window max_relative_positions position_buckets"),
    (
        "a number above 0",
        lambda value: is_real(value) and value > 0,
        """
        rms_norm_eps layer_norm_eps norm_eps layer_norm_epsilon norm_epsilon rope_theta global_rope_theta local_rope_theta
        rope_local_base_freq rotary_emb_base rotary_scaling_factor partial_rotary_factor query_pre_attn_scalar
        attn_logit_softcapping lora_alpha
        """,
    ),
    ("a number", is_real, "attention_multiplier embedding_multiplier residual_multiplier rotary_emb_fraction"),
    (
        "true or false",
        lambda value: isinstance(value, bool),
        """
        attention_bias attention_out_bias mlp_bias norm_bias use_bias qkv_proj_bias mlp_fc1_bias mlp_fc2_bias is_causal
        is_decoder use_bidirectional_attention use_sliding_window use_task_id share_att_key relative_attention
        position_biased_input
        """,
    ),
    (
        "a text",
        _is_text,
        """
        hidden_act hidden_activation activation activation_function feed_forward_proj feed_forward_type
        position_embedding_type norm_rel_ebd model_type jina_task
        """,
    ),
    ("a list of texts", _are(_is_text), "architectures layer_types lora_adaptations task_names"),
    ("a list of whole numbers", _are(is_whole), "no_rope_layers"),
    ("an object", lambda value: isinstance(value, Mapping), "rope_parameters rope_scaling text_config per_layer_config"),
)
_CHECKS = {key: (what, fits) for what, fits, keys in _KINDS for key in keys.split()}
_WHOLE = {key for what, _, keys in _KINDS if what.startswith("a whole number") for key in keys.split()}


def checked(key: str, value: Any, file: str = "config.json") -> Any:
    """Returns the value of a key, a whole number as an int however it is written; null, and what no table knows, as it is.

    Raises `UnsupportedModelError` that names the file, the key, what was given and what is expected.
    """
    if value is None or key not in _CHECKS:
        return value
    what, fits = _CHECKS[key]
    if not fits(value):
        raise UnsupportedModelError(f"{file} says {key}: {shown(value)}, and it must be {what}.")
    most = _MOST.get(key, _MOST_OF_ANY)
    if what.startswith("a whole number") and value > most:
        raise UnsupportedModelError(f"{file} says {key}: {shown(value)}, and it may be {most:,} at most.")
    return int(value) if key in _WHOLE else value


def needed(key: str, value: Any, file: str = "config.json") -> Any:
    """Returns the value of a key that may not be null. Raises as `checked` does."""
    if value is None and key in _CHECKS:
        raise UnsupportedModelError(f"{file} says {key}: null, and it must be {_CHECKS[key][0]}.")
    return checked(key, value, file)
