"""vLLM's offline API over the engine: `LLM(model, runner="pooling")`, with vLLM's arguments, outputs and messages."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from jaxembed.engine.devices import find_device
from jaxembed.engine.engine import Progress
from jaxembed.errors import InputError, InputTypeError, fields_as
from jaxembed.heads.task import POOLING, Task
from jaxembed.heads.tasks import TASKS, asked_by
from jaxembed.heads.vectors import EMBED
from jaxembed.inputs.chat import plain
from jaxembed.inputs.prompts import Prompt, read_prompts
from jaxembed.loading import load_engine
from jaxembed.packing.text import Options
from jaxembed.tensors import Tensor
from jaxembed.vllm.about import LlmEngine, ModelConfig, VllmConfig, model_config
from jaxembed.vllm.options import check, length
from jaxembed.vllm.outputs import (
    EmbeddingOutput,
    EmbeddingRequestOutput,
    PoolingOutput,
    PoolingRequestOutput,
    ScoringOutput,
    ScoringRequestOutput,
)
from jaxembed.vllm.params import PoolerConfig, PoolingParams

_HINTS = '\n - For embeddings, use `LLM.embed(...)` or `pooling_task="embed"`.\n - For similarity scores, use `LLM.score(...)`.'

_HOW_TO_TRUNCATE = 'pass tokenization_kwargs={"truncate_prompt_tokens": -1}'

Bar = bool | Callable[..., Any]
Params = PoolingParams | Sequence[PoolingParams] | None


class LLM:
    """A pooling model, loaded and ready.

    Args:
        model: a folder, a hub name, or None for the embedded all-MiniLM-L6-v2.
        runner: "auto" or "pooling".
        convert: "auto", "none" or "embed", which takes the bare model of a classifier, a reranker or a reward model.
        tokenizer: another folder or hub name for the tokenizer.
        trust_remote_code: accepted and never needed, for no code of a checkpoint is executed.
        dtype: "auto" (float32 on a CPU, bfloat16 on accelerators), "float32", "bfloat16", or "float16" ("half").
        max_model_len: tokens of the longest text, up to what the positions allow: a number, "8k", or "auto" and -1 for all.
        revision: branch, tag or commit of a hub model.
        hf_token: opens gated models.
        hf_overrides: a dict merged into `config.json`, or a function of it.
        pooler_config: a `PoolerConfig` or a dict of its fields; wins over the checkpoint's files.
        download_dir: where hub models are kept.
        served_model_name: the name in messages, instead of `model`; of several the first.
        quantization: "int8" keeps the layers' matrices in 8 bits.
        device: "cpu", "cuda" or "tpu"; jax's first device by default. One that is not there is an error.
        **options: what else vLLM's `LLM` has is taken where it asks for nothing that this engine does not have, and refused
            by its name otherwise.

    Raises:
        InputError: an option that cannot be met.
        ModelNotFoundError: nothing is to be found under the name.
        CheckpointError: the files are missing, damaged, or contradict each other.
        UnsupportedModelError: the checkpoint asks for something that is not implemented.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        runner: str = "auto",
        convert: str = "auto",
        tokenizer: str | None = None,
        trust_remote_code: bool = False,
        dtype: Any = "auto",
        max_model_len: int | str | None = None,
        revision: str | None = None,
        hf_token: str | bool | None = None,
        hf_overrides: Mapping[str, Any] | Callable[[Any], Any] | None = None,
        pooler_config: PoolerConfig | Mapping[str, Any] | None = None,
        download_dir: str | None = None,
        served_model_name: str | Sequence[str] | None = None,
        quantization: str | None = None,
        device: Any = None,
        **options: Any,
    ) -> None:
        _check_runner(runner, convert)
        given = options.pop("override_pooler_config", None)  # as vLLM called it before
        pooler_config = given if pooler_config is None else pooler_config
        check(options)
        if hf_overrides is not None and not callable(hf_overrides) and not isinstance(hf_overrides, Mapping):
            raise InputTypeError(
                f"hf_overrides must be a dict or a function, not {type(hf_overrides).__name__}.", field="hf_overrides"
            )
        # A copy, because a default is filled in below that belongs to this model and not to the caller's next one.
        self._pooler = copy(pooler_config) if isinstance(pooler_config, PoolerConfig) else _pooler(pooler_config)
        self.engine = load_engine(
            None if model is None else str(model),
            revision=revision,
            token=hf_token,
            cache_dir=download_dir,
            dtype=dtype,
            max_model_len=length(max_model_len),
            hf_overrides=hf_overrides or None,
            pooling_mode=self._pooler.mode,
            tokenizer=tokenizer,
            without_head=convert == "embed",
            quantization=quantization,
            device=find_device(None if device == "auto" else device),
        )
        self._shorten(self._pooler.max_embed_len)
        if self._pooler.use_activation is None:
            self._pooler.use_activation = self.engine.model.recipe.normalize
        names = [served_model_name] if isinstance(served_model_name, str) else list(served_model_name or ())
        self.name = names[0] if names else self.engine.model.name
        # What the model is served for where a caller does not say.
        self.task: Task = TASKS[self._pooler.task or EMBED.name]

    def _shorten(self, longest: int | None) -> None:
        """Lowers the longest text to `max_embed_len` of the pooler's config."""
        model = self.engine.model
        if longest is not None and longest < model.max_length:
            self.engine = copy(self.engine)
            self.engine.model = replace(model, encoder=replace(model.encoder, max_length=longest))

    @property
    def model_config(self) -> ModelConfig:
        """What is known of the model."""
        model = self.engine.model
        return model_config(model, self.name, self._pooler, np.dtype(model.dtype).name)

    @property
    def llm_engine(self) -> LlmEngine:
        """Where vLLM keeps its configs."""
        return LlmEngine(VllmConfig(self.model_config))

    @property
    def supported_tasks(self) -> tuple[str, ...]:
        """The tasks that `encode` takes."""
        return tuple(asked_by(POOLING))

    def warm_up(self, tasks: Sequence[str] = ("embed",)) -> None:
        """Compiles every program of some tasks now, so that no later call waits for one."""
        self.engine.warm_up([TASKS[task] for task in tasks])

    def get_tokenizer(self) -> Any:
        """Returns the model's tokenizer as transformers has it."""
        return self.engine.model.tokenizer.as_transformers()

    def embed(
        self,
        prompts: Any,
        *,
        use_tqdm: Bar = True,
        pooling_params: Params = None,
        lora_request: Any = None,
        tokenization_kwargs: Mapping[str, Any] | None = None,
    ) -> list[EmbeddingRequestOutput]:
        """Returns one embedding for each prompt, in order.

        Args:
            prompts: str, list[str], token ids, dicts with "prompt" or "prompt_token_ids", or a list that mixes them.
            use_tqdm: whether a progress bar is shown, or a function that makes one.
            pooling_params: one for all, or one for each.
            lora_request: must be None, or a list of None.
            tokenization_kwargs: how texts become tokens: "truncate_prompt_tokens" (-1 for the model's length; without it a
                text that is too long is an error), "truncation_side", "add_special_tokens".

        Raises:
            InputError: a prompt cannot be taken; nothing has run then.
        """
        results = self._run("embed", prompts, pooling_params, use_tqdm, lora_request, tokenization_kwargs)
        return [EmbeddingRequestOutput(_id("embd"), EmbeddingOutput(data), ids) for data, ids in results]

    def encode(
        self,
        prompts: Any,
        pooling_params: Params = None,
        *,
        use_tqdm: Bar = True,
        lora_request: Any = None,
        pooling_task: str | None = None,
        tokenization_kwargs: Mapping[str, Any] | None = None,
    ) -> list[PoolingRequestOutput]:
        """Returns the raw result for each prompt: one vector for "embed", one for each token for "token_embed".

        Args:
            prompts: as in `embed`, and so are the other arguments.
            pooling_task: what to compute.

        Raises:
            InputError: no task is named, or one that the model does not have; and as `embed`.
        """
        if pooling_task is None:
            raise InputError(
                "pooling_task required for `LLM.encode`. Please use one of the more specific methods or set the pooling_task "
                f'when using `LLM.encode`:{_HINTS}\n - For an embedding of each token, use `pooling_task="token_embed"`.',
                field="pooling_task",
            )
        if pooling_task in ("classify", "token_classify"):
            raise InputError(
                "Classification API is not supported by this model. Try converting the model using `--convert classify`.",
                field="pooling_task",
            )
        with fields_as({"task": "pooling_task"}):
            results = self._run(pooling_task, prompts, pooling_params, use_tqdm, lora_request, tokenization_kwargs)
        return [PoolingRequestOutput(_id("pooling"), PoolingOutput(data.view(Tensor)), ids) for data, ids in results]

    def classify(self, prompts: Any, **options: Any) -> None:
        """Raises `InputError`: an embedding model has no classes."""
        raise InputError(
            "Classification API is not supported by this model. Try converting the model using `--convert classify`."
        )

    def reward(self, prompts: Any, **options: Any) -> None:
        """Raises `InputError`: an embedding model gives no rewards."""
        raise InputError(
            "Reward API is not supported by this model; reward models are not served yet. For a vector of each token, use "
            '`LLM.encode(..., pooling_task="token_embed")`.'
        )

    def reset_prefix_cache(self, *args: Any, **options: Any) -> bool:
        """Returns True: nothing is cached."""
        return True

    def generate(self, *args: Any, **options: Any) -> None:
        """Raises `InputError`: a pooling model writes no text."""
        raise InputError("LLM.generate() is only supported for generative models; jaxembed runs pooling models only.")

    def score(
        self,
        data_1: Any,
        data_2: Any,
        /,
        *,
        use_tqdm: Bar = True,
        pooling_params: PoolingParams | None = None,
        lora_request: Any = None,
        tokenization_kwargs: Mapping[str, Any] | None = None,
        chat_template: str | None = None,
    ) -> list[ScoringRequestOutput]:
        """Returns how similar pairs of texts are: one with one, one with each of many, or many with as many.

        By cosine, or by late interaction where `pooler_config` has the task "token_embed".

        Args:
            data_1: one text, or as many as `data_2` has: any prompt that `embed` takes, {"text": ...}, or {"content": [parts]}.
            data_2: one text or more.
            pooling_params: for both sides; the other arguments are as in `embed`.
            chat_template: must be None.

        Raises:
            InputError: the numbers of texts do not go together; and as `embed`.
        """
        if chat_template is not None:
            raise InputError(
                "chat_template is not supported for scores of an embedding model; write the prompts out.", field="chat_template"
            )
        left, right = _side(data_1, "text", "data_1"), _side(data_2, "text_pair", "data_2")
        if len(left) not in (1, len(right)):
            raise InputError("Input lengths must be either 1:1, 1:N or N:N")
        with _sides(len(left), len(right)):
            results = self._run(self.task.name, left + right, pooling_params, use_tqdm, lora_request, tokenization_kwargs)
        ones, others = results[: len(left)], results[len(left) :]
        ones = ones * len(others) if len(ones) == 1 else ones
        compare = self.task.compare
        assert compare is not None, "a task that a model is served for compares"
        return [
            ScoringRequestOutput(_id("score"), ScoringOutput(compare(a, b)), [*a_ids, *b_ids])
            for (a, a_ids), (b, b_ids) in zip(ones, others, strict=True)
        ]

    def stream(
        self,
        prompts: Any,
        pooling_params: Params = None,
        *,
        task: str = "embed",
        prefix: str = "",
        progress: Progress | None = None,
        tokenization_kwargs: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Checks every prompt at once, then yields each one's array and token ids, int32, as the engine finishes windows.

        Args:
            prompts: as in `embed`, and so are `pooling_params` and `tokenization_kwargs`.
            task: what to compute.
            prefix: put before every prompt that is a text; a model whose pooling leaves prompts out does so.
            progress: called with how many texts and tokens have been finished since the last call.

        Raises:
            InputError: as `embed`.
        """
        return self._stream(read_prompts(prompts), pooling_params, task, prefix, progress, tokenization_kwargs)

    def _run(
        self,
        task: str,
        prompts: Any,
        params: Params,
        use_tqdm: Bar,
        lora_request: Any,
        tokenization_kwargs: Mapping[str, Any] | None,
    ) -> list[tuple[np.ndarray, list[int]]]:
        """Runs `stream` to its end under a progress bar."""
        if any(one is not None for one in (lora_request if isinstance(lora_request, list | tuple) else [lora_request])):
            raise InputError(
                "lora_request is not supported; merge the adapter into the checkpoint first.", field="lora_request"
            )
        read = read_prompts(prompts)
        with _bar(use_tqdm, len(read)) as bar, fields_as({}, truncate=_HOW_TO_TRUNCATE):
            results = self._stream(read, params, task, "", lambda texts, _: bar.update(texts), tokenization_kwargs)
            return [(data, ids.tolist()) for data, ids in results]

    def _stream(
        self,
        prompts: Sequence[Prompt],
        params: Params,
        task: str,
        prefix: str,
        progress: Progress | None,
        tokenization_kwargs: Mapping[str, Any] | None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        options = self._options(params, len(prompts), task)
        encoder = self.engine.model.encoder
        tokenization = encoder.tokenization({**(tokenization_kwargs or {}), **_older_truncation(params)})
        with fields_as({"max_length": "truncate_prompt_tokens"}):
            texts = list(encoder.texts(prompts, options, tokenization=tokenization, prefix=prefix))
        ids = [text.ids for text in texts]
        return zip(self.engine.run(texts, TASKS[task], progress=progress), ids, strict=True)

    def _options(self, params: Params, count: int, task: str) -> Options | list[Options]:
        """What is asked of each text, or of all."""
        if params is None or isinstance(params, PoolingParams):
            return self.options(params or PoolingParams(), task)
        if not isinstance(params, Sequence) or not all(isinstance(one, PoolingParams) for one in params):
            raise InputTypeError(
                f"pooling_params must be a PoolingParams or a list of them, not {type(params).__name__}.",
                field="pooling_params",
            )
        if len(params) != count:
            raise InputError(
                f"The lengths of prompts ({count}) and params ({len(params)}) must be the same.", field="pooling_params"
            )
        return [self.options(one, task) for one in params]

    def options(self, params: PoolingParams, task: str) -> Options:
        """Returns what `params` ask for a text, with this model's defaults. Raises `InputError` for what it cannot do."""
        model = self.engine.model
        return params.options(task, self._pooler, model=self.name, width=model.width, matryoshka=model.recipe.matryoshka)


def _bar(use_tqdm: Bar, count: int) -> Any:
    """A progress bar, one that `use_tqdm` makes, or one that shows nothing."""
    from tqdm.auto import tqdm

    make = use_tqdm if callable(use_tqdm) else tqdm
    return make(total=count, desc="Processed prompts", unit="text", dynamic_ncols=True, disable=not use_tqdm)


def _older_truncation(params: Params) -> dict[str, int | None]:
    """What params say of truncation, in the place where vLLM used to have it."""
    given = [params] if isinstance(params, PoolingParams) else params or ()
    asked = {one.truncate_prompt_tokens for one in given} or {None}
    if len(asked) > 1:
        raise InputError(
            "truncate_prompt_tokens must be the same in all pooling_params of a call.", field="truncate_prompt_tokens"
        )
    return {} if asked == {None} else {"truncate_prompt_tokens": asked.pop()}


def _id(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex}"


@contextmanager
def _sides(left: int, right: int) -> Iterator[None]:
    """Gives errors about one of the texts of both sides the side that it is on, and its place there."""
    try:
        yield
    except InputError as error:
        if error.index is not None:
            error.field, place, count = (
                ("data_1", error.index, left) if error.index < left else ("data_2", error.index - left, right)
            )
            error.index = place if count > 1 else None
        raise


def _side(data: Any, name: str, field: str) -> list[Prompt]:
    if isinstance(data, Sequence) and not len(data):
        raise InputError(f"At least one {name} element must be given", field=field)
    with fields_as({"prompts": field, "messages": field}):
        return read_prompts([plain(each) for each in data] if isinstance(data, list | tuple) else plain(data))


def _pooler(fields: Mapping[str, Any] | None) -> PoolerConfig:
    known = set(PoolerConfig.__dataclass_fields__)
    unknown = sorted(set(fields or {}) - known)
    if unknown:
        raise InputError(
            f"pooler_config has no field {unknown[0]!r}; it has {', '.join(sorted(known))}.", field="pooler_config"
        )
    return PoolerConfig(**(fields or {}))


def _check_runner(runner: str, convert: str) -> None:
    if runner == "generate":
        raise InputError(
            "runner='generate' is not supported: jaxembed runs pooling models only. Try runner='pooling'.", field="runner"
        )
    if runner not in ("auto", "pooling"):
        raise InputError(f"runner must be 'auto' or 'pooling', not {runner!r}.", field="runner")
    if convert == "classify":
        raise InputError("convert='classify' is not supported; convert may be 'auto', 'none' or 'embed'.", field="convert")
    if convert not in ("auto", "none", "embed"):
        raise InputError(f"convert must be 'auto', 'none' or 'embed', not {convert!r}.", field="convert")
