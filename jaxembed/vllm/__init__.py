"""The offline API of vLLM over the engine: `import jaxembed.vllm as vllm`. Importing it loads no jax."""

from typing import TYPE_CHECKING

from jaxembed.lazy import lazy, second_name

if TYPE_CHECKING:
    from jaxembed.vllm.engine_args import EngineArgs
    from jaxembed.vllm.inputs import LoRARequest, TextPrompt, TokensPrompt
    from jaxembed.vllm.llm import LLM
    from jaxembed.vllm.outputs import (
        ClassificationOutput,
        ClassificationRequestOutput,
        EmbeddingOutput,
        EmbeddingRequestOutput,
        PoolingOutput,
        PoolingRequestOutput,
        ScoringOutput,
        ScoringRequestOutput,
    )
    from jaxembed.vllm.params import PoolerConfig, PoolingParams

_HOMES = {
    "EngineArgs": "vllm.engine_args",
    "LLM": "vllm.llm",
    "LoRARequest": "vllm.inputs",
    "PoolerConfig": "vllm.params",
    "PoolingParams": "vllm.params",
    "TextPrompt": "vllm.inputs",
    "TokensPrompt": "vllm.inputs",
    "ClassificationOutput": "vllm.outputs",
    "ClassificationRequestOutput": "vllm.outputs",
    "EmbeddingOutput": "vllm.outputs",
    "EmbeddingRequestOutput": "vllm.outputs",
    "PoolingOutput": "vllm.outputs",
    "PoolingRequestOutput": "vllm.outputs",
    "ScoringOutput": "vllm.outputs",
    "ScoringRequestOutput": "vllm.outputs",
}

__all__ = [
    "ClassificationOutput",
    "ClassificationRequestOutput",
    "EmbeddingOutput",
    "EmbeddingRequestOutput",
    "EngineArgs",
    "LLM",
    "LoRARequest",
    "PoolerConfig",
    "PoolingOutput",
    "PoolingParams",
    "PoolingRequestOutput",
    "ScoringOutput",
    "ScoringRequestOutput",
    "TextPrompt",
    "TokensPrompt",
]
__getattr__ = lazy(__name__, _HOMES)
second_name(__name__, "vllm")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
