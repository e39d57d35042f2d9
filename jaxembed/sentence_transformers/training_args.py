"""The names of the arguments for training of sentence-transformers."""

from jaxembed.sentence_transformers.absent import TRAINING, absent

__getattr__ = absent(
    "SentenceTransformerTrainingArguments BatchSamplers MultiDatasetBatchSamplers",
    TRAINING,
    __name__,
)
