"""Vectors in fewer bits, and the search over them, under sentence-transformers' newer name."""

from jaxembed.sentence_transformers.quantization import quantize_embeddings
from jaxembed.sentence_transformers.searching import semantic_search_faiss, semantic_search_usearch

__all__ = ["quantize_embeddings", "semantic_search_faiss", "semantic_search_usearch"]
