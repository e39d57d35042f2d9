"""The families of models that load, and how a checkpoint's config tells which one it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from jaxembed.errors import UnsupportedModelError


@dataclass(frozen=True)
class Family:
    """One row of the registry.

    architectures: the names in `config.json` that mean this family. model_type: its key when no architecture is given.
    module, config, rules: "module:name" of the Flax module, the function from `config.json` to its config, and the weight
    rules, imported only when needed. decoder: whether texts end in the token that pooling reads by default.
    """

    name: str
    model_type: str
    architectures: tuple[str, ...]
    module: str
    config: str
    rules: str
    decoder: bool = False

    def read_config(self, config: Mapping[str, Any]) -> Any:
        """Returns the family's own config. Raises `UnsupportedModelError` for a key that is missing or cannot be served."""
        owner, _, method = self.config.partition(":")[2].partition(".")
        reader: Callable[[Mapping[str, Any]], Any] = getattr(import_module(self.config.partition(":")[0]), owner)
        try:
            return (getattr(reader, method) if method else reader)(config)
        except KeyError as error:
            raise UnsupportedModelError(f"config.json lacks {error.args[0]!r}, which a {self.name} model needs.") from None

    def load(self, what: str) -> Any:
        """Imports what "module:name" means."""
        module, _, name = what.partition(":")
        return getattr(import_module(module), name)


def _bert(name: str, model_type: str, prefix: str, config: str) -> Family:
    tasks = ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForPreTraining")
    return Family(
        name,
        model_type,
        tuple(prefix + task for task in tasks),
        "jaxembed.models.bert:Bert",
        f"jaxembed.models.bert:{config}.from_dict",
        "jaxembed.convert.families.bert:RULES",
    )


def _decoder(name: str, model_type: str, prefix: str, config: str) -> Family:
    return Family(
        name,
        model_type,
        tuple(prefix + task for task in ("Model", "ForCausalLM")),
        "jaxembed.models.decoder:Decoder",
        f"jaxembed.models.decoder:{config}",
        "jaxembed.convert.families.decoder:RULES",
        decoder=True,
    )


FAMILIES = (
    _bert("BERT", "bert", "Bert", "BertConfig"),
    _bert("RoBERTa", "roberta", "Roberta", "RobertaConfig"),
    _bert("XLM-RoBERTa", "xlm-roberta", "XLMRoberta", "RobertaConfig"),
    _bert("CamemBERT", "camembert", "Camembert", "RobertaConfig"),
    _decoder("Qwen2", "qwen2", "Qwen2", "qwen2"),
    _decoder("Qwen3", "qwen3", "Qwen3", "qwen3"),
)


def supported() -> str:
    """Returns the supported architectures as one line for a message."""
    return ", ".join(name for family in FAMILIES for name in family.architectures[:2])


def find(config: Mapping[str, Any]) -> Family:
    """Returns the family of a `config.json`: by `architectures`, or by `model_type` where it names none.

    Raises `UnsupportedModelError` that lists what is supported.
    """
    architectures = config.get("architectures") or []
    for family in FAMILIES:
        if any(name in family.architectures for name in architectures):
            return family
        if not architectures and config.get("model_type") == family.model_type:
            return family
    given = ", ".join(architectures) or f"model_type {config.get('model_type')!r}"
    raise UnsupportedModelError(f"the architecture {given} is not supported; supported are {supported()}.")
