"""What is known of a model for its card: evaluators write what they measured here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxembed.sentence_transformers.absent import TRAINING, absent

__getattr__ = absent("ModelCardCallback SentenceTransformerModelCardCallback", TRAINING, __name__)

_TASKS = "semantic textual similarity, semantic search, paraphrase mining, classification, clustering, and more"


@dataclass(kw_only=True)
class SentenceTransformerModelCardData:
    """What a model card says.

    Attributes:
        base_model, base_model_revision: what the model was loaded from, where it came from a hub.
        evaluations: what was measured, by the name of the evaluator.
    """

    language: Any = field(default_factory=list)
    license: str | None = None
    model_name: str | None = None
    model_id: str | None = None
    train_datasets: list[Any] = field(default_factory=list)
    eval_datasets: list[Any] = field(default_factory=list)
    task_name: str = _TASKS
    tags: list[str] = field(default_factory=lambda: ["sentence-transformers", "sentence-similarity", "feature-extraction"])
    local_files_only: bool = False
    generate_widget_examples: bool = True
    base_model: str | None = None
    base_model_revision: str | None = None
    evaluations: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def set_evaluation_metrics(self, evaluator: Any, metrics: Mapping[str, Any], epoch: int = 0, step: int = 0) -> None:
        """Notes what an evaluator measured."""
        self.evaluations[str(getattr(evaluator, "name", "") or type(evaluator).__name__)] = dict(metrics)

    def set_base_model(self, model_id: str, revision: str | None = None) -> None:
        """Notes what the model was made from."""
        self.base_model, self.base_model_revision = model_id, revision

    def set_language(self, language: Any) -> None:
        """Notes the languages of the texts."""
        self.language = [language] if isinstance(language, str) else language

    def set_license(self, license: str) -> None:
        """Notes the license."""
        self.license = license

    def set_model_id(self, model_id: str) -> None:
        """Notes the name under which the model is published."""
        self.model_id = model_id

    def add_tags(self, tags: str | list[str]) -> None:
        """Adds tags."""
        self.tags += [one for one in ([tags] if isinstance(tags, str) else tags) if one not in self.tags]

    def card(self, name: str, width: int, longest: int) -> str:
        """Returns the text of `README.md`. name: the model's. width, longest: dimensions of a vector, tokens of a text."""
        head = ["---", "library_name: sentence-transformers", "pipeline_tag: sentence-similarity"]
        head += [f"license: {self.license}"] if self.license else []
        head += ["tags:", *(f"- {tag}" for tag in self.tags), "---", ""]
        lines = [
            f"# {self.model_name or name}",
            "",
            f"A sentence-transformers model: texts of up to {longest} tokens become vectors of {width} dimensions.",
            "",
        ]
        for evaluator, metrics in self.evaluations.items():
            lines += [f"## {evaluator}", "", *(f"- {metric}: {value}" for metric, value in metrics.items()), ""]
        return "\n".join([*head, *lines])
