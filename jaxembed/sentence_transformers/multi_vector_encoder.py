"""Encoders of several vectors a text, which are still to come."""

from jaxembed.sentence_transformers.absent import TO_COME, absent

__getattr__ = absent(
    "MultiVectorEncoder MultiVectorEncoderTrainer MultiVectorEncoderTrainingArguments MultiVectorEncoderModelCardData",
    TO_COME,
    __name__,
)
