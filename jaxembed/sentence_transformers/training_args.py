"""The names of the arguments for training of sentence-transformers, and of its samplers, which stand in class bodies."""

from enum import StrEnum

from jaxembed.sentence_transformers.absent import TRAINING, absent


class BatchSamplers(StrEnum):
    """How training puts examples together."""

    BATCH_SAMPLER = "batch_sampler"
    NO_DUPLICATES = "no_duplicates"
    NO_DUPLICATES_HASHED = "no_duplicates_hashed"
    GROUP_BY_LABEL = "group_by_label"


class MultiDatasetBatchSamplers(StrEnum):
    """How training takes turns among data sets."""

    ROUND_ROBIN = "round_robin"
    PROPORTIONAL = "proportional"


__getattr__ = absent("SentenceTransformerTrainingArguments", TRAINING, __name__)
