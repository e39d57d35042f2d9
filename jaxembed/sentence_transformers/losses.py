"""The names of the losses of sentence-transformers."""

from jaxembed.sentence_transformers.absent import TRAINING, absent

__getattr__ = absent(
    "AdaptiveLayerLoss AnglELoss BatchAllTripletLoss BatchHardSoftMarginTripletLoss BatchHardTripletLoss "
    "BatchHardTripletLossDistanceFunction BatchSemiHardTripletLoss CachedGISTEmbedLoss "
    "CachedMultipleNegativesRankingLoss CachedMultipleNegativesSymmetricRankingLoss CoSENTLoss ContrastiveLoss "
    "ContrastiveTensionDataLoader ContrastiveTensionLoss ContrastiveTensionLossInBatchNegatives "
    "CosineSimilarityLoss DenoisingAutoEncoderLoss DistillKLDivLoss GISTEmbedLoss MSELoss MarginMSELoss "
    "Matryoshka2dLoss MatryoshkaLoss MegaBatchMarginLoss MultipleNegativesRankingLoss "
    "MultipleNegativesSymmetricRankingLoss OnlineContrastiveLoss SiameseDistanceMetric SoftmaxLoss "
    "TripletDistanceMetric TripletLoss",
    TRAINING,
    __name__,
)
