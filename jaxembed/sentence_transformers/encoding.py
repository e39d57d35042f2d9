"""Texts to vectors: `encode` and what stands around it."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jaxembed.engine.devices import check_device
from jaxembed.engine.engine import Engine
from jaxembed.errors import InputError, InputTypeError, fields_as
from jaxembed.heads.task import Task, together
from jaxembed.heads.tokens import HIDDEN
from jaxembed.heads.vectors import EMBED
from jaxembed.inputs.tokenizer import Side
from jaxembed.packing.text import NOTHING, Text, nothing
from jaxembed.sentence_transformers import similarity
from jaxembed.sentence_transformers.arguments import One, is_one, listed
from jaxembed.sentence_transformers.mteb import wrapper
from jaxembed.sentence_transformers.quantization import PRECISIONS, quantize_embeddings
from jaxembed.sentence_transformers.texts import Texts
from jaxembed.tensors import array, tensor

# The logger whose level decides of the bar is that of the class, as in sentence-transformers.
logger = logging.getLogger("jaxembed.sentence_transformers.sentence_transformer")

_OUTPUT_VALUES = ("sentence_embedding", "token_embeddings", None)
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
# What `encode` calls the fields of errors that come from below it.
_FIELDS = {"prompts": "inputs", "max_length": "max_seq_length"}


class Encoding:
    """The methods of a SentenceTransformer that are given texts."""

    engine: Engine
    tokenizer: Any
    prompts: dict[str, str]
    default_prompt_name: str | None
    truncate_dim: int | None
    max_seq_length: Any
    _side: Side

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
            inputs: a str or any number of them; `sentences` is its older name. Two in a tuple or a list are tokenized as a
                pair. What has no tokens at all gets the vector of zeros.
            prompt_name: the name of a prompt in `prompts`, put before each text.
            prompt: the prompt itself. It wins, then `prompt_name`, then the default.
            show_progress_bar: None shows one where the logger is at INFO or DEBUG.
            output_value: "token_embeddings" gives a list of [tokens, d], None a list of dicts with all there is of a text.
            precision: see `quantize_embeddings`.
            convert_to_numpy: False gives a list of tensors.
            convert_to_tensor: gives a tensor, whatever `convert_to_numpy` says. A tensor is torch's if torch is installed, else
                a numpy array on which torch's commonest words work.
            normalize_embeddings: whether vectors get unit length, after `truncate_dim`.
            truncate_dim: the dimensions to keep, instead of the model's own setting.
            batch_size, pool, chunk_size: accepted: rows are packed by tokens, and one engine uses the whole machine.
            device: accepted where it names the kind of device that the model runs on.

        Raises:
            InputError: an unknown argument or prompt name, or an item that is no text; the message names its place.
            BackendError: in a process that was forked after a model had been loaded.
        """
        inputs = inputs if sentences is None else sentences
        if "task_metadata" in options:
            return wrapper(self).encode(inputs, batch_size=batch_size, show_progress_bar=show_progress_bar, **options)
        self._check(options, batch_size, precision, output_value, device)
        texts, lone = listed(inputs), is_one(inputs)
        prefix = self._resolve_prompt(prompt, prompt_name)
        if show_progress_bar is None:
            show_progress_bar = logger.getEffectiveLevel() in (logging.INFO, logging.DEBUG)
        quantized = precision not in (None, "float32")
        found: Any
        if output_value is None:
            found = self._features(texts, prefix, truncate_dim, show_progress_bar)
            return found[0] if lone else found
        if output_value == "token_embeddings":
            found = list(self._run(texts, prefix, HIDDEN, show_progress_bar))
            found = [tensor(one) for one in (quantize_embeddings(found, str(precision)) if quantized else found)]
            return found[0] if lone else found
        rows = list(self._run(texts, prefix, EMBED, show_progress_bar))
        vectors = self._after(np.stack(rows) if rows else np.zeros((0,), np.float32), truncate_dim, normalize_embeddings)
        if quantized and len(vectors):
            vectors = quantize_embeddings(vectors, str(precision))
        if convert_to_tensor:
            return tensor(vectors[0] if lone else vectors)
        found = vectors if convert_to_numpy else [tensor(one) for one in vectors]
        return found[0] if lone else found

    def encode_query(
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
        **options: Any,
    ) -> Any:
        """Returns `encode` of queries, with the prompt "query" unless another is given."""
        asked = {name: value for name, value in locals().items() if name not in ("self", "options", "__class__")}
        if prompt is None and prompt_name is None and "query" in self.prompts:
            asked["prompt_name"] = "query"
        return self.encode(**_inputs(asked, options), **{"task": "query", **options})

    def encode_document(
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
        **options: Any,
    ) -> Any:
        """Returns `encode` of documents, with the first prompt there is of "document", "passage", "corpus"."""
        asked = {name: value for name, value in locals().items() if name not in ("self", "options", "__class__")}
        if prompt is None and prompt_name is None:
            asked["prompt_name"] = next((name for name in _DOCUMENT_PROMPTS if name in self.prompts), None)
        return self.encode(**_inputs(asked, options), **{"task": "document", **options})

    def _check(self, options: Mapping[str, Any], batch_size: Any, precision: Any, output_value: Any, device: Any) -> None:
        """Raises `InputError` for an argument of `encode` that cannot be met."""
        unknown = sorted(set(options) - {"task"})
        if unknown:
            raise InputError(
                f"SentenceTransformer.encode() has no argument {unknown[0]!r} that this model uses.", field=unknown[0]
            )
        if batch_size <= 0:
            raise InputError(f"batch_size must be a positive integer, got {batch_size}.", field="batch_size")
        if precision is not None and precision not in PRECISIONS:
            raise InputError(f"Precision {precision!r} is not supported, must be one of {list(PRECISIONS)}", field="precision")
        if output_value not in _OUTPUT_VALUES:
            raise InputError(
                f"output_value must be 'sentence_embedding', 'token_embeddings' or None, not {output_value!r}.",
                field="output_value",
            )
        if output_value is None and precision not in (None, "float32"):
            raise InputError(
                f"precision={precision!r} needs output_value 'sentence_embedding' or 'token_embeddings'.", field="precision"
            )
        check_device(device, self.engine.target.platform)
        self._check_task(options.get("task"))

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

    def _features(self, texts: Sequence[One], prefix: str, truncate_dim: int | None, bar: bool) -> list[dict[str, Any]]:
        """Returns for each text what sentence-transformers' modules pass on."""
        encoded = list(self._texts(texts, prefix))
        results = self._engine(encoded, together(EMBED, HIDDEN), len(texts), bar)
        found = []
        for text, (vector, states) in zip(encoded, results, strict=True):
            features = self._tokens([text], prefix)
            each = {name: one[0] if hasattr(one, "shape") else one for name, one in features.items()}
            each |= {"token_embeddings": tensor(states), "sentence_embedding": tensor(self._after(vector, truncate_dim, False))}
            found.append(each)
        return found

    def tokenize(self, texts: Any, prompt: str | None = None, **options: Any) -> dict[str, Any]:
        """Returns "input_ids", "attention_mask" and, where the model has them, "token_type_ids": int64 [n, longest].

        Texts are cut to `max_seq_length` and padded. For reading: `encode` tokenizes by itself and pads nothing.

        Args:
            texts: what `encode` takes.
            prompt: put before each text; "prompt_length" then says how many tokens it has.
            options: must be empty, but for "task".
        """
        unknown = sorted(set(options) - {"task"})
        if unknown:
            raise InputError(f"preprocess has no argument {unknown[0]!r} that this model uses.", field=unknown[0])
        with fields_as(_FIELDS):
            return self._tokens(list(self._texts(listed(texts), prompt or "")), prompt or "")

    preprocess = tokenize

    def __call__(self, features: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """Returns what `tokenize` made with "token_embeddings" and "sentence_embedding" in it, padded with zeros."""
        ids, mask = (array(features[name]) for name in ("input_ids", "attention_mask"))
        types = array(features["token_type_ids"]) if "token_type_ids" in features else np.zeros_like(ids)
        skip = 0 if self.engine.model.recipe.include_prompt else int(features.get("prompt_length", 0))
        asked = replace(self.engine.model.options, skip=skip)
        texts = [
            Text(one[own > 0].astype(np.int32), asked, kinds[own > 0].astype(np.int32)) if own.any() else nothing(asked)
            for one, own, kinds in zip(ids, mask, types, strict=True)
        ]
        states = np.zeros((*ids.shape, self.engine.model.config.output_width), np.float32)
        vectors = []
        for row, (vector, own) in enumerate(self._engine(texts, together(EMBED, HIDDEN), len(texts), False)):
            states[row][mask[row] > 0] = own[: mask[row].sum()]
            vectors.append(vector)
        made = {"token_embeddings": tensor(states), "sentence_embedding": tensor(np.stack(vectors))}
        return {**features, **made}

    forward = __call__

    def smart_batching_collate(self, batch: Sequence[Any]) -> tuple[list[dict[str, Any]], Any]:
        """Returns the tokenized texts of examples, a batch for each place in them, and their labels."""
        columns = zip(*(example.texts for example in batch), strict=True)
        return [self.tokenize(list(column)) for column in columns], tensor(np.array([example.label for example in batch]))

    def _tokens(self, texts: Sequence[Text], prefix: str) -> dict[str, Any]:
        model = self.engine.model
        # What stands for a text without tokens is none of its own.
        ids = [text.ids[:0] if text.ids is NOTHING else text.ids for text in texts]
        mask = np.arange(max(map(len, ids), default=0)) < np.array([len(one) for one in ids])[:, None]
        padded, types = np.full(mask.shape, self.tokenizer.pad_token_id or 0, np.int64), np.zeros(mask.shape, np.int64)
        for row, text in enumerate(texts):
            padded[row, : len(ids[row])] = ids[row]
            if text.types is not None:
                types[row, : len(ids[row])] = text.types
        named = {"token_type_ids": types} if getattr(model.config, "types", 0) else {}
        found = {"input_ids": padded, **named, "attention_mask": mask.astype(np.int64)}
        features: dict[str, Any] = {name: tensor(values) for name, values in found.items()} | {"modality": "text"}
        if prefix:
            features["prompt_length"] = model.encoder.cut(self._side).length(model.tokenizer, prefix)
        return features

    def _run(self, texts: Sequence[One], prefix: str, task: Task, bar: bool) -> Iterator[Any]:
        """Yields what the engine gives for each text with its prompt, as the modules make it."""
        return self._engine(self._texts(texts, prefix), task, len(texts), bar)

    def _texts(self, texts: Sequence[One], prefix: str) -> Iterator[Text]:
        model = self.engine.model
        encoder = replace(model.encoder, max_length=self.max_seq_length)
        # The first token of a text that has none would be another's, so there the empty text stays an error.
        empty = "cls" not in model.recipe.modes
        return Texts(encoder, model.options, self._side, getattr(model.config, "types", 0), empty)(texts, prefix)

    def _engine(self, encoded: Any, task: Task, count: int, bar: bool) -> Iterator[Any]:
        if not bar:
            with fields_as(_FIELDS):
                yield from self.engine.run(encoded, task)
            return
        from tqdm.auto import tqdm

        with fields_as(_FIELDS), tqdm(total=count, desc="Texts", unit="text") as shown:
            yield from self.engine.run(encoded, task, progress=lambda done, tokens: shown.update(done))

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

    def _check_prompt_name(self, name: str, field: str) -> None:
        if name not in self.prompts:
            raise InputError(
                f"Prompt name {name!r} not found in the configured prompts dictionary with keys {list(self.prompts)!r}.",
                field=field,
            )


def _inputs(asked: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `encode` by name, as subclasses that override it expect; `sentences` is `inputs`' older name."""
    if asked["inputs"] is None and "sentences" in options:
        asked["inputs"] = options.pop("sentences")
    return asked
