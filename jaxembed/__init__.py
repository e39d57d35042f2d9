"""Embeddings from Hugging Face checkpoints on JAX.

`LLM` is vLLM's offline API, `SentenceTransformer` that of sentence-transformers; both run the same engine. Importing this
package imports neither jax nor transformers: that happens when a model is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jaxembed.config import PoolerConfig, PoolingParams
    from jaxembed.llm import LLM
    from jaxembed.outputs import (
        EmbeddingOutput,
        EmbeddingRequestOutput,
        PoolingOutput,
        PoolingRequestOutput,
        ScoringOutput,
        ScoringRequestOutput,
    )
    from jaxembed.quantization import quantize_embeddings
    from jaxembed.sentence_transformer import SentenceTransformer

_HOME = {
    "LLM": "llm",
    "PoolerConfig": "config",
    "PoolingParams": "config",
    "EmbeddingOutput": "outputs",
    "EmbeddingRequestOutput": "outputs",
    "PoolingOutput": "outputs",
    "PoolingRequestOutput": "outputs",
    "ScoringOutput": "outputs",
    "ScoringRequestOutput": "outputs",
    "SentenceTransformer": "sentence_transformer",
    "quantize_embeddings": "quantization",
}

__all__ = [
    "LLM",
    "EmbeddingOutput",
    "EmbeddingRequestOutput",
    "PoolerConfig",
    "PoolingOutput",
    "PoolingParams",
    "PoolingRequestOutput",
    "ScoringOutput",
    "ScoringRequestOutput",
    "SentenceTransformer",
    "quantize_embeddings",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'jaxembed' has no attribute {name!r}")
    return getattr(import_module(f"jaxembed.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
