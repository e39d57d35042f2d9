"""How vectors are written into answers."""

from jaxembed.vllm.utils.serial_utils import (
    EMBED_DTYPES,
    ENDIANNESS,
    EmbedDType,
    Endianness,
    MetadataItem,
    binary2tensor,
    decode_pooling_output,
    tensor2base64,
    tensor2binary,
)

__all__ = [
    "EMBED_DTYPES",
    "ENDIANNESS",
    "EmbedDType",
    "Endianness",
    "MetadataItem",
    "binary2tensor",
    "decode_pooling_output",
    "tensor2base64",
    "tensor2binary",
]
