"""The names of the losses of sentence-transformers."""

from typing import Any

from jaxembed.sentence_transformers.absent import TRAINING, absent
from jaxembed.sentence_transformers.util.similarity import cos_sim, euclidean_sim


class BatchHardTripletLossDistanceFunction:
    """Distances of vectors [n, d] from each other, which libraries name where they define their arguments."""

    @staticmethod
    def cosine_distance(embeddings: Any) -> Any:
        """Returns 1 less the cosine, [n, n]."""
        return 1 - cos_sim(embeddings, embeddings)

    @staticmethod
    def eucledian_distance(embeddings: Any, squared: bool = False) -> Any:  # spelled as there
        """Returns the Euclidean distance or its square, [n, n]."""
        distances = -euclidean_sim(embeddings, embeddings)
        return distances**2 if squared else distances


__getattr__ = absent(
    "AdaptiveLayerLoss AnglELoss BatchAllTripletLoss BatchHardSoftMarginTripletLoss BatchHardTripletLoss "
    "BatchSemiHardTripletLoss CachedGISTEmbedLoss "
    "CachedMultipleNegativesRankingLoss CachedMultipleNegativesSymmetricRankingLoss CoSENTLoss ContrastiveLoss "
    "ContrastiveTensionDataLoader ContrastiveTensionLoss ContrastiveTensionLossInBatchNegatives "
    "CosineSimilarityLoss DenoisingAutoEncoderLoss DistillKLDivLoss GISTEmbedLoss MSELoss MarginMSELoss "
    "Matryoshka2dLoss MatryoshkaLoss MegaBatchMarginLoss MultipleNegativesRankingLoss "
    "MultipleNegativesSymmetricRankingLoss OnlineContrastiveLoss SiameseDistanceMetric SoftmaxLoss "
    "TripletDistanceMetric TripletLoss",
    TRAINING,
    __name__,
)
