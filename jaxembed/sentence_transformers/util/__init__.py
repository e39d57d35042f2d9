"""What people import from `sentence_transformers.util`."""

from typing import TYPE_CHECKING

from jaxembed.lazy import lazy
from jaxembed.sentence_transformers.absent import TRAINING, absent

if TYPE_CHECKING:
    from jaxembed.sentence_transformers.quantization import quantize_embeddings
    from jaxembed.sentence_transformers.util.misc import (
        LoggingHandler,
        batch_to_device,
        disable_logging,
        disabled_tqdm,
        fullname,
        get_device_name,
        import_from_string,
        is_sentence_transformer_model,
        is_training_available,
    )
    from jaxembed.sentence_transformers.util.retrieval import (
        community_detection,
        information_retrieval,
        paraphrase_mining,
        paraphrase_mining_embeddings,
        semantic_search,
    )
    from jaxembed.sentence_transformers.util.similarity import (
        SimilarityFunction,
        cos_sim,
        dot_score,
        euclidean_sim,
        manhattan_sim,
        pairwise_angle_sim,
        pairwise_cos_sim,
        pairwise_dot_score,
        pairwise_euclidean_sim,
        pairwise_manhattan_sim,
        pytorch_cos_sim,
    )
    from jaxembed.sentence_transformers.util.tensor import normalize_embeddings, truncate_embeddings

_HOMES = {
    "retrieval": "community_detection information_retrieval paraphrase_mining paraphrase_mining_embeddings semantic_search",
    "similarity": "SimilarityFunction cos_sim dot_score euclidean_sim manhattan_sim pairwise_angle_sim pairwise_cos_sim "
    "pairwise_dot_score pairwise_euclidean_sim pairwise_manhattan_sim pytorch_cos_sim",
    "tensor": "normalize_embeddings truncate_embeddings",
    "misc": "LoggingHandler batch_to_device disable_logging disabled_tqdm fullname get_device_name import_from_string "
    "is_sentence_transformer_model is_training_available",
    "quantization": "quantize_embeddings",
}
_ABSENT = "mine_hard_negatives resolve_ids all_gather all_gather_with_grad save_to_hub_args_decorator"

__all__ = [
    "LoggingHandler",
    "SimilarityFunction",
    "batch_to_device",
    "community_detection",
    "cos_sim",
    "disable_logging",
    "disabled_tqdm",
    "dot_score",
    "euclidean_sim",
    "fullname",
    "get_device_name",
    "import_from_string",
    "information_retrieval",
    "is_sentence_transformer_model",
    "is_training_available",
    "manhattan_sim",
    "normalize_embeddings",
    "pairwise_angle_sim",
    "pairwise_cos_sim",
    "pairwise_dot_score",
    "pairwise_euclidean_sim",
    "pairwise_manhattan_sim",
    "paraphrase_mining",
    "paraphrase_mining_embeddings",
    "pytorch_cos_sim",
    "quantize_embeddings",
    "semantic_search",
    "truncate_embeddings",
]
_there = lazy(
    __name__, {name: f"sentence_transformers.util.{home}" for home, names in _HOMES.items() for name in names.split()}
)
_missing = absent(_ABSENT, TRAINING, __name__)


def __getattr__(name: str) -> object:
    return _there(name) if name in __all__ else _missing(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
