"""What a caller may ask of pooling, in vLLM's words: `PoolingParams` for each text, `PoolerConfig` for a whole model.

Fields, defaults and messages are vLLM's, so that code and users that know it need learn nothing.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

from jaxembed.errors import InputError, InputTypeError
from jaxembed.heads.task import POOLING
from jaxembed.heads.tasks import asked_by

if TYPE_CHECKING:
    from jaxembed.packing.text import Options

_SEQUENCE_POOLING = {"CLS": "cls", "LAST": "lasttoken", "MEAN": "mean"}
_TOKEN_POOLING = ("ALL", "STEP")
_TASKS = asked_by(POOLING)
# Fields that belong to classification and reward models.
_OTHER_TASKS = ("step_tag_id", "returned_token_ids")


@dataclass(kw_only=True)
class PoolingParams:
    """What one text asks of its vector.

    Args:
        use_activation: whether it gets unit length; None leaves that to the model.
        dimensions: how many leading dimensions to keep, for models trained for it (matryoshka).
        task: set by the method that is called.
        step_tag_id: for reward models; must be None, and so must returned_token_ids.
        returned_token_ids: see `step_tag_id`.
        truncate_prompt_tokens: the older place of the key of `tokenization_kwargs`, which it beats.
        normalize: was removed; must be None.
        extra_kwargs: limits of a cross-encoder; must ask for nothing.
        late_chunking_params: must be None.
        requires_token_ids, skip_reading_prefix_cache, output_kind: vLLM's own notes, without effect.

    Raises:
        InputError: a value of the wrong type, or one that is not supported.
    """

    use_activation: bool | None = None
    dimensions: int | None = None
    task: str | None = None
    step_tag_id: int | None = None
    returned_token_ids: Sequence[int] | None = None
    truncate_prompt_tokens: int | None = None
    normalize: object = None
    extra_kwargs: Mapping[str, Any] | None = None
    late_chunking_params: object = None
    requires_token_ids: bool = False
    skip_reading_prefix_cache: bool | None = None
    output_kind: object = None

    def __post_init__(self) -> None:
        asked = [name for name, value in (self.extra_kwargs or {}).items() if value is not None]
        if asked:
            raise InputError(f"extra_kwargs has {asked[0]!r}, which an embedding model does not use.", field="extra_kwargs")
        if self.late_chunking_params is not None:
            raise InputError("late_chunking_params is not supported; split long texts yourself.", field="late_chunking_params")
        if self.normalize is not None:
            raise InputError("Parameter `normalize` was removed; use `use_activation` instead.", field="normalize")
        if self.use_activation is not None and not isinstance(self.use_activation, bool):
            raise InputTypeError(
                f"use_activation must be True, False or None, not {self.use_activation!r}.", field="use_activation"
            )
        if self.dimensions is not None and not _is_int(self.dimensions):
            raise InputTypeError(f"dimensions must be an int or None, not {self.dimensions!r}.", field="dimensions")

    def clone(self) -> "PoolingParams":
        """Returns a copy that shares nothing with it."""
        return deepcopy(self)

    def options(
        self, task: str, pooler: "PoolerConfig", *, model: str, width: int, matryoshka: Sequence[int] | None
    ) -> "Options":
        """Returns what these parameters ask for a text, with the model's defaults filled in.

        Dimensions equal to the width change nothing and are always allowed.

        Args:
            task: what they are used for.
            pooler: the model's defaults.
            model: its name, for messages.
            width: dimensions of the full vector.
            matryoshka: the dimensions the model was trained for, empty for any, None for none.

        Raises:
            InputError: they name another task, do not fit it, or ask for dimensions that the model cannot give.
        """
        if task not in _TASKS:
            raise InputError(f"Unsupported task: {task!r} Supported tasks: {_TASKS}", field="task")
        if self.task is not None and self.task != task:
            raise InputError(f"You cannot overwrite params.task={self.task!r} with task={task!r}!", field="task")
        invalid = [name for name in _OTHER_TASKS if getattr(self, name) is not None]
        if invalid:
            valid = ["dimensions", "use_activation"]
            raise InputError(
                f"Task {task} only supports {valid} parameters, does not support {invalid} parameters", field=invalid[0]
            )
        # It takes numpy, which `jaxembed --help` shall not wait for.
        from jaxembed.packing.text import Options

        active = self.use_activation if self.use_activation is not None else pooler.use_activation
        dimensions = self.dimensions if self.dimensions is not None else pooler.dimensions
        if dimensions is not None and dimensions != width:
            _check_dimensions(dimensions, model, width, matryoshka)
        return Options(dimensions=dimensions, normalize=active is not False)


def _check_dimensions(dimensions: int, model: str, width: int, matryoshka: Sequence[int] | None) -> None:
    if matryoshka is None:
        raise InputError(
            f'Model "{model}" does not support matryoshka representation, '
            "changing output dimensions will lead to poor results.",
            field="dimensions",
        )
    if matryoshka and dimensions not in matryoshka:
        raise InputError(
            f'Model "{model}" only supports {list(matryoshka)} matryoshka dimensions, '
            "use other output dimensions will lead to poor results.",
            field="dimensions",
        )
    if dimensions < 1:
        raise InputError("Dimensions must be greater than 0", field="dimensions")
    if dimensions > width:
        raise InputError(
            f"Dimensions must not be greater than the embedding size of the model ({width}), got {dimensions}.",
            field="dimensions",
        )


def _is_int(value: object) -> bool:
    """Numpy's integers count, bool does not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


@dataclass(kw_only=True)
class PoolerConfig:
    """How a model pools, where its own files are wrong or silent.

    Args:
        task: what the model is served for, "embed" unless it says "token_embed".
        pooling_type: a name for either of the next two.
        seq_pooling_type: CLS, LAST or MEAN, for one vector a text.
        tok_pooling_type: ALL, for one vector a token.
        use_activation: the default for texts that do not say.
        dimensions: the default for texts that do not say.
        enable_chunked_processing: accepted where it asks for nothing.
        max_embed_len: tokens of the longest text, where that is less than `max_model_len`.
        pooling_task, pooling_target: other names of `task`.
        logit_mean, logit_sigma, logit_bias, logit_scale: of classifiers; must be None.
        step_tag_id, returned_token_ids: of reward models; must be None.

    Raises:
        InputError: a name that is not known, or values that do not go together.
    """

    task: str | None = None
    pooling_type: str | None = None
    seq_pooling_type: str | None = None
    tok_pooling_type: str | None = None
    use_activation: bool | None = None
    dimensions: int | None = None
    enable_chunked_processing: bool | None = None
    max_embed_len: int | None = None
    pooling_task: str | None = None
    pooling_target: str | None = None
    logit_mean: float | None = None
    logit_sigma: float | None = None
    logit_bias: float | None = None
    logit_scale: float | None = None
    step_tag_id: int | None = None
    returned_token_ids: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for name in ("logit_mean", "logit_sigma", "logit_bias", "logit_scale", "step_tag_id", "returned_token_ids"):
            if getattr(self, name) is not None:
                raise InputError(
                    f"{name}={getattr(self, name)!r} is for classifiers and reward models, which are not served yet.",
                    field=f"pooler_config.{name}",
                )
        for name in ("pooling_task", "pooling_target"):
            other = getattr(self, name)
            if other is not None and self.task not in (None, other):
                raise InputError(f"task is {self.task!r} and {name} {other!r}; give one.", field=f"pooler_config.{name}")
            self.task = self.task if other is None else other
        if self.max_embed_len is not None and (not _is_int(self.max_embed_len) or self.max_embed_len < 1):
            raise InputTypeError(
                f"pooler_config.max_embed_len must be an int of at least 1 or None, not {self.max_embed_len!r}.",
                field="pooler_config.max_embed_len",
            )
        if self.use_activation is not None and not isinstance(self.use_activation, bool):
            raise InputTypeError(
                f"pooler_config.use_activation must be true, false or None, not {self.use_activation!r}.",
                field="pooler_config.use_activation",
            )
        if self.dimensions is not None and (not _is_int(self.dimensions) or self.dimensions < 1):
            raise InputTypeError(
                f"pooler_config.dimensions must be an int of at least 1 or None, not {self.dimensions!r}.",
                field="pooler_config.dimensions",
            )
        if self.enable_chunked_processing:
            raise InputError(
                "enable_chunked_processing is not supported; ask for truncation, or split long texts yourself.",
                field="pooler_config.enable_chunked_processing",
            )
        if self.pooling_type is not None:
            for name in ("seq_pooling_type", "tok_pooling_type"):
                if getattr(self, name) is not None:
                    raise InputError(f"Cannot set both `pooling_type` and `{name}`", field=f"pooler_config.{name}")
            if self.pooling_type in _TOKEN_POOLING:
                self.tok_pooling_type = self.pooling_type
            else:
                self.seq_pooling_type = self.pooling_type
        if self.seq_pooling_type is not None and self.seq_pooling_type not in _SEQUENCE_POOLING:
            known = ", ".join([*_SEQUENCE_POOLING, *_TOKEN_POOLING])
            raise InputError(
                f"the pooling type {self.seq_pooling_type!r} is not known; known are {known}.",
                field="pooler_config.pooling_type",
            )
        if self.tok_pooling_type not in (None, "ALL"):
            raise InputError(
                f"the pooling type {self.tok_pooling_type!r} is not supported; tokens are pooled by ALL.",
                field="pooler_config.pooling_type",
            )
        if self.task is not None and self.task not in _TASKS:
            raise InputError(f"Unsupported task: {self.task!r} Supported tasks: {_TASKS}", field="pooler_config.task")

    @property
    def mode(self) -> str | None:
        """The pooling mode in the words of `heads.MODES`, None to leave it to the model's files."""
        return None if self.seq_pooling_type is None else _SEQUENCE_POOLING[self.seq_pooling_type]
