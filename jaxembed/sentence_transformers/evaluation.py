"""The names of sentence-transformers' evaluators, which live there: they take a model of this package as it is."""

from jaxembed.sentence_transformers.absent import absent
from jaxembed.sentence_transformers.util.similarity import SimilarityFunction

__all__ = ["SimilarityFunction"]
__getattr__ = absent(
    "BinaryClassificationEvaluator EmbeddingSimilarityEvaluator InformationRetrievalEvaluator LabelAccuracyEvaluator "
    "MSEEvaluator MSEEvaluatorFromDataFrame NanoBEIREvaluator ParaphraseMiningEvaluator RerankingEvaluator SentenceEvaluator "
    "SequentialEvaluator TranslationEvaluator TripletEvaluator",
    "import it from sentence-transformers itself, without the alias; it takes this model as it is",
    __name__,
)
