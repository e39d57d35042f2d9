"""What an operation is asked to do, in plain values: enough to choose a back end without arrays and without a device."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class AttentionShape:
    """Attention over t tokens in cells of `longest`: `width` of a head; bias None, "alibi" or "relative", of that reach."""

    t: int
    longest: int
    heads: int
    key_heads: int
    width: int
    dtype: str
    bias: str | None = None
    reach: int = 0
    operation: ClassVar[str] = "attention"


@dataclass(frozen=True)
class PoolShape:
    """Pooling of a row of t tokens, `width` wide, into `texts` vectors; `outputs` behind the dense head, None without one."""

    t: int
    longest: int
    texts: int
    width: int
    modes: tuple[str, ...]
    dtype: str
    outputs: int | None = None
    activation: str = "linear"
    operation: ClassVar[str] = "pool"


@dataclass(frozen=True)
class LexicalShape:
    """Lexical weights of a row of t tokens, `width` wide, over a vocabulary, in `texts` texts."""

    t: int
    texts: int
    width: int
    vocabulary: int
    dtype: str
    operation: ClassVar[str] = "lexical"


@dataclass(frozen=True)
class MaxsimShape:
    """Late interaction of `queries` of `query_tokens` with documents packed in t tokens, all `width` wide."""

    queries: int
    query_tokens: int
    t: int
    texts: int
    width: int
    dtype: str
    operation: ClassVar[str] = "maxsim"


Shape = AttentionShape | PoolShape | LexicalShape | MaxsimShape
