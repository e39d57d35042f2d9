"""How vectors are made, as plain values: `convert` reads them from a checkpoint's files, `embedder` turns them into modules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

# The pooling modes of sentence-transformers, in the order in which old configs concatenate them.
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


@dataclass(frozen=True)
class DenseHead:
    """A sentence-transformers `Dense` module: activation(x · w + b), with its input added if `residual`."""

    inputs: int
    outputs: int
    bias: bool
    activation: str
    residual: bool
    folder: str


@dataclass(frozen=True)
class LayerNormHead:
    """A sentence-transformers `LayerNorm` module."""

    width: int
    folder: str


@dataclass(frozen=True)
class NormalizeHead:
    """A sentence-transformers `Normalize` module that is not the last one."""


Head = DenseHead | LayerNormHead | NormalizeHead


def noted(facts: Mapping[str, tuple[str, str]], keys: Sequence[str], source: str) -> dict[str, tuple[str, str]]:
    """Returns facts with keys of a file that nobody reads, because they change no vector."""
    before, _ = facts.get("not read", ("", ""))
    listed = f"{', '.join(sorted(keys))} of {source}"
    return {**facts, "not read": (f"{before}; {listed}" if before else listed, "")}


@dataclass(frozen=True)
class Recipe:
    """How vectors are made.

    Attributes:
        modes: pooling modes, concatenated; none where the files make a vector of each token and none of a text.
        include_prompt: whether prompt tokens are pooled.
        heads: modules between pooling and the end.
        normalize: whether the files end in a Normalize module; None if there are no such files.
        prompts: by name.
        default_prompt_name: the prompt that `SentenceTransformer.encode` puts before texts by default, or None.
        similarity: the name of a similarity function, or None.
        max_length: tokens of the longest text by sentence-transformers' file, or None.
        lowercase: whether the tokenizer lower-cases texts.
        matryoshka: allowed dimensions, empty for any; None if the model is not trained for it.
        task_instructions: instructions by the name of a task.
        instruction_end: the mark up to which a text is an instruction that is not pooled.
        message_format: how sentence-transformers writes a text as a message for the chat template; None where it does not.
        template_arguments: further names for that template.
        truncate_dim: the dimensions that `SentenceTransformer.encode` keeps by default, None for all.
        facts: for each thing that was found, its value and its file.
    """

    modes: tuple[str, ...]
    include_prompt: bool = True
    heads: tuple[Head, ...] = ()
    normalize: bool | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity: str | None = None
    max_length: int | None = None
    lowercase: bool = False
    matryoshka: tuple[int, ...] | None = None
    task_instructions: Mapping[str, str] = field(default_factory=dict)
    instruction_end: str = ""
    message_format: Literal["auto", "flat", "structured"] | None = None
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    truncate_dim: int | None = None
    facts: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def width(self, hidden_width: int) -> int:
        """Returns the output dimensions for a backbone of `hidden_width`."""
        dense = [head.outputs for head in self.heads if isinstance(head, DenseHead)]
        return dense[-1] if dense else hidden_width * max(1, len(self.modes))

    def with_unread(self, keys: Sequence[str], source: str) -> "Recipe":
        """Returns this recipe with keys of a file among its facts that nobody reads."""
        return self if not keys else replace(self, facts=noted(self.facts, keys, source))

    def with_pooling(self, mode: str) -> "Recipe":
        """Returns this recipe with another pooling mode, as a caller asks for whose checkpoint's files are wrong."""
        return replace(self, modes=(mode,), facts={**self.facts, "pooling": (mode, "pooler_config")})
