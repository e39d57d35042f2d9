"""The offline API of vLLM over the engine: `import jaxembed.vllm as vllm`. Importing it loads no jax."""

from typing import TYPE_CHECKING

from jaxembed.lazy import lazy

if TYPE_CHECKING:
    from jaxembed.vllm.llm import LLM
    from jaxembed.vllm.outputs import (
        EmbeddingOutput,
        EmbeddingRequestOutput,
        PoolingOutput,
        PoolingRequestOutput,
        ScoringOutput,
        ScoringRequestOutput,
    )
    from jaxembed.vllm.params import PoolerConfig, PoolingParams

_HOMES = {
    "LLM": "vllm.llm",
    "PoolerConfig": "vllm.params",
    "PoolingParams": "vllm.params",
    "EmbeddingOutput": "vllm.outputs",
    "EmbeddingRequestOutput": "vllm.outputs",
    "PoolingOutput": "vllm.outputs",
    "PoolingRequestOutput": "vllm.outputs",
    "ScoringOutput": "vllm.outputs",
    "ScoringRequestOutput": "vllm.outputs",
}

__all__ = [
    "EmbeddingOutput",
    "EmbeddingRequestOutput",
    "LLM",
    "PoolerConfig",
    "PoolingOutput",
    "PoolingParams",
    "PoolingRequestOutput",
    "ScoringOutput",
    "ScoringRequestOutput",
]
__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
