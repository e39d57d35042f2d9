"""Embeddings from Hugging Face checkpoints on JAX.

`LLM` is vLLM's offline API, `SentenceTransformer` that of sentence-transformers; both run the same engine. Importing this
package imports neither jax nor transformers: that happens when a model is loaded.
"""

from typing import TYPE_CHECKING

from jaxembed.lazy import lazy

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jaxembed.sentence_transformers.quantization import quantize_embeddings
    from jaxembed.sentence_transformers.sentence_transformer import SentenceTransformer
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
    "SentenceTransformer": "sentence_transformers.sentence_transformer",
    "quantize_embeddings": "sentence_transformers.quantization",
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
    "SentenceTransformer",
    "quantize_embeddings",
]
__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
