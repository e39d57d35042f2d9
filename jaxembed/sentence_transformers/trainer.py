"""The name of the trainer of sentence-transformers."""

from jaxembed.sentence_transformers.absent import TRAINING, absent

__getattr__ = absent(
    "SentenceTransformerTrainer",
    TRAINING,
    __name__,
)
