"""The arguments of vLLM's `LLM` that this engine has no use for: taken where they ask for nothing, refused by name otherwise.

Code written for vLLM passes all of them by habit, `LLM(**vars(args))` at the values that vLLM gives them.
"""

from collections.abc import Mapping
from typing import Any

from jaxembed.errors import InputError, InputTypeError

# How vLLM runs, caches, compiles, logs and spreads: no value changes a vector, and nothing here corresponds to it.
HOW = frozenset(
    """
    additional_config async_scheduling attention_backend attention_config block_size calculate_kv_scales code_revision
    collect_detailed_traces compilation_config cp_kv_cache_interleave_size cpu_kvcache_space_bytes cpu_offload_gb
    cpu_offload_params cuda_graph_sizes cudagraph_capture_sizes cudagraph_metrics data_parallel_address
    data_parallel_backend data_parallel_external_lb data_parallel_hybrid_lb data_parallel_rank data_parallel_rpc_port
    data_parallel_start_rank dbo_decode_token_threshold dbo_prefill_token_threshold dcp_kv_cache_interleave_size
    disable_async_output_proc disable_cascade_attn disable_chunked_mm_input disable_custom_all_reduce
    disable_hybrid_kv_cache_manager disable_log_requests disable_log_stats disable_mm_preprocessor_cache
    disable_nccl_for_dp_synchronization disable_sliding_window_warning enable_chunked_prefill enable_dbo enable_eplb
    enable_expert_parallel enable_layerwise_nvtx_tracing enable_log_requests enable_logging_iteration_details
    enable_mfu_metrics enable_multimodal_encoder_data_parallel enable_prefix_caching enable_server_load_tracking
    enforce_eager eplb_config expert_placement_strategy fail_on_environ_validation fully_sharded_loras generation_config
    gpu_memory_utilization guided_decoding_backend guided_decoding_disable_additional_properties
    guided_decoding_disable_any_whitespace guided_decoding_disable_fallback interleave_mm_strings ir_op_priority
    kernel_config kv_cache_dtype kv_cache_dtype_skip_layers kv_cache_memory_bytes kv_cache_metrics kv_cache_metrics_sample
    kv_offloading_backend kv_offloading_size kv_sharing_fast_prefill linear_backend logits_processor_pattern
    long_prefill_token_threshold lora_dtype lora_extra_vocab_size mamba_backend mamba_block_size mamba_cache_dtype
    mamba_cache_mode mamba_ssm_cache_dtype max_cpu_loras max_cudagraph_capture_size max_logprobs max_long_partial_prefills
    max_lora_rank max_loras max_num_batched_tokens max_num_partial_prefills max_num_seqs max_parallel_loading_workers
    max_seq_len_to_capture media_io_kwargs mm_encoder_attn_backend mm_encoder_attn_dtype mm_encoder_only mm_encoder_tp_mode
    mm_processor_cache_gb mm_processor_cache_type mm_shm_cache_max_object_size_mb mm_tensor_ipc moe_backend
    multi_step_stream_outputs num_gpu_blocks_override num_lookahead_slots num_redundant_experts num_scheduler_steps
    numa_bind numa_bind_cpus numa_bind_nodes offload_backend offload_group_size offload_num_in_group offload_params
    offload_prefetch_step optimization_level parallel_output_batch performance_mode preemption_mode prefix_caching_hash_algo
    profiler_config pt_load_map_location ray_workers_use_nsight reasoning_config reasoning_parser reasoning_parser_plugin
    renderer_num_workers safetensors_load_strategy safetensors_prefetch_num_threads scheduler_cls scheduler_delay_factor
    scheduler_reserve_full_isl scheduling_policy seed show_hidden_metrics_for_version shutdown_timeout skip_mm_profiling
    stream_interval structured_outputs_config swap_space tokenizer_pool_extra_config tokenizer_pool_size tokenizer_pool_type
    ubatch_size use_tqdm_on_load video_pruning_rate watermark weight_transfer_config worker_cls worker_extension_cls
    """.split()
)

_FALSE: tuple[Any, ...] = (False, None)
_NONE: tuple[Any, ...] = (None, "", {}, [], ())
_ONE: tuple[Any, ...] = (1, None)
# What would change an answer or a place, with the values that ask for nothing and the way out for the others.
ASKING: dict[str, tuple[tuple[Any, ...], str]] = {
    "allowed_local_media_path": (_NONE, "this model takes text only"),
    "allowed_media_domains": (_NONE, "this model takes text only"),
    "chat_template": (_NONE, "write the prompts out, or put chat_template.jinja into the checkpoint"),
    "config_format": (("auto", "hf", None), "checkpoints are Hugging Face's"),
    "data_parallel_size": (_ONE, "a model runs on one device so far"),
    "data_parallel_size_local": (_ONE, "a model runs on one device so far"),
    "decode_context_parallel_size": (_ONE, "a model runs on one device so far"),
    "disable_sliding_window": (_FALSE, "change the config with hf_overrides"),
    "distributed_executor_backend": ((None, "uni", "mp"), "a model runs in this process"),
    "ec_transfer_config": (_NONE, "there is no such transfer"),
    "enable_lora": (_FALSE, "merge the adapter into the checkpoint first"),
    "enable_lora_bias": (_FALSE, "merge the adapter into the checkpoint first"),
    "enable_mm_embeds": (_FALSE, "this model takes text only"),
    "enable_prompt_adapter": (_FALSE, "there are no prompt adapters"),
    "enable_prompt_embeds": (_FALSE, "give texts or token ids"),
    "enable_return_routed_experts": (_FALSE, "a vector is what is returned"),
    "enable_sleep_mode": (_FALSE, "delete the LLM to free its memory"),
    "hf_config_path": (_NONE, "put config.json into the folder of the model, or use hf_overrides"),
    "ignore_patterns": ((None, [], (), "original/**/*", ["original/**/*"]), "give a folder that holds what shall be read"),
    "io_processor_plugin": (_NONE, "there are no such plugins"),
    "kv_events_config": (_NONE, "nothing is cached"),
    "kv_transfer_config": (_NONE, "nothing is cached"),
    "language_model_only": (_FALSE, "leave it out"),
    "limit_mm_per_prompt": (_NONE, "this model takes text only"),
    "load_format": (("auto", "safetensors", "hf", None), "safetensors are read, and pickles where there are none"),
    "logits_processors": (_NONE, "nothing is generated"),
    "lora_modules": (_NONE, "merge the adapter into the checkpoint first"),
    "mm_processor_kwargs": (_NONE, "this model takes text only"),
    "model_impl": (("auto", "vllm", "transformers", None), "there is one implementation"),
    "model_loader_extra_config": (_NONE, "safetensors are read, and pickles where there are none"),
    "model_weights": (_NONE, "give the folder of the model"),
    "nnodes": (_ONE, "a model runs on one device so far"),
    "node_rank": ((0, None), "a model runs on one device so far"),
    "master_addr": ((None, "", "127.0.0.1"), "a model runs on one device so far"),
    "master_port": ((None, 0, 29501), "a model runs on one device so far"),
    "otlp_traces_endpoint": (_NONE, "the server traces; see jaxembed serve --help"),
    "override_attention_dtype": (_NONE, "give dtype"),
    "override_generation_config": (_NONE, "nothing is generated"),
    "override_neuron_config": (_NONE, "there is no Neuron here"),
    "pipeline_parallel_size": (_ONE, "a model runs on one device so far"),
    "prefill_context_parallel_size": (_ONE, "a model runs on one device so far"),
    "quantization_param_path": (_NONE, "give quantization='int8'"),
    "rope_scaling": (_NONE, "give hf_overrides={'rope_parameters': ...}"),
    "rope_theta": (_NONE, "give hf_overrides={'rope_theta': ...}"),
    "skip_tokenizer_init": (_FALSE, "the tokenizer is always there"),
    "speculative_config": (_NONE, "nothing is generated"),
    "tensor_parallel_size": (_ONE, "a model runs on one device so far"),
    "tokenizer_mode": (("auto", "hf", "slow", "fast", None), "the checkpoint's own tokenizer is what there is"),
    "tokenizer_revision": (_NONE, "give tokenizer= the folder of that revision"),
}
_TASKS = {"auto", "embed", "embedding", "generate", "pooling", None}


def check(options: Mapping[str, Any]) -> None:
    """Raises `InputError` for an argument that asks for what there is not, `InputTypeError` for one that vLLM has not."""
    for name, value in options.items():
        if name == "task":
            _check_task(value)
        elif name in ASKING:
            neutral, way_out = ASKING[name]
            if not any(type(one) is type(value) and one == value for one in neutral) and not _is_none(name, value):
                raise InputError(f"{name}={value!r} is not supported: {way_out}.", field=name)
        elif name not in HOW:
            raise InputTypeError(f"LLM has no argument {name!r}.", field=name)


def _is_none(name: str, value: Any) -> bool:
    """Whether a limit of nothing is asked for: no picture a prompt."""
    return name == "limit_mm_per_prompt" and isinstance(value, Mapping) and not any(value.values())


def _check_task(task: Any) -> None:
    if task not in _TASKS or task == "generate":
        raise InputError(
            f"task={task!r} is not supported: leave it out for embeddings, or give pooler_config={{'task': 'token_embed'}}.",
            field="task",
        )


def length(asked: Any) -> int | None:
    """Returns the longest text that `max_model_len` asks for: a number, "8k" (8,000), "8K" (8,192), None for "auto" and -1."""
    if asked in (None, "auto", -1, "-1"):
        return None
    if isinstance(asked, str):
        sizes = {"k": 10**3, "K": 2**10, "m": 10**6, "M": 2**20, "g": 10**9, "G": 2**30}
        number, size = (asked[:-1], sizes[asked[-1]]) if asked[-1:] in sizes else (asked, 1)
        try:
            return int(float(number) * size)
        except ValueError:
            raise InputError(
                f"max_model_len must be a number, 'auto', -1 or like '8k', not {asked!r}.", field="max_model_len"
            ) from None
    if isinstance(asked, bool) or not isinstance(asked, int):
        raise InputTypeError(f"max_model_len must be a number, 'auto', -1 or like '8k', not {asked!r}.", field="max_model_len")
    return asked
