"""What vLLM's callers ask an `LLM` about its model: `llm.model_config.embedding_size`, `llm.llm_engine.vllm_config`."""

from dataclasses import dataclass
from typing import Any

from jaxembed.engine.model import About
from jaxembed.vllm.params import PoolerConfig


@dataclass(frozen=True)
class ModelConfig:
    """What is known of a model, for reading.

    Attributes:
        model: what it was asked for by.
        dtype: the name of the type of its weights.
        max_model_len: tokens of the longest text.
        pooler_config: the defaults of what texts ask for.
        embedding_size: the dimensions of a vector.
        hf_config: what `config.json` says, as a dict whose keys are attributes too.
    """

    model: str
    dtype: str
    max_model_len: int
    pooler_config: PoolerConfig
    embedding_size: int
    hf_config: Any
    served_model_name: str
    is_matryoshka: bool
    matryoshka_dimensions: list[int] | None
    runner_type: str = "pooling"
    convert_type: str = "embed"

    @property
    def hf_text_config(self) -> Any:
        """The same as `hf_config`."""
        return self.hf_config

    @property
    def architectures(self) -> list[str]:
        """What `config.json` calls the model."""
        return list(self.hf_config.get("architectures") or [])

    def get_hidden_size(self) -> int:
        """Returns the width of the hidden states."""
        return int(self.hf_config.get("hidden_size", self.embedding_size))

    def get_vocab_size(self) -> int:
        """Returns how many token ids there are."""
        return int(self.hf_config.get("vocab_size", 0))


@dataclass(frozen=True)
class VllmConfig:
    """Where vLLM keeps the config of a model."""

    model_config: ModelConfig


@dataclass(frozen=True)
class LlmEngine:
    """What `llm.llm_engine` shows."""

    vllm_config: VllmConfig

    @property
    def model_config(self) -> ModelConfig:
        """The config of the model."""
        return self.vllm_config.model_config


def model_config(model: About, name: str, pooler: PoolerConfig, dtype: Any) -> ModelConfig:
    """Returns what callers may read of a model. name: in messages. pooler: its defaults. dtype: of its weights."""
    from jaxembed.convert.checkpoint.loading import ConfigDict

    allowed = model.recipe.matryoshka
    return ModelConfig(
        model=str(model.name),
        dtype=str(dtype),
        max_model_len=model.max_length,
        pooler_config=pooler,
        embedding_size=model.width,
        hf_config=ConfigDict(model.config_json),
        served_model_name=name,
        is_matryoshka=allowed is not None,
        matryoshka_dimensions=list(allowed) if allowed else None,
    )
