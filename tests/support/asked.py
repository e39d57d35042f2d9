"""The shapes for which kernels are compiled, and each operation as a function of abstract arrays."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxembed.kernels_pallas import (
    Alibi,
    AttentionShape,
    LexicalShape,
    MaxsimShape,
    PoolShape,
    RelativeBias,
    Spans,
    attention,
    lexical,
    maxsim,
    pool,
)
from jaxembed.kernels_pallas.pool.parts import Dense

# Base shapes of BERT, Qwen3, EmbeddingGemma, T5 and MPNet, the smallest row, and the longest cells.
ATTENTION = [
    AttentionShape(8192, 256, 12, 12, 64, "bfloat16"),
    AttentionShape(8192, 128, 12, 12, 32, "bfloat16"),
    AttentionShape(8192, 8192, 16, 8, 128, "bfloat16"),
    AttentionShape(8192, 512, 3, 1, 256, "bfloat16"),
    AttentionShape(32768, 32768, 16, 8, 128, "bfloat16"),
    AttentionShape(8192, 512, 12, 12, 80, "bfloat16"),
    AttentionShape(256, 256, 12, 12, 64, "bfloat16"),
    AttentionShape(8192, 512, 12, 12, 64, "bfloat16", "alibi"),
    AttentionShape(8192, 512, 12, 12, 64, "bfloat16", "relative", 128),
    AttentionShape(8192, 512, 16, 16, 128, "bfloat16", "relative", 128),
]
POOL = [
    PoolShape(8192, 256, 1024, 768, (mode,), "bfloat16")
    for mode in ("mean", "cls", "lasttoken", "max", "mean_sqrt_len_tokens", "weightedmean")
] + [
    PoolShape(256, 256, 32, 384, ("mean",), "bfloat16"),
    PoolShape(8192, 256, 1024, 1024, ("lasttoken",), "float32"),
    PoolShape(8192, 256, 1024, 384, ("mean",), "bfloat16", 768, "tanh"),
]
LEXICAL = [
    LexicalShape(8192, 128, 768, 30522, "bfloat16"),
    LexicalShape(256, 32, 384, 30522, "bfloat16"),
]
MAXSIM = [
    MaxsimShape(1, 32, 1 << 18, 1024, 128, "bfloat16"),
    MaxsimShape(32, 32, 1 << 16, 256, 128, "bfloat16"),
    MaxsimShape(1, 128, 1 << 16, 256, 128, "bfloat16"),
]
ALL = [*ATTENTION, *POOL, *LEXICAL, *MAXSIM]


def name(shape):
    fields = [str(value) for key, value in vars(shape).items() if value is not None and key != "dtype"]
    return "-".join([shape.operation, *fields])


def of(*dims, dtype=jnp.int32):
    return jax.ShapeDtypeStruct(dims, dtype)


def operation(shape, choice):
    """The function to compile and its abstract arguments."""
    return _MAKE[shape.operation](shape, choice)


def _attention(shape, choice):
    t, kind = shape.t, shape.dtype
    q, k = of(t, shape.heads, shape.width, dtype=kind), of(t, shape.key_heads, shape.width, dtype=kind)
    numbers = of(*((shape.heads, 2 * shape.reach + 1) if shape.reach else (shape.heads,)), dtype="float32")
    make = {None: lambda numbers: None, "alibi": Alibi, "relative": RelativeBias}[shape.bias]

    def function(q, k, v, start, stop, numbers):
        options = {"scale": shape.width**-0.5, "longest": shape.longest, "choice": choice}
        return attention(q, k, v, Spans(start, stop), bias=make(numbers), **options)

    return function, (q, k, k, of(t), of(t), numbers)


def _pool(shape, choice):
    s, d, e = shape.texts, shape.width, shape.outputs
    head = () if e is None else (of(d, e, dtype="float32"), of(e, dtype="float32"))

    def function(hidden, starts, lengths, skip, dims, normalize, *head):
        dense = Dense(*head, shape.activation) if head else None
        return pool(hidden, starts, lengths, skip, dims, normalize, dense, modes=shape.modes, choice=choice)

    return function, (of(shape.t, d, dtype=shape.dtype), of(s), of(s), of(s), of(s), of(s, dtype="bool"), *head)


def _lexical(shape, choice):
    v, d = shape.vocabulary, shape.width
    arguments = (of(shape.t, d, dtype=shape.dtype), of(v, d, dtype=shape.dtype), of(v, dtype="float32"))
    return partial(lexical, choice=choice), (*arguments, of(shape.texts), of(shape.texts))


def _maxsim(shape, choice):
    queries = of(shape.queries, shape.query_tokens, shape.width, dtype=shape.dtype)
    documents = of(shape.t, shape.width, dtype=shape.dtype)
    return partial(maxsim, choice=choice), (queries, documents, of(shape.texts), of(shape.texts))


_MAKE = {"attention": _attention, "pool": _pool, "lexical": _lexical, "maxsim": _maxsim}
