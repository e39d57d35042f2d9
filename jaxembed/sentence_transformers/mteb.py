"""How mteb asks a model: through `mteb_model_meta`, and an `encode` that is given batches and a task.

Both lead to mteb's own wrapper of a SentenceTransformer, so prompts and scores are those that it takes and gives there.
"""

from typing import Any


def wrapper(model: Any) -> Any:
    """Returns mteb's wrapper of a model. Raises `AttributeError` where mteb is not installed, as for any unknown name."""
    try:
        from mteb.models import SentenceTransformerEncoderWrapper
    except ImportError as error:
        raise AttributeError(f"'SentenceTransformer' object has no attribute 'mteb_model_meta' without mteb: {error}") from None
    return SentenceTransformerEncoderWrapper(model)
