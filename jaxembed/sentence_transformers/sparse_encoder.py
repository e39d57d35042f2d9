"""Sparse encoders, which are still to come."""

from jaxembed.sentence_transformers.absent import TO_COME, absent

__getattr__ = absent(
    "SparseEncoder SparseEncoderTrainer SparseEncoderTrainingArguments SparseEncoderModelCardData",
    TO_COME,
    __name__,
)
