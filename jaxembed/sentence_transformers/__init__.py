"""The API of sentence-transformers over the engine: `import jaxembed.sentence_transformers as sentence_transformers`."""

from typing import TYPE_CHECKING

from jaxembed.lazy import lazy

if TYPE_CHECKING:
    from jaxembed.sentence_transformers.quantization import quantize_embeddings
    from jaxembed.sentence_transformers.sentence_transformer import SentenceTransformer

_HOMES = {
    "SentenceTransformer": "sentence_transformers.sentence_transformer",
    "quantize_embeddings": "sentence_transformers.quantization",
}

__all__ = [
    "SentenceTransformer",
    "quantize_embeddings",
]
__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
