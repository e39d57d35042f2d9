"""Cross-encoders, which are still to come."""

from jaxembed.sentence_transformers.absent import TO_COME, absent

__getattr__ = absent(
    "CrossEncoder CrossEncoderTrainer CrossEncoderTrainingArguments CrossEncoderModelCardData",
    TO_COME,
    __name__,
)
