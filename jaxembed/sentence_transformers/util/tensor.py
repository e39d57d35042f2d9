"""Small things that are done with vectors."""

from typing import Any

from jaxembed.sentence_transformers import similarity
from jaxembed.tensors import array, tensor


def normalize_embeddings(embeddings: Any) -> Any:
    """Returns vectors [n, d] at unit length; zeros stay zeros."""
    return tensor(similarity.unit(array(embeddings)))


def truncate_embeddings(embeddings: Any, truncate_dim: int | None) -> Any:
    """Returns the first dimensions of vectors [..., d], all of them for None; of what kind they are stays as it is."""
    return embeddings[..., :truncate_dim]
