"""The similarity functions under sentence-transformers' older name."""

from jaxembed.sentence_transformers.util.similarity import SimilarityFunction

__all__ = ["SimilarityFunction"]
