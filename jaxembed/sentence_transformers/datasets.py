"""The names of the data sets for training of sentence-transformers."""

from jaxembed.sentence_transformers.absent import TRAINING, absent

__getattr__ = absent(
    "DenoisingAutoEncoderDataset NoDuplicatesDataLoader ParallelSentencesDataset SentenceLabelDataset SentencesDataset",
    TRAINING,
    __name__,
)
