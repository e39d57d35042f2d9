"""Which family of the registry a `config.json` means, and what to say where it means none."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jaxembed.convert.mapping.keys import Keys
from jaxembed.convert.mapping.registry import ANY_DECODER, FAMILIES, Family
from jaxembed.convert.mapping.values import checked
from jaxembed.errors import UnsupportedModelError, shown

_log = logging.getLogger(__name__)
# Characters of a message that lists what there is, all of which is our own.
_MOST_LISTED = 1600

# What a class is called whose head decides what its checkpoint means; those of language models only taught the states below.
_HEAD = re.compile("Classif|Regression|MultipleChoice|QuestionAnswering|NextSentence|Reward|Rerank|Ranking")
# How vLLM's overrides make a reranker of a language model, each with the values that say so, None for any.
_HEAD_KEYS: dict[str, tuple[Any, ...] | None] = {
    "classifier_from_token": None,
    "is_original_qwen3_reranker": (True,),
    "method": ("from_2_way_softmax", "no_post_processing"),
}
# Late interaction by Stanford's code and by vLLM's names for it: a linear layer above the model that model_type names.
_LATE = frozenset(("HF_ColBERT", "ColBERTModernBertModel", "ColBERTJinaRobertaModel"))


def late_interaction(config: Mapping[str, Any]) -> bool:
    """Returns whether a config is that of a ColBERT, whose weights hold the layer that turns the states of tokens."""
    return bool(_LATE & set(checked("architectures", config.get("architectures")) or ()))


def supported() -> str:
    """Returns the supported architectures as one line for a message, each once, without its further task classes."""
    return ", ".join(sorted({name for family in FAMILIES for name in family.architectures if name.endswith("Model")}))


def find(config: Mapping[str, Any]) -> Family:
    """Returns the family of a `config.json`: by `architectures`, or by `model_type` where it names none.

    An unknown decoder whose every key the generic one understands is taken for a Llama, and a notice says so. Raises
    `UnsupportedModelError` that lists what is supported.
    """
    architectures = checked("architectures", config.get("architectures")) or []
    checked("model_type", config.get("model_type"))
    family = _listed(config)
    if family is None:
        reason = _misfit(config)
        if reason is not None:
            raise unsupported(config, reason)
    other = _contradicted(family or ANY_DECODER, config)
    if other is not None:
        raise UnsupportedModelError(
            f"config.json contradicts itself: by its architectures ({', '.join(architectures)}) it is a "
            f"{(family or ANY_DECODER).name} model, by its model_type ({config['model_type']}) a {other.name} one, and their "
            "vectors differ; correct it, or give the right architectures in hf_overrides."
        )
    if family is not None:
        return family
    _log.warning("%s is not known; its config reads like a Llama's, and so it is loaded as one.", ", ".join(architectures))
    return ANY_DECODER


def _listed(config: Mapping[str, Any]) -> Family | None:
    architectures = [name for name in config.get("architectures") or [] if name not in _LATE]
    for family in FAMILIES:
        named = any(name in family.architectures for name in architectures)
        typed = not architectures and config.get("model_type") == family.model_type
        if (named or typed) and (family.when is None or family.when(config)):
            return family
    return None


def _contradicted(family: Family, config: Mapping[str, Any]) -> Family | None:
    """Returns the family that `model_type`, by which transformers goes, means, if its vectors are not those of `family`.

    A type that is not known here is that of a checkpoint with code of its own, whose `architectures` are all there is to go by.
    """
    model_type = config.get("model_type")
    others = [one for one in FAMILIES if one.model_type == model_type and (one.when is None or one.when(config))]
    if model_type == family.model_type or family.own_code or not others:
        return None
    try:
        same = family.module == others[0].module and family.parse(Keys(config)) == others[0].parse(Keys(config))
    except UnsupportedModelError:
        same = False
    return None if same else others[0]


def settled(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config whose `architectures` a caller chose, with their `model_type` where its own means another model."""
    checked("architectures", config.get("architectures"))
    family = _listed(config)
    if family is None or _contradicted(family, config) is None:
        return dict(config)
    return {**config, "model_type": family.model_type}


def head(config: Mapping[str, Any]) -> str | None:
    """Returns what in a config says that a head above the states makes the answers, None where nothing does."""
    for name in checked("architectures", config.get("architectures")) or []:
        if _HEAD.search(name):
            return f"its architectures name {name}"
    for key, values in _HEAD_KEYS.items():
        value = config.get(key)
        if value and (values is None or value in values):
            return f"it has {key} {value!r}"
    return None


def is_language_model(config: Mapping[str, Any]) -> bool:
    """Returns whether a config names a causal language model."""
    return any(name.endswith("ForCausalLM") for name in checked("architectures", config.get("architectures")) or [])


def headless(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config that names the bare model where its class is one with a head and no family lists it."""
    names = config.get("architectures")
    if not names or head({"architectures": names}) is None or _listed(config) is not None:
        return dict(config)
    return {**config, "architectures": _bare(names) or names}


def head_dropped(config: Mapping[str, Any], said: str) -> UnsupportedModelError:
    """Returns the error for a checkpoint whose head would be dropped, with how to get its bare model all the same.

    said: what `head` returned.
    """
    bare = _bare(config.get("architectures") or [])
    override = f', or the architectures ["{bare[0]}"] in hf_overrides (config_kwargs of SentenceTransformer)' if bare else ""
    return UnsupportedModelError(
        f"this checkpoint is no embedder, its answers come from a head ({said}): the head would be dropped, for classifiers, "
        "rerankers and reward models are not served yet; for embeddings of the model below the head, give convert='embed' "
        f"(`jaxembed serve --convert embed`){override}.",
        most=_MOST_LISTED,
    )


def _bare(names: Sequence[str]) -> list[str]:
    """The class without a head of the first class that has one, if a family lists it; a language model has one too."""
    listed = {name for family in FAMILIES for name in family.architectures}
    above = [name for name in names if _HEAD.search(name) or name.endswith("ForCausalLM")]
    stems = [name.split("For")[0] if "For" in name else _HEAD.split(name)[0] for name in above]
    return [stem + kind for stem in stems for kind in ("Model", "EncoderModel") if stem + kind in listed][:1]


def unsupported(config: Mapping[str, Any], reason: str) -> UnsupportedModelError:
    """Returns the error for an architecture that cannot be served, with what can."""
    given = shown(", ".join(config.get("architectures") or []))[1:-1] or f"model_type {shown(config.get('model_type'))}"
    return UnsupportedModelError(
        f"the architecture {given} is not supported ({reason.rstrip('.')}); supported are {supported()}.", most=_MOST_LISTED
    )


def _misfit(config: Mapping[str, Any]) -> str | None:
    """Why the generic decoder cannot be what this config describes, or None if it can."""
    names = config.get("architectures") or []
    if not any(name.endswith(("Model", "ForCausalLM")) for name in names):
        return "it names no decoder"
    keys = Keys(config)
    try:
        ANY_DECODER.parse(keys)
    except UnsupportedModelError as error:
        return str(error).rstrip(".")
    unknown = keys.unknown()
    return f"its config has keys that no Llama has: {', '.join(unknown)}" if unknown else None
