"""The API of sentence-transformers over the engine: a user switches by changing one import.

Behavior follows sentence-transformers 6.2: texts longer than `max_seq_length` are cut without a word, as there; vectors come
as the checkpoint's modules make them; `truncate_dim` comes before `normalize_embeddings`.
"""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxembed.engine.devices import find_device
from jaxembed.errors import InputError, fields_as
from jaxembed.inputs.tokenizer import Side
from jaxembed.loading import load_engine
from jaxembed.sentence_transformers import similarity
from jaxembed.sentence_transformers.arguments import MODEL_NEUTRAL, PROCESSOR_NEUTRAL, dtype_of, known, takes_positions
from jaxembed.sentence_transformers.around import Around
from jaxembed.sentence_transformers.encoding import Encoding
from jaxembed.sentence_transformers.model_card import SentenceTransformerModelCardData
from jaxembed.sentence_transformers.modules import Module, modules_of
from jaxembed.sentence_transformers.repooling import repooled
from jaxembed.sentence_transformers.torch_words import TorchWords
from jaxembed.tensors import array, tensor

# sentence-transformers has a package of this name; what it keeps in it is found through `_MOVED` of this package.
__path__: list[str] = []


class SentenceTransformer(Encoding, TorchWords, Around):
    """An embedding model with the methods of `sentence_transformers.SentenceTransformer`.

    Args:
        model_name_or_path: a folder, a hub name, or None for the embedded all-MiniLM-L6-v2.
        modules: must be None.
        device: "cpu", "cuda:1", "tpu"; jax's first device by default. One that is not there is an error.
        prompts: by name, beside those of the checkpoint.
        default_prompt_name, similarity_fn_name, truncate_dim: what the checkpoint's files say, if not given.
        cache_folder, revision, local_files_only, token, use_auth_token: where and how a hub model is looked for.
        trust_remote_code: accepted and never needed, for no code of a checkpoint is executed.
        model_kwargs: "torch_dtype" or "dtype" is read. What else it holds is an error, unless it changes no vector.
        processor_kwargs: "model_max_length" and "truncation_side" are read; the rest is as for `model_kwargs`.
        tokenizer_kwargs: the older name of `processor_kwargs`.
        config_kwargs: merged into `config.json`.
        model_card_data: what evaluators write into and `save` writes out.
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
        words: Mapping[str, Any] = {**(tokenizer_kwargs or {}), **(processor_kwargs or {})}
        words = known("processor_kwargs", words, {"model_max_length", "truncation_side"}, PROCESSOR_NEUTRAL)
        side: Side | None = words.get("truncation_side")
        if side not in ("left", "right", None):
            raise InputError(f"truncation_side must be 'left' or 'right', not {side!r}.", field="processor_kwargs")
        self._asked = {
            "name": None if model_name_or_path is None else str(model_name_or_path),
            "device": None if device is None else device if isinstance(device, int) else str(device),
            "revision": revision,
            "cache_dir": cache_folder,
            "local_files_only": local_files_only,
            "dtype": dtype_of(known("model_kwargs", model_kwargs, {"dtype", "torch_dtype"}, MODEL_NEUTRAL)),
            "hf_overrides": config_kwargs,
            "max_model_len": words.get("model_max_length"),
        }
        with fields_as({"hf_overrides": "config_kwargs", "max_model_len": "processor_kwargs"}):
            self._load(self._asked["name"], token if use_auth_token is None else use_auth_token)
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
        self.model_card_data = SentenceTransformerModelCardData() if model_card_data is None else model_card_data
        self._modes_wanted: tuple[str, ...] | None = None
        recipe = model.recipe
        self._loaded: dict[str, Any] = {
            "prompts": {"query": "", "document": "", **recipe.prompts},
            "default_prompt_name": recipe.default_prompt_name,
            "similarity_fn_name": recipe.similarity or "cosine",
            **({} if recipe.truncate_dim is None else {"truncate_dim": recipe.truncate_dim}),
        }

    # What the model is.

    @functools.cached_property
    def tokenizer(self) -> Any:
        """The tokenizer as transformers has it."""
        return self.engine.model.tokenizer.as_transformers()

    @property
    def max_seq_length(self) -> int:
        """The tokens to which texts are cut; may be set up to what the model's positions allow."""
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int | None) -> None:
        longest = self.engine.model.config.longest
        # None, as there, leaves the length to the model.
        value = longest if value is None else value
        if not isinstance(value, int | np.integer) or not 1 <= value <= longest:
            raise InputError(
                f"max_seq_length must be between 1 and {longest} for this model, not {value}.", field="max_seq_length"
            )
        self._max_seq_length = int(value)

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

    def set_pooling_include_prompt(self, include_prompt: bool) -> None:
        """Sets whether the tokens of prompts are pooled."""
        self._pool(self.engine.model.recipe.modes, bool(include_prompt))

    def _pool(self, modes: tuple[str, ...], include_prompt: bool) -> None:
        """Sets how texts are pooled; other modes take new programs, so what was compiled is compiled again."""
        self.engine = repooled(self.engine, modes, include_prompt)
        self._modes_wanted = None

    def __len__(self) -> int:
        return len(modules_of(self))

    def __getitem__(self, index: Any) -> Any:
        """What can be read and set of a module: its settings, not its weights."""
        return modules_of(self)[int(index) if isinstance(index, str) else index]

    def __iter__(self) -> Iterator[Module]:
        return iter(modules_of(self))

    def _first_module(self) -> Module:
        return modules_of(self)[0]

    def _last_module(self) -> Module:
        return modules_of(self)[-1]

    def modules(self) -> Iterator[Any]:
        """Yields the model and its modules."""
        return iter([self, *modules_of(self)])

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yields the modules with their numbers."""
        return ((str(number), module) for number, module in enumerate(modules_of(self)))

    def children(self) -> Iterator[Module]:
        """Yields the modules."""
        return iter(self)

    def __repr__(self) -> str:
        model = self.engine.model
        pooling = " + ".join(model.recipe.modes)
        return f"SentenceTransformer({model.name!r}, {model.family}, pooling {pooling}, {model.width} dimensions)"

    def warm_up(self) -> None:
        """Compiles every program now, so that no later call waits for one."""
        self.engine.warm_up(longest=self.max_seq_length)

    # Vectors to numbers.

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Returns the similarity of all pairs, a tensor, float32 [n, m], by `similarity_fn_name`."""
        return tensor(similarity.similarity(self.similarity_fn_name, array(embeddings1), array(embeddings2)))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Returns the similarity of each vector with its partner, a tensor, float32 [n], by `similarity_fn_name`."""
        return tensor(similarity.similarity_pairwise(self.similarity_fn_name, array(embeddings1), array(embeddings2)))

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Sets `truncate_dim` inside a with statement."""
        before, self.truncate_dim = self.truncate_dim, truncate_dim
        try:
            yield
        finally:
            self.truncate_dim = before

    truncate_sentence_embeddings = truncate_embeddings

    def _load(self, name: str | None, token: bool | str | None = None) -> None:
        """Loads the engine of a model with what the constructor was asked for."""
        options = {**self._asked, "name": name, "device": find_device(self._asked["device"]), "token": token}
        self.engine = load_engine(options.pop("name"), without_head=False, **options)
