"""The API of sentence-transformers over the engine: a user switches by changing one import.

Behavior follows sentence-transformers 6.2: texts longer than `max_seq_length` are cut without a word, as there; vectors come
as the checkpoint's modules make them; `truncate_dim` comes before `normalize_embeddings`.
"""

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from jaxembed.convert.checkpoint.sentence_bert import CONFIG_CHANGES, read_transformer_file
from jaxembed.convert.formats.json_files import read_json, transformer_place
from jaxembed.errors import InputError, InputTypeError, fields_as
from jaxembed.heads.recipe import NormalizeHead
from jaxembed.heads.task import Task, together
from jaxembed.heads.tokens import HIDDEN
from jaxembed.heads.vectors import EMBED
from jaxembed.inputs.tokenizer import Side
from jaxembed.loading import load_engine
from jaxembed.sentence_transformers import similarity
from jaxembed.sentence_transformers.arguments import MODEL_NEUTRAL, PROCESSOR_NEUTRAL, dtype_of, known, listed, takes_positions
from jaxembed.sentence_transformers.modules import PoolingView, TransformerView
from jaxembed.sentence_transformers.quantization import PRECISIONS, quantize_embeddings
from jaxembed.sentence_transformers.saving import SETTINGS, save

logger = logging.getLogger(__name__)

_OUTPUT_VALUES = ("sentence_embedding", "token_embeddings", None)
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
# What `encode` calls the fields of errors that come from below it.
_FIELDS = {"prompts": "inputs", "max_length": "max_seq_length"}


class SentenceTransformer:
    """An embedding model with the methods of `sentence_transformers.SentenceTransformer`.

    Args:
        model_name_or_path: a folder, a hub name, or None for the embedded all-MiniLM-L6-v2.
        modules: must be None.
        device: accepted; the model runs on jax's default device.
        prompts: by name, beside those of the checkpoint.
        default_prompt_name, similarity_fn_name, truncate_dim: what the checkpoint's files say, if not given.
        cache_folder, revision, local_files_only, token, use_auth_token: where and how a hub model is looked for.
        trust_remote_code: accepted and never needed, for no code of a checkpoint is executed.
        model_kwargs: "torch_dtype" or "dtype" is read. What else it holds is an error, unless it changes no vector.
        processor_kwargs: "model_max_length" and "truncation_side" are read; the rest is as for `model_kwargs`.
        tokenizer_kwargs: the older name of `processor_kwargs`.
        config_kwargs: merged into `config.json`.
        model_card_data: accepted, without effect.
        backend: "jax", or "torch" which means the same here.
    """

    @takes_positions
    def __init__(
        self,
        model_name_or_path: str | Path | None = None,
        *,
        modules: Any = None,
        device: Any = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: Any = None,
        cache_folder: str | None = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        use_auth_token: bool | str | None = None,
        truncate_dim: int | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        config_kwargs: Mapping[str, Any] | None = None,
        model_card_data: Any = None,
        backend: str = "jax",
    ) -> None:
        if modules is not None:
            raise InputError(
                "modules= takes torch modules, which jaxembed does not run; give the folder of a saved model.", field="modules"
            )
        if backend not in ("jax", "torch"):
            raise InputError(f"backend must be 'jax', not {backend!r}.", field="backend")
        words = processor_kwargs or tokenizer_kwargs
        words = known("processor_kwargs", words, {"model_max_length", "truncation_side"}, PROCESSOR_NEUTRAL)
        side: Side | None = words.get("truncation_side")
        if side not in ("left", "right", None):
            raise InputError(f"truncation_side must be 'left' or 'right', not {side!r}.", field="processor_kwargs")
        with fields_as({"hf_overrides": "config_kwargs", "max_model_len": "processor_kwargs"}):
            self.engine = load_engine(
                None if model_name_or_path is None else str(model_name_or_path),
                revision=revision,
                token=token if use_auth_token is None else use_auth_token,
                cache_dir=cache_folder,
                local_files_only=local_files_only,
                dtype=dtype_of(known("model_kwargs", model_kwargs, {"dtype", "torch_dtype"}, MODEL_NEUTRAL)),
                hf_overrides=config_kwargs,
                without_head=False,
                max_model_len=words.get("model_max_length"),
            )
        model = self.engine.model
        self._side: Side = side or model.tokenizer.side
        self.truncate_dim = model.recipe.truncate_dim if truncate_dim is None else truncate_dim
        self.prompts = {"query": "", "document": "", **model.recipe.prompts, **(prompts or {})}
        self.default_prompt_name = default_prompt_name or model.recipe.default_prompt_name
        if self.default_prompt_name is not None:
            self._check_prompt_name(self.default_prompt_name, "default_prompt_name")
        self.similarity_fn_name = similarity_fn_name or model.recipe.similarity or "cosine"
        self._max_seq_length = model.max_length
        self._files_length = None if "model_max_length" in words else model.max_length
        self._config_kwargs = config_kwargs
        recipe = model.recipe
        self._loaded = {
            "prompts": {"query": "", "document": "", **recipe.prompts},
            "default_prompt_name": recipe.default_prompt_name,
            "similarity_fn_name": recipe.similarity or "cosine",
            **({} if recipe.truncate_dim is None else {"truncate_dim": recipe.truncate_dim}),
        }

    # What the model is.

    @property
    def device(self) -> str:
        """The kind of device that the model runs on."""
        return self.engine.target.platform

    @functools.cached_property
    def tokenizer(self) -> Any:
        """The tokenizer as transformers has it."""
        return self.engine.model.tokenizer.as_transformers()

    @property
    def max_seq_length(self) -> int:
        """The tokens to which texts are cut; may be set up to what the model's positions allow."""
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        longest = self.engine.model.config.longest
        if not 1 <= value <= longest:
            raise InputError(
                f"max_seq_length must be between 1 and {longest} for this model, not {value}.", field="max_seq_length"
            )
        self._max_seq_length = value

    @property
    def similarity_fn_name(self) -> str:
        """The name of the function behind `similarity`: cosine, dot, euclidean or manhattan."""
        return self._similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: Any) -> None:
        self._similarity_fn_name = similarity.check_name(value)

    def get_embedding_dimension(self) -> int:
        """Returns the dimensions of a vector, after `truncate_dim`."""
        width = self.engine.model.width
        return width if self.truncate_dim is None else min(width, self.truncate_dim)

    get_sentence_embedding_dimension = get_embedding_dimension

    def get_max_seq_length(self) -> int:
        """Returns `max_seq_length`."""
        return self.max_seq_length

    def to(self, *target: Any, **options: Any) -> "SentenceTransformer":
        """Returns the model, which stays on the default device. Raises `InputError` for a type, which is chosen at loading."""
        asked = [str(one) for one in (*target, *options.values())]
        if any("float" in one for one in asked):
            raise InputError(
                f"a model is loaded in a type and stays in it; give model_kwargs={{'torch_dtype': ...}}, not {asked[0]}.",
                field="dtype",
            )
        return self

    def eval(self) -> "SentenceTransformer":
        """Returns the model, which never trains."""
        return self

    def _modules(self) -> list[Any]:
        recipe = self.engine.model.recipe
        pooling = PoolingView(recipe.modes, self.engine.model.config.output_width * len(recipe.modes), recipe.include_prompt)
        return [
            TransformerView(self.max_seq_length, lambda: self.tokenizer),
            pooling,
            *recipe.heads,
            *([NormalizeHead()] if recipe.normalize else []),
        ]

    def __len__(self) -> int:
        return len(self._modules())

    def __getitem__(self, index: int) -> Any:
        """What can be said of a module: its settings, not its weights."""
        return self._modules()[index]

    def __repr__(self) -> str:
        model = self.engine.model
        pooling = " + ".join(model.recipe.modes)
        return f"SentenceTransformer({model.name!r}, {model.family}, pooling {pooling}, {model.width} dimensions)"

    # Texts to vectors.

    def encode(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: str = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: Any = None,
        chunk_size: int | None = None,
        *,
        sentences: Any = None,
        **options: Any,
    ) -> Any:
        """Returns the embeddings of texts: float32 [d] for a str, [n, d] for a list, in input order.

        Args:
            inputs: a str or any number of them; `sentences` is its older name.
            prompt_name: the name of a prompt in `prompts`, put before each text.
            prompt: the prompt itself. It wins, then `prompt_name`, then the default.
            show_progress_bar: None shows one where the logger is at INFO or DEBUG.
            output_value: "token_embeddings" gives a list of [tokens, d], None a list of dicts with both.
            precision: see `quantize_embeddings`.
            convert_to_numpy: False gives a list of vectors.
            convert_to_tensor: gives a `jax.Array`, whatever `convert_to_numpy` says.
            normalize_embeddings: whether vectors get unit length, after `truncate_dim`.
            truncate_dim: the dimensions to keep, instead of the model's own setting.
            batch_size, device, pool, chunk_size: accepted: rows are packed by tokens, and one engine uses the whole machine.

        Raises:
            InputError: an unknown argument or prompt name.
        """
        inputs = inputs if sentences is None else sentences
        unknown = sorted(set(options) - {"task"})
        if unknown:
            raise InputError(
                f"SentenceTransformer.encode() has no argument {unknown[0]!r} that this model uses.", field=unknown[0]
            )
        self._check_task(options.get("task"))
        if batch_size <= 0:
            raise InputError(f"batch_size must be a positive integer, got {batch_size}.", field="batch_size")
        if precision is not None and precision not in PRECISIONS:
            raise InputError(f"Precision {precision!r} is not supported, must be one of {list(PRECISIONS)}", field="precision")
        if output_value not in _OUTPUT_VALUES:
            raise InputError(
                f"output_value must be 'sentence_embedding', 'token_embeddings' or None, not {output_value!r}.",
                field="output_value",
            )
        quantized = precision not in (None, "float32")
        if output_value is None and quantized:
            raise InputError(
                f"precision={precision!r} needs output_value 'sentence_embedding' or 'token_embeddings'.", field="precision"
            )
        lone = isinstance(inputs, str | Mapping)
        texts = listed([inputs] if lone else inputs)
        prefix = self._resolve_prompt(prompt, prompt_name)
        if show_progress_bar is None:
            show_progress_bar = logger.getEffectiveLevel() in (logging.INFO, logging.DEBUG)
        if output_value is None:
            found: Any = [
                {"sentence_embedding": self._after(vector, truncate_dim, False), "token_embeddings": states}
                for vector, states in self._run(texts, prefix, together(EMBED, HIDDEN), show_progress_bar)
            ]
            return found[0] if lone else found
        if output_value == "token_embeddings":
            found = list(self._run(texts, prefix, HIDDEN, show_progress_bar))
            found = quantize_embeddings(found, str(precision)) if quantized else found
            return found[0] if lone else found
        rows = list(self._run(texts, prefix, EMBED, show_progress_bar))
        vectors = self._after(np.stack(rows) if rows else np.zeros((0,), np.float32), truncate_dim, normalize_embeddings)
        if quantized and len(vectors):
            vectors = quantize_embeddings(vectors, str(precision))
        if convert_to_tensor:
            import jax.numpy as jnp

            return jnp.asarray(vectors[0] if lone else vectors)
        found = vectors if convert_to_numpy else list(vectors)
        return found[0] if lone else found

    def encode_query(self, inputs: Any, prompt_name: str | None = None, prompt: str | None = None, **options: Any) -> Any:
        """Returns `encode` of queries, with the prompt "query" unless another is given."""
        if prompt is None and prompt_name is None and "query" in self.prompts:
            prompt_name = "query"
        return self.encode(inputs, prompt_name, prompt, task="query", **options)

    def encode_document(self, inputs: Any, prompt_name: str | None = None, prompt: str | None = None, **options: Any) -> Any:
        """Returns `encode` of documents, with the first prompt there is of "document", "passage", "corpus"."""
        if prompt is None and prompt_name is None:
            prompt_name = next((name for name in _DOCUMENT_PROMPTS if name in self.prompts), None)
        return self.encode(inputs, prompt_name, prompt, task="document", **options)

    def tokenize(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns "input_ids" and "attention_mask", int64 [n, tokens of the longest], cut to `max_seq_length` and padded.

        For reading only: `encode` tokenizes by itself and pads nothing.
        """
        with fields_as(_FIELDS):
            ids = self.engine.model.tokenizer.encode(listed(texts), max_length=self.max_seq_length, side=self._side)
        mask = np.arange(max(map(len, ids), default=0)) < np.array([len(one) for one in ids])[:, None]
        padded = np.full(mask.shape, self.tokenizer.pad_token_id or 0, np.int64)
        padded[mask] = np.concatenate(ids) if ids else []
        return {"input_ids": padded, "attention_mask": mask.astype(np.int64)}

    preprocess = tokenize

    def warm_up(self) -> None:
        """Compiles every program now, so that no later call waits for one."""
        self.engine.warm_up(longest=self.max_seq_length)

    # Vectors to numbers.

    def similarity(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """Returns the similarity of all pairs, float32 [n, m], by `similarity_fn_name`."""
        return similarity.similarity(self.similarity_fn_name, embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """Returns the similarity of each vector with its partner, float32 [n], by `similarity_fn_name`."""
        return similarity.similarity_pairwise(self.similarity_fn_name, embeddings1, embeddings2)

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Sets `truncate_dim` inside a with statement."""
        before, self.truncate_dim = self.truncate_dim, truncate_dim
        try:
            yield
        finally:
            self.truncate_dim = before

    # Things around it.

    def save_pretrained(self, path: str | Path) -> None:
        """Copies the checkpoint's files to `path`, with what was set since: prompts, lengths, similarity, `config_kwargs`."""
        if self.default_prompt_name is not None:
            self._check_prompt_name(self.default_prompt_name, "default_prompt_name")
        save(self.engine.model.folder, Path(path), self._changes())

    save = save_pretrained

    def _settings(self) -> dict[str, Any]:
        found = {
            "prompts": dict(self.prompts),
            "default_prompt_name": self.default_prompt_name,
            "similarity_fn_name": self.similarity_fn_name,
        }
        return found if self.truncate_dim is None else {**found, "truncate_dim": self.truncate_dim}

    def _changes(self) -> dict[str, Mapping[str, Any]]:
        """Returns by file what differs from the checkpoint's; what nobody touched is saved as it is."""
        model = self.engine.model
        changes: dict[str, Mapping[str, Any]] = {}
        if self._settings() != self._loaded:
            changes[SETTINGS] = self._settings()
        place, named = PurePosixPath(transformer_place(model.folder)), read_transformer_file(model.folder).name
        lengths: dict[str, Any] = {} if self._max_seq_length == self._files_length else {"max_seq_length": self._max_seq_length}
        if self._config_kwargs:
            changes[str(place / "config.json")] = dict(model.config_json)
            # Its changes are in the config already; made again they would undo those of the caller.
            lengths |= dict.fromkeys(CONFIG_CHANGES & (read_json(model.folder / named) or {}).keys())
        if lengths:
            changes[named] = lengths
        if self._side != model.tokenizer.side:
            changes[str(place / "tokenizer_config.json")] = {"truncation_side": self._side}
        return changes

    def start_multi_process_pool(self, target_devices: Sequence[Any] | None = None) -> dict[str, Any]:
        """Returns a stand-in for a pool: one engine already uses the whole machine, so there are no processes to start."""
        return {"input": None, "output": None, "processes": []}

    @staticmethod
    def stop_multi_process_pool(pool: Mapping[str, Any]) -> None:
        """Does nothing: no processes were started."""

    def encode_multi_process(self, inputs: Any, pool: Any, **options: Any) -> Any:
        """Returns `encode` of the texts."""
        return self.encode(inputs, pool=pool, **options)

    def _run(self, texts: Sequence[str], prefix: str, task: Task, bar: bool) -> Iterator[Any]:
        """Yields what the engine gives for each text with its prompt, as the modules make it."""
        model = self.engine.model
        encoder = replace(model.encoder, max_length=self.max_seq_length)
        # The first token of a text that has none is a neighbor's, so there the empty text stays an error.
        empty = "cls" not in model.recipe.modes
        encoded = encoder.texts(
            texts, model.options, tokenization=encoder.cut(self._side), prefix=prefix, empty=empty, messages=True
        )
        if not bar:
            with fields_as(_FIELDS):
                yield from self.engine.run(encoded, task)
            return
        from tqdm.auto import tqdm

        with fields_as(_FIELDS), tqdm(total=len(texts), desc="Texts", unit="text") as shown:
            yield from self.engine.run(encoded, task, progress=lambda count, tokens: shown.update(count))

    def _after(self, vectors: np.ndarray, truncate_dim: int | None, normalize: bool) -> np.ndarray:
        width = self.truncate_dim if truncate_dim is None else truncate_dim
        vectors = vectors if width is None else np.ascontiguousarray(vectors[..., :width])
        if normalize:
            vectors = similarity.unit(vectors)
        return vectors

    def _resolve_prompt(self, prompt: str | None, prompt_name: str | None) -> str:
        if prompt is not None:
            if not isinstance(prompt, str):
                raise InputTypeError(f"prompt must be a str, not {type(prompt).__name__}.", field="prompt")
            if prompt_name is not None:
                logger.warning("Both prompt and prompt_name are given; prompt_name is ignored.")
            return prompt
        name = prompt_name if prompt_name is not None else self.default_prompt_name
        if name is None:
            return ""
        self._check_prompt_name(name, "default_prompt_name" if prompt_name is None else "prompt_name")
        return self.prompts[name]

    def _check_task(self, task: Any) -> None:
        """Raises `InputError` for the task of an adapter (jina v3, v5), which is chosen when a model is loaded."""
        config = self.engine.model.config_json
        tasks = config.get("lora_adaptations") or config.get("task_names")
        if tasks and task not in (None, "query", "document", config.get("jina_task", "")):
            raise InputError(
                f"task {task!r} cannot be chosen in a call; give config_kwargs={{'jina_task': ...}} at loading, which may be "
                f"one of {', '.join(tasks)}, or None for no adapter.",
                field="task",
            )

    def _check_prompt_name(self, name: str, field: str) -> None:
        if name not in self.prompts:
            raise InputError(
                f"Prompt name {name!r} not found in the configured prompts dictionary with keys {list(self.prompts)!r}.",
                field=field,
            )
