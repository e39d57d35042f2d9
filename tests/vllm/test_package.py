"""vLLM's names and arguments: what its examples import, and `LLM(**vars(args))` with all there is."""

import dataclasses
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from refusals import refused

import jaxembed
from jaxembed import LLM, EngineArgs, LoRARequest, PoolerConfig, PoolingParams, TextPrompt, TokensPrompt
from jaxembed.errors import InputError, InputTypeError
from jaxembed.utils.argparse_utils import FlexibleArgumentParser
from jaxembed.utils.serial_utils import (
    EMBED_DTYPES,
    ENDIANNESS,
    MetadataItem,
    binary2tensor,
    decode_pooling_output,
    tensor2base64,
    tensor2binary,
)
from jaxembed.vllm.options import ASKING, HOW, length


def test_vllms_names_are_found_under_both_names():
    code = """
import sys
import jaxembed.vllm
sys.modules["vllm"] = jaxembed.vllm
from vllm import EngineArgs, PoolingParams, TextPrompt, TokensPrompt, ClassificationRequestOutput
from vllm.config import PoolerConfig
from vllm.pooling_params import PoolingParams as same
from vllm.outputs import EmbeddingRequestOutput
from vllm.inputs import TokensPrompt as prompt
from vllm.lora.request import LoRARequest
from vllm.engine.arg_utils import EngineArgs as arguments
from vllm.utils import FlexibleArgumentParser
from vllm.utils.argparse_utils import FlexibleArgumentParser as parser
from vllm.utils.serial_utils import binary2tensor, MetadataItem
import vllm.params, jaxembed.vllm.params
assert vllm.params is jaxembed.vllm.params and same is PoolingParams
assert arguments is EngineArgs and parser is FlexibleArgumentParser
assert "jax" not in sys.modules
from vllm import LLM
assert LLM is jaxembed.LLM
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_an_example_of_vllm_runs_with_its_import_changed(llm, monkeypatch):
    """The frame of vLLM's offline examples."""
    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    parser.set_defaults(model=None, runner="pooling", enforce_eager=True, trust_remote_code=True)
    arguments = parser.parse_args(
        ["--max_model_len", "128", "--pooler-config.use_activation", "false", "--hf_overrides.x.y_z=3"]
    )
    assert arguments.pooler_config == {"use_activation": False}
    assert arguments.hf_overrides == {"x": {"y_z": 3}}
    model = LLM(**vars(arguments))
    (output,) = model.embed(TextPrompt(prompt="Follow the white rabbit."), use_tqdm=False)
    assert (model.model_config.max_model_len, output.outputs.hidden_size) == (128, 384)
    assert EngineArgs.from_cli_args(arguments).enforce_eager is True


def test_arguments_are_an_object_too():
    given = EngineArgs(runner="pooling", dtype="float32", seed=3)
    for values in (vars(given), dataclasses.asdict(given)):
        assert LLM(**values).model_config.dtype == "float32"
    with pytest.raises(TypeError, match="maxmodel"):
        EngineArgs(maxmodel=3)
    assert {"model", *HOW, *ASKING} <= set(vars(given))


@pytest.mark.parametrize("name", sorted(ASKING))
def test_an_argument_is_taken_at_its_default_and_refused_by_name_where_it_asks(name):
    neutral, _ = ASKING[name]
    from jaxembed.vllm.options import check

    for value in neutral:
        check({name: value})
    for value in ("something", 7, True, {"a": 1}):
        with refused(name, name):
            check({name: value})


def test_what_only_says_how_vllm_runs_is_taken_at_any_value():
    from jaxembed.vllm.options import check

    check(dict.fromkeys(HOW, "anything"))
    check({"limit_mm_per_prompt": {"image": 0}})
    for name in ("disable_logs", "kv_cache"):
        with refused(name, name, error=InputTypeError):
            check({name: None})


def test_older_names_mean_what_they_meant():
    for task in ("embed", "embedding", "auto", None):
        LLM(task=task)
    with refused("task", "score"):
        LLM(task="score")
    older = LLM(override_pooler_config=PoolerConfig(use_activation=False), served_model_name=["mine", "other"], hf_overrides={})
    assert (older.name, older.model_config.pooler_config.use_activation) == ("mine", False)


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [("8k", 8000), ("8K", 8192), ("1.5k", 1500), ("512", 512), (512, 512), ("auto", None), (-1, None), (None, None)],
)
def test_lengths_are_read_as_vllm_writes_them(asked, tokens):
    assert length(asked) == tokens


@pytest.mark.parametrize("asked", ["long", "k", 1.5, True, [1]])
def test_lengths_that_are_none_are_refused(asked):
    with pytest.raises(InputError) as raised:
        length(asked)
    assert raised.value.field == "max_model_len"


def test_the_longest_text_is_what_the_model_allows_or_less():
    assert LLM(max_model_len="auto").model_config.max_model_len == 256
    assert LLM(max_model_len="0.1k").model_config.max_model_len == 100
    short = LLM(pooler_config={"max_embed_len": 16})
    assert short.model_config.max_model_len == 16
    with pytest.raises(InputError, match="16 tokens"):
        short.embed("word " * 20, use_tqdm=False)
    cut = short.embed("word " * 20, use_tqdm=False, tokenization_kwargs={"truncate_prompt_tokens": -1})
    assert len(cut[0].prompt_token_ids) == 16
    assert LLM(pooler_config={"max_embed_len": 10**5}).model_config.max_model_len == 256


FIELDS = ("logit_mean", "logit_sigma", "logit_bias", "logit_scale", "step_tag_id", "returned_token_ids")


def test_every_field_of_a_pooler_config_is_known():
    PoolerConfig(**dict.fromkeys([*FIELDS, "max_embed_len", "pooling_task", "pooling_target"]), enable_chunked_processing=False)
    assert PoolerConfig(pooling_task="token_embed").task == PoolerConfig(pooling_target="token_embed").task == "token_embed"
    for name in FIELDS:
        with refused(f"pooler_config.{name}", name):
            PoolerConfig(**{name: 1})
    with refused("pooler_config.pooling_task", "embed", "token_embed"):
        PoolerConfig(task="embed", pooling_task="token_embed")
    for wrong in (0, "64", 1.5):
        with refused("pooler_config.max_embed_len", error=InputTypeError):
            PoolerConfig(max_embed_len=wrong)


def test_parameters_are_copied():
    given = PoolingParams(
        dimensions=8, use_activation=False, extra_kwargs={"max_tokens_per_doc": None}, requires_token_ids=True
    )
    copy = given.clone()
    assert copy == given
    assert copy is not given
    assert copy.extra_kwargs is not given.extra_kwargs
    with refused("extra_kwargs", "max_tokens_per_doc"):
        PoolingParams(extra_kwargs={"max_tokens_per_doc": 8})
    with refused("late_chunking_params"):
        PoolingParams(late_chunking_params=object())


def test_prompts_are_written_as_vllm_writes_them(llm):
    (text,) = llm.embed(TextPrompt(prompt="a rabbit"), use_tqdm=False)
    (ids,) = llm.embed(TokensPrompt(prompt_token_ids=text.prompt_token_ids), use_tqdm=False)
    np.testing.assert_array_equal(text.outputs.array, ids.outputs.array)


def test_adapters_can_be_named_and_not_used(llm):
    adapter = LoRARequest("mine", 1, "/some/where")
    assert (adapter.name, adapter.adapter_id, adapter.path) == ("mine", 1, "/some/where")
    for given in (adapter, [adapter], [None, adapter]):
        with refused("lora_request", "adapter"):
            llm.embed(["a", "b"], lora_request=given, use_tqdm=False)
    assert len(llm.embed(["a", "b"], lora_request=[None, None], use_tqdm=False)) == 2


def test_a_model_says_what_it_is(llm):
    config = llm.model_config
    assert (config.embedding_size, config.get_hidden_size(), config.max_model_len) == (384, 384, 256)
    assert config.hf_config.model_type == "bert"
    assert (config.architectures, config.get_vocab_size()) == (["BertModel"], 30522)
    assert (config.is_matryoshka, config.runner_type) == (False, "pooling")
    assert llm.llm_engine.vllm_config.model_config == llm.llm_engine.model_config == config
    assert {"embed", "token_embed"} <= set(llm.supported_tasks)
    assert llm.reset_prefix_cache()
    with refused(None, "reward", "token_embed"):
        llm.reward("a")


def test_results_take_the_words_that_follow_a_tensor(llm):
    (output,) = llm.encode("a rabbit", pooling_task="token_embed", use_tqdm=False)
    data = output.outputs.data
    assert data.float().cpu().numpy().shape == tuple(data.size()) == data.shape
    assert data.dim() == 2
    assert isinstance(data, np.ndarray)


@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_a_device_that_is_not_there_is_refused(device):
    with refused("device", "cpu"):
        LLM(device=device)
    assert LLM(device="auto").engine.target.platform == LLM(device="cpu").engine.target.platform == "cpu"


@pytest.mark.parametrize("endianness", ENDIANNESS)
@pytest.mark.parametrize("dtype", EMBED_DTYPES)
def test_vectors_survive_their_bytes(dtype, endianness):
    values = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    binary = tensor2binary(values, dtype, endianness)
    exact = values.astype(EMBED_DTYPES[dtype])
    np.testing.assert_array_equal(binary2tensor(binary, (2, 3), dtype, endianness), exact.astype(np.float32))
    if endianness == "big" and exact.itemsize == 2:
        assert binary == exact.view(np.uint16).astype(">u2").tobytes()
    assert tensor2base64(values, dtype, endianness)
    items = [MetadataItem(one, dtype, endianness, one * len(binary), (one + 1) * len(binary), (2, 3)) for one in (1, 0)]
    assert len(decode_pooling_output(items, binary + binary)) == 2


def test_types_and_orders_that_are_not_known_are_refused():
    with refused("embed_dtype", "int4"):
        tensor2binary(np.zeros(2), "int4")
    with refused("endianness", "middle"):
        binary2tensor(b"", (0,), endianness="middle")
    assert EMBED_DTYPES["bfloat16"] is ml_dtypes.bfloat16


def test_the_package_gives_vllms_names_too():
    for name in ("EngineArgs", "TokensPrompt", "TextPrompt", "LoRARequest", "ClassificationRequestOutput"):
        assert getattr(jaxembed, name) is getattr(jaxembed.vllm, name)
    assert jaxembed.vllm.ClassificationOutput([0.2, 0.8]).num_classes == 2
