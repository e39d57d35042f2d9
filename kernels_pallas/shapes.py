"""What an operation is asked to do, in plain values, and what each back end needs before it can do it.

A requirement that is not met is a phrase that completes "it cannot be used because ...". Nothing here looks at a device.
"""

from dataclasses import dataclass
from typing import ClassVar

# What a block may hold: shared memory of a Hopper block; half of the smallest of the supported TPUs' vector memories (v7x).
SHARED_MEMORY = 232_448
VECTOR_MEMORY = 32 << 20

HALVES = ("bfloat16", "float16")
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}


def _not(fact: bool, phrase: str) -> list[str]:
    return [] if fact else [phrase]


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

    def unmet(self, backend: str, tiles: tuple[int, int]) -> list[str]:
        """Returns what `backend` misses with `tiles` of queries and keys; empty where it serves."""
        block_q, block_k = tiles
        fits = self.t % block_q == 0 and self.t % block_k == 0
        if backend == "mosaic_tpu":
            cell = max(self.longest, block_q, block_k)
            held = 4 * self.width * (cell + block_q) * BYTES.get(self.dtype, 4) + 5 * block_q * (block_k + self.width) * 4
            return [
                *_not(fits and self.t % cell == 0, f"a row of {self.t} tokens is not a whole number of tiles"),
                *_not(cell % block_q == 0 and cell % block_k == 0, f"cells of {cell} are not a whole number of tiles"),
                *_not(self.width % 8 == 0, f"head width {self.width} is not a multiple of 8"),
                *_not(self.dtype in ("bfloat16", "float32"), f"{self.dtype} is neither bfloat16 nor float32"),
                *_not(held <= VECTOR_MEMORY, f"keys and values of a cell of {cell} take {held >> 20} MiB of vector memory"),
            ]
        if backend == "mosaic_gpu":
            tile = block_q * block_k * 4 * 2 if self.bias == "relative" else 0
            held = 2 * self.width * (block_q + 4 * block_k) + tile + 7 * 1024
            return [
                *_not(block_q == 128, f"a tile of {block_q} queries is not the 128 of two warpgroups"),
                *_not(fits, f"a row of {self.t} tokens is not a whole number of tiles"),
                *_not(self.width % 16 == 0 and self.width <= 256, f"head width {self.width} is not a multiple of 16 up to 256"),
                *_not(self.dtype in HALVES, f"{self.dtype} is not one of the types that the tensor cores take exactly"),
                *_not(self.reach <= 1024, f"a bias that reaches {self.reach} tokens has too many different tiles"),
                *_not(held <= SHARED_MEMORY, f"{held >> 10} KiB of shared memory are more than the 227 of a block"),
            ]
        return []


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

    def unmet(self, backend: str, tiles: tuple[int, int]) -> list[str]:
        """Returns what `backend` misses with `tiles` of texts and tokens; empty where it serves."""
        if backend not in ("mosaic_tpu", "mosaic_gpu"):
            return []
        texts, tokens = tiles
        shared = [
            *_not(len(self.modes) == 1, f"{len(self.modes)} modes are asked for side by side"),
            *_not(self.width % 128 == 0, f"width {self.width} is not a multiple of 128"),
            *_not(self.t % tokens == 0, f"a row of {self.t} tokens is not a whole number of tiles of {tokens}"),
            *_not(self.texts % texts == 0, f"{self.texts} places for texts are not a whole number of tiles of {texts}"),
        ]
        if backend == "mosaic_gpu":
            return [
                *shared,
                *_not(self.longest <= 1024, f"a text of up to {self.longest} tokens would keep one multiprocessor busy"),
            ]
        outputs = self.outputs or 0
        held = 4 * self.width * (tokens + 2 * texts) * 4 + 2 * outputs * (self.width + 3 * texts) * 4
        return [
            *shared,
            *_not(outputs % 128 == 0, f"a dense head of {outputs} outputs is not a multiple of 128"),
            *_not(self.activation in ("linear", "tanh"), f"the dense head's activation is {self.activation}"),
            *_not(held <= VECTOR_MEMORY, f"{held >> 20} MiB of vector memory are needed"),
        ]


@dataclass(frozen=True)
class LexicalShape:
    """Lexical weights of a row of t tokens, `width` wide, over a vocabulary, in `texts` texts."""

    t: int
    texts: int
    width: int
    vocabulary: int
    dtype: str
    operation: ClassVar[str] = "lexical"

    def unmet(self, backend: str, tiles: tuple[int, int]) -> list[str]:
        """Returns what `backend` misses with `tiles` of tokens and words; empty where it serves."""
        if backend not in ("mosaic_tpu", "mosaic_gpu"):
            return []
        tokens, words = tiles
        held = 2 * (tokens + words) * self.width * BYTES.get(self.dtype, 4) + (2 * self.texts + 3 * tokens) * words * 4
        kinds = HALVES if backend == "mosaic_gpu" else ("bfloat16", "float32")
        return [
            *_not(self.t % tokens == 0, f"a row of {self.t} tokens is not a whole number of tiles of {tokens}"),
            *_not(self.width % 128 == 0, f"width {self.width} is not a multiple of 128"),
            *_not(self.dtype in kinds, f"{self.dtype} is not one of {' and '.join(kinds)}"),
            *_not(backend == "mosaic_gpu" or held <= VECTOR_MEMORY, f"{held >> 20} MiB of vector memory are needed"),
        ]


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

    def unmet(self, backend: str, tiles: tuple[int, int]) -> list[str]:
        """Returns what `backend` misses with `tiles` of query tokens and document tokens; empty where it serves."""
        if backend not in ("mosaic_tpu", "mosaic_gpu"):
            return []
        _, tokens = tiles
        whole = _not(self.t % tokens == 0, f"a row of {self.t} tokens is not a whole number of tiles of {tokens}")
        if backend == "mosaic_tpu":
            return [
                *whole,
                *_not(self.width % 128 == 0, f"width {self.width} is not a multiple of 128"),
                *_not(self.texts <= 4096, f"the maxima of {self.texts} documents do not fit into vector memory"),
                *_not(self.dtype in ("bfloat16", "float32"), f"{self.dtype} is neither bfloat16 nor float32"),
            ]
        held = 2 * self.width * (-(-self.query_tokens // 64) * 64 + 3 * tokens) + 4096
        return [
            *whole,
            *_not(self.width % 64 == 0 and self.width <= 256, f"width {self.width} is not a multiple of 64 up to 256"),
            *_not(self.query_tokens <= 256, f"{self.query_tokens} query tokens do not fit into registers"),
            *_not(held <= SHARED_MEMORY, f"{held >> 10} KiB of shared memory are more than the 227 of a block"),
            *_not(self.dtype in HALVES, f"{self.dtype} is not one of the types that the tensor cores take exactly"),
        ]


Shape = AttentionShape | PoolShape | LexicalShape | MaxsimShape
SHAPES: dict[str, type[Shape]] = {shape.operation: shape for shape in (AttentionShape, PoolShape, LexicalShape, MaxsimShape)}
