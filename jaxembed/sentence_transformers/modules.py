"""What can be read and set of a model's modules: `model[0].max_seq_length`, `model[1].pooling_mode`. They hold no weights."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jaxembed.errors import InputError
from jaxembed.heads.recipe import MODES, DenseHead, LayerNormHead, NormalizeHead

if TYPE_CHECKING:
    from jaxembed.sentence_transformers.sentence_transformer import SentenceTransformer

# The flags that sentence-transformers had before `pooling_mode`.
POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


class Module:
    """A module of a loaded model. Raises `InputError` where one is made: they come from a saved model's folder.

    model: whose. number: its place.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        name = type(self).__name__
        raise InputError(
            f"{name} cannot be made here: modules are read from the folder of a saved model. Build and save the model with "
            "sentence-transformers, and give SentenceTransformer the folder.",
            field=name,
        )

    @classmethod
    def of(cls, model: "SentenceTransformer", number: int) -> Any:
        """Returns the module of a loaded model."""
        made = cls.__new__(cls)
        made.model, made.number = model, number
        return made

    model: "SentenceTransformer"
    number: int
    training = False

    def parameters(self) -> Iterator[Any]:
        """Yields nothing: what is trained is not held here."""
        return iter(())

    def eval(self) -> "Module":
        """Returns itself, which never trains."""
        return self

    def train(self, mode: bool = True) -> "Module":
        """Returns itself, which never trains."""
        return self

    def get_config_dict(self) -> dict[str, Any]:
        """Returns its settings."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.get_config_dict()})"


class Transformer(Module):
    """What `model[0]` shows of the transformer."""

    @property
    def max_seq_length(self) -> int:
        """The tokens to which texts are cut; what is set is set for the model."""
        return self.model.max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int | None) -> None:
        self.model.max_seq_length = value

    @property
    def tokenizer(self) -> Any:
        """The tokenizer as transformers has it."""
        return self.model.tokenizer

    processor = tokenizer

    @property
    def do_lower_case(self) -> bool:
        """Whether texts are lower-cased first."""
        return self.model.engine.model.recipe.lowercase

    @property
    def config(self) -> Any:
        """What `config.json` says, as a dict whose keys are attributes too."""
        return self.model.config

    @property
    def auto_model(self) -> "Transformer":
        """Itself: `auto_model.config` is what people read."""
        return self

    @property
    def device(self) -> Any:
        """Where the model runs."""
        return self.model.device

    @property
    def dtype(self) -> Any:
        """The type of its weights."""
        return self.model.dtype

    def parameters(self) -> Iterator[Any]:
        """Yields the arrays of the model."""
        return self.model.parameters()

    def get_embedding_dimension(self) -> int:
        """Returns the width of a token's vector."""
        return self.model.engine.model.config.output_width

    get_word_embedding_dimension = get_embedding_dimension

    def tokenize(self, texts: Any, **options: Any) -> dict[str, Any]:
        """Returns what the model's `tokenize` does."""
        return self.model.preprocess(texts, **options)

    preprocess = tokenize

    def get_config_dict(self) -> dict[str, Any]:
        """Returns its settings."""
        return {"max_seq_length": self.max_seq_length, "do_lower_case": self.do_lower_case}


class StaticEmbedding(Transformer):
    """What `model[0]` shows of a table of vectors."""


class Pooling(Module):
    """What `model[1]` shows of the pooling. Setting a mode changes the model, which then compiles its programs again."""

    @property
    def pooling_mode(self) -> str | tuple[str, ...]:
        """The mode, or the modes that are concatenated."""
        modes = self.model.engine.model.recipe.modes
        return modes[0] if len(modes) == 1 else modes

    @pooling_mode.setter
    def pooling_mode(self, value: str | Sequence[str]) -> None:
        self.model._pool((value,) if isinstance(value, str) else tuple(value), self.include_prompt)

    @property
    def include_prompt(self) -> bool:
        """Whether the tokens of prompts are pooled."""
        return self.model.engine.model.recipe.include_prompt

    @include_prompt.setter
    def include_prompt(self, value: bool) -> None:
        self.model.set_pooling_include_prompt(value)

    @property
    def embedding_dimension(self) -> int:
        """The width of a token's vector."""
        return self.model.engine.model.config.output_width

    word_embedding_dimension = embedding_dimension

    @property
    def pooling_output_dimension(self) -> int:
        """The width of a text's vector behind the pooling."""
        return self.embedding_dimension * len(self.model.engine.model.recipe.modes)

    def get_embedding_dimension(self) -> int:
        """Returns `pooling_output_dimension`."""
        return self.pooling_output_dimension

    get_sentence_embedding_dimension = get_embedding_dimension

    def get_pooling_mode_str(self) -> str:
        """Returns the modes, with a plus between them."""
        return "+".join(self.model.engine.model.recipe.modes)

    def get_config_dict(self) -> dict[str, Any]:
        """Returns its settings."""
        return {
            "embedding_dimension": self.embedding_dimension,
            "pooling_mode": self.pooling_mode,
            "include_prompt": self.include_prompt,
        }

    def __getattr__(self, name: str) -> Any:
        if name in POOLING_FLAGS:
            return POOLING_FLAGS[name] in self.model.engine.model.recipe.modes
        raise AttributeError(f"{type(self).__name__} has no {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in POOLING_FLAGS:
            super().__setattr__(name, value)
            return
        model = self.model
        before = model.engine.model.recipe.modes if model._modes_wanted is None else model._modes_wanted
        wanted = {mode for mode in before if mode != POOLING_FLAGS[name]} | ({POOLING_FLAGS[name]} if value else set())
        # Flags are set one by one: between the old mode's end and the new one's beginning there is none.
        model._modes_wanted = tuple(mode for mode in MODES if mode in wanted)
        if model._modes_wanted:
            model._pool(model._modes_wanted, self.include_prompt)


class _Head(Module):
    """A module behind the pooling; its settings are those of the recipe, for reading."""

    @property
    def head(self) -> Any:
        """What the recipe says of it."""
        return self.model.engine.model.recipe.heads[self.number]

    def get_config_dict(self) -> dict[str, Any]:
        """Returns its settings."""
        return {name: value for name, value in vars(self.head).items() if name != "folder"}


class Dense(_Head):
    """What can be seen of a Dense module."""

    @property
    def in_features(self) -> int:
        """The width that goes in."""
        return int(self.head.inputs)

    @property
    def out_features(self) -> int:
        """The width that comes out."""
        return int(self.head.outputs)

    def get_embedding_dimension(self) -> int:
        """Returns `out_features`."""
        return self.out_features

    get_sentence_embedding_dimension = get_embedding_dimension


class LayerNorm(_Head):
    """What can be seen of a LayerNorm module."""


class Normalize(Module):
    """A Normalize module."""


_HEADS: dict[type, type[Module]] = {DenseHead: Dense, LayerNormHead: LayerNorm, NormalizeHead: Normalize}


def modules_of(model: "SentenceTransformer") -> list[Module]:
    """Returns what can be read and set of a model's modules, in their order."""
    found = model.engine.model
    kinds = [_HEADS[type(head)] for head in found.recipe.heads]
    heads = [kind.of(model, number) for number, kind in enumerate(kinds)]
    first = [StaticEmbedding.of(model, 0)] if found.config.layers == 0 else [Transformer.of(model, 0), Pooling.of(model, 1)]
    return [*first, *heads, *([Normalize.of(model, 0)] if found.recipe.normalize else [])]
