"""The API of sentence-transformers over the engine: `import jaxembed.sentence_transformers as sentence_transformers`.

What is for training, and what is still to come, can be imported by its name and says so when it is used.
"""

from typing import TYPE_CHECKING

from jaxembed.lazy import lazy, second_name, submodule
from jaxembed.sentence_transformers.absent import TO_COME, TRAINING, absent

if TYPE_CHECKING:
    from jaxembed.sentence_transformers.model_card import SentenceTransformerModelCardData
    from jaxembed.sentence_transformers.quantization import quantize_embeddings
    from jaxembed.sentence_transformers.readers import InputExample
    from jaxembed.sentence_transformers.sentence_transformer import SentenceTransformer
    from jaxembed.sentence_transformers.util.misc import LoggingHandler
    from jaxembed.sentence_transformers.util.similarity import SimilarityFunction

# The version of sentence-transformers whose words these are; libraries that look choose by it what they call.
__version__ = "6.2.0"

_HOMES = {
    "InputExample": "sentence_transformers.readers",
    "LoggingHandler": "sentence_transformers.util.misc",
    "SentenceTransformer": "sentence_transformers.sentence_transformer",
    "SentenceTransformerModelCardData": "sentence_transformers.model_card",
    "SimilarityFunction": "sentence_transformers.util.similarity",
    "quantize_embeddings": "sentence_transformers.quantization",
}
_MODULES = (
    "cross_encoder datasets evaluation losses model_card models multi_vector_encoder quantization readers similarity_functions "
    "sparse_encoder trainer training_args util"
).split()

__all__ = [
    "InputExample",
    "LoggingHandler",
    "SentenceTransformer",
    "SentenceTransformerModelCardData",
    "SimilarityFunction",
    "quantize_embeddings",
]
_there = lazy(__name__, _HOMES)
_to_come = absent("CrossEncoder SparseEncoder MultiVectorEncoder", TO_COME, __name__)
_training = absent(
    "SentenceTransformerTrainer SentenceTransformerTrainingArguments CrossEncoderTrainer CrossEncoderTrainingArguments "
    "CrossEncoderModelCardData SparseEncoderTrainer SparseEncoderTrainingArguments SparseEncoderModelCardData "
    "MultiVectorEncoderTrainer MultiVectorEncoderTrainingArguments MultiVectorEncoderModelCardData SentencesDataset "
    "ParallelSentencesDataset DefaultBatchSampler MultiDatasetDefaultBatchSampler mine_hard_negatives resolve_ids "
    "export_optimized_onnx_model export_dynamic_quantized_onnx_model export_static_quantized_openvino_model",
    TRAINING,
    __name__,
)
# Where version 6 of sentence-transformers has what is called as in version 5 here.
_INNER = "datasets evaluation losses model_card readers trainer training_args".split()
_MOVED = {"sentence_transformer.model": "sentence_transformer", "sentence_transformer.modules": "models"}
second_name(__name__, "sentence_transformers", _MOVED | {f"sentence_transformer.{name}": name for name in _INNER})


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return _there(name)
    if name in _MODULES:
        return submodule(__name__, name)
    if name in ("CrossEncoder", "SparseEncoder", "MultiVectorEncoder"):
        return _to_come(name)
    return _training(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, *_MODULES])
