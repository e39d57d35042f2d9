"""What is done with a model around its texts: saved, published, copied, sent to other processes, evaluated."""

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Self

from jaxembed.convert.checkpoint.loading import ConfigDict
from jaxembed.convert.checkpoint.sentence_bert import CONFIG_CHANGES, read_transformer_file
from jaxembed.convert.formats.json_files import read_json, read_modules, transformer_place
from jaxembed.engine.devices import check_device
from jaxembed.engine.engine import Engine
from jaxembed.errors import InputError
from jaxembed.sentence_transformers.model_card import SentenceTransformerModelCardData
from jaxembed.sentence_transformers.mteb import wrapper
from jaxembed.sentence_transformers.saving import SETTINGS, changed_pooling, modules_files, save


class Around:
    """The methods of a SentenceTransformer that are about the whole of it."""

    engine: Engine
    prompts: dict[str, str]
    default_prompt_name: str | None
    similarity_fn_name: str
    truncate_dim: int | None
    model_card_data: SentenceTransformerModelCardData
    model_type = "SentenceTransformer"
    default_huggingface_organization = "sentence-transformers"
    _asked: dict[str, Any]
    _loaded: dict[str, Any]
    _max_seq_length: int
    _files_length: int | None
    _side: str
    _load: Callable[..., None]
    _pool: Callable[..., None]
    encode: Callable[..., Any]

    # What it is.

    @property
    def modalities(self) -> list[str]:
        """What kinds of input it takes: text."""
        return ["text"]

    def supports(self, modality: Any) -> bool:
        """Returns whether it takes a kind of input."""
        return modality in ("text", ("text",))

    def get_backend(self) -> str:
        """Returns what runs the model: jax."""
        return "jax"

    def get_model_kwargs(self) -> list[str]:
        """Returns the names of further arguments that `encode` takes: none."""
        return []

    def is_singular_input(self, inputs: Any) -> bool:
        """Returns whether `encode` would take this for a single text."""
        return isinstance(inputs, str | Mapping)

    @property
    def config(self) -> Any:
        """What `config.json` says, as a dict whose keys are attributes too."""
        return ConfigDict(self.engine.model.config_json)

    @property
    def processor(self) -> Any:
        """The tokenizer as transformers has it."""
        return getattr(self, "tokenizer")  # noqa: B009 - a property of the class that this belongs to

    # Saved and published.

    @classmethod
    def load(cls, input_path: str) -> Self:
        """Returns the model of a folder."""
        made: Any = cls
        return made(input_path)

    def save_pretrained(
        self,
        path: str | Path,
        model_name: str | None = None,
        create_model_card: bool = True,
        train_datasets: list[str] | None = None,
        safe_serialization: bool = True,
    ) -> None:
        """Copies the checkpoint's files to `path`, with what was set since: prompts, lengths, pooling, similarity, config.

        Args:
            path: a folder, which is made.
            model_name: the name in a model card that is written.
            create_model_card: whether `README.md` is written where the checkpoint has none.
            train_datasets: noted in the card's data.
            safe_serialization: must be True: weights are copied, and written in no other format.
        """
        if path is None:
            raise InputError("path must be the name of a folder, not None.", field="path")
        if not safe_serialization:
            raise InputError("safe_serialization=False is not supported: no pickle is written.", field="safe_serialization")
        if self.default_prompt_name is not None and self.default_prompt_name not in self.prompts:
            raise InputError(
                f"default_prompt_name {self.default_prompt_name!r} is not among the prompts.", field="default_prompt_name"
            )
        target = Path(path)
        save(self.engine.model.folder, target, self._changes())
        if create_model_card and not (target / "README.md").exists():
            model = self.engine.model
            card = self.model_card_data.card(model_name or str(model.name), model.width, self._max_seq_length)
            (target / "README.md").write_text(card, encoding="utf-8")

    save = save_pretrained

    def push_to_hub(
        self,
        repo_id: str,
        token: str | None = None,
        private: bool | None = None,
        safe_serialization: bool = True,
        commit_message: str | None = None,
        local_model_path: str | None = None,
        exist_ok: bool = False,
        replace_model_card: bool = False,
        train_datasets: list[str] | None = None,
        revision: str | None = None,
        create_pr: bool = False,
    ) -> str:
        """Uploads the model, or the folder `local_model_path`, to a hub and returns the address of the commit."""
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        api.create_repo(repo_id, private=private, repo_type=None, exist_ok=exist_ok or create_pr)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            if local_model_path is None:
                self.save_pretrained(folder, model_name=repo_id, safe_serialization=safe_serialization)
            done = api.upload_folder(
                repo_id=repo_id,
                folder_path=local_model_path or folder,
                commit_message=commit_message or "Add a SentenceTransformer model",
                revision=revision,
                create_pr=create_pr,
            )
        return str(done.pr_url if create_pr else done.commit_url)

    def save_to_hub(self, repo_id: str, organization: str | None = None, **options: Any) -> str:
        """Uploads the model: the older name of `push_to_hub`."""
        return self.push_to_hub(f"{organization}/{repo_id}" if organization and "/" not in repo_id else repo_id, **options)

    def _settings(self) -> dict[str, Any]:
        found = {
            "prompts": dict(self.prompts),
            "default_prompt_name": self.default_prompt_name,
            "similarity_fn_name": self.similarity_fn_name,
        }
        return found if self.truncate_dim is None else {**found, "truncate_dim": self.truncate_dim}

    def _changes(self) -> dict[str, Any]:
        """Returns by file what differs from the checkpoint's; what nobody touched is saved as it is."""
        model = self.engine.model
        changes: dict[str, Any] = {}
        modules = read_modules(model.folder)
        # Without the list the next reader would have to guess how texts are pooled.
        plain = modules is None and model.config.layers > 0 and bool(model.recipe.modes)
        if plain:
            changes |= modules_files(model.recipe, model.config.output_width)
        elif modules is not None:
            for folder in [folder for folder, kind in modules if kind.endswith(".Pooling")]:
                before = read_json(model.folder / folder / "config.json") or {}
                changes |= {f"{folder}/config.json": new for new in [changed_pooling(before, model.recipe)] if new}
        if plain or self._settings() != self._loaded:
            changes[SETTINGS] = self._settings()
        place, named = PurePosixPath(transformer_place(model.folder)), read_transformer_file(model.folder).name
        changed = plain or self._max_seq_length != self._files_length
        lengths: dict[str, Any] = {"max_seq_length": self._max_seq_length} if changed else {}
        if self._asked["hf_overrides"]:
            changes[str(place / "config.json")] = dict(model.config_json)
            # Its changes are in the config already; made again they would undo those of the caller.
            lengths |= dict.fromkeys(CONFIG_CHANGES & (read_json(model.folder / named) or {}).keys())
        if lengths:
            changes[named] = lengths
        if self._side != model.tokenizer.side:
            changes[str(place / "tokenizer_config.json")] = {"truncation_side": self._side}
        return changes

    # Copied and sent.

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the engine, and where it comes from: another process loads it anew."""
        state = {name: value for name, value in self.__dict__.items() if name not in ("engine", "tokenizer")}
        recipe = self.engine.model.recipe
        return {**state, "_from": (str(self.engine.model.folder.resolve()), recipe.modes, recipe.include_prompt)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        folder, modes, include_prompt = state.pop("_from")
        self.__dict__.update(state)
        self._load(folder if Path(folder).is_dir() else self._asked["name"])
        self._pool(modes, include_prompt)

    def __copy__(self) -> Self:
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A model of its own with the same engine: arrays and programs never change, settings do."""
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        memo[id(self.engine)] = self.engine
        made.__dict__.update({name: copy.deepcopy(value, memo) for name, value in self.__dict__.items()})
        return made

    def start_multi_process_pool(self, target_devices: Sequence[Any] | None = None) -> dict[str, Any]:
        """Returns a stand-in for a pool: one engine already uses the whole machine, so there are no processes to start."""
        check_device(list(target_devices or []), self.engine.target.platform)
        return {"input": None, "output": None, "processes": []}

    @staticmethod
    def stop_multi_process_pool(pool: Mapping[str, Any]) -> None:
        """Does nothing: no processes were started."""

    def encode_multi_process(
        self,
        sentences: Any,
        pool: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        chunk_size: int | None = None,
        show_progress_bar: bool | None = None,
        precision: str = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
    ) -> Any:
        """Returns `encode` of the texts."""
        options = {name: value for name, value in locals().items() if name not in ("self", "sentences")}
        return self.encode(sentences, **options)

    # Evaluated.

    def evaluate(self, evaluator: Any, output_path: str | None = None) -> Any:
        """Returns what an evaluator of sentence-transformers measures; files go to `output_path`, which is made."""
        if output_path is not None:
            Path(output_path).mkdir(parents=True, exist_ok=True)
        return evaluator(self, output_path)

    @property
    def mteb_model_meta(self) -> Any:
        """What mteb files results under."""
        return wrapper(self).mteb_model_meta
