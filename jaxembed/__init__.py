"""Embeddings from Hugging Face checkpoints on JAX.

`LLM` is vLLM's offline API, `SentenceTransformer` that of sentence-transformers; both run the same engine. Importing this
package imports neither jax nor transformers: that happens when a model is loaded.
"""

from typing import TYPE_CHECKING

from jaxembed.lazy import lazy

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jaxembed.sentence_transformers import SentenceTransformer, quantize_embeddings
    from jaxembed.vllm import (
        LLM,
        ClassificationOutput,
        ClassificationRequestOutput,
        EmbeddingOutput,
        EmbeddingRequestOutput,
        EngineArgs,
        LoRARequest,
        PoolerConfig,
        PoolingOutput,
        PoolingParams,
        PoolingRequestOutput,
        ScoringOutput,
        ScoringRequestOutput,
        TextPrompt,
        TokensPrompt,
    )

__all__ = [
    "LLM",
    "ClassificationOutput",
    "ClassificationRequestOutput",
    "EmbeddingOutput",
    "EmbeddingRequestOutput",
    "EngineArgs",
    "LoRARequest",
    "PoolerConfig",
    "PoolingOutput",
    "PoolingParams",
    "PoolingRequestOutput",
    "ScoringOutput",
    "ScoringRequestOutput",
    "SentenceTransformer",
    "TextPrompt",
    "TokensPrompt",
    "quantize_embeddings",
]
_OTHERS = ("SentenceTransformer", "quantize_embeddings")
__getattr__ = lazy(__name__, {name: "sentence_transformers" if name in _OTHERS else "vllm" for name in __all__})


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
