"""The modules of sentence-transformers by the names that libraries import; `isinstance(model[1], models.Pooling)` holds."""

from jaxembed.sentence_transformers.absent import absent
from jaxembed.sentence_transformers.modules import (
    Dense,
    LayerNorm,
    Module,
    Normalize,
    Pooling,
    StaticEmbedding,
    Transformer,
)

__all__ = ["Dense", "LayerNorm", "Module", "Normalize", "Pooling", "StaticEmbedding", "Transformer"]
__getattr__ = absent(
    "Asym BoW CLIPModel CNN Dropout InputModule LSTM MLMTransformer Router SpladePooling WeightedLayerPooling WordEmbeddings "
    "WordWeights",
    "modules are read from the folder of a saved model; build and save it with sentence-transformers, and give "
    "SentenceTransformer the folder",
    __name__,
)
