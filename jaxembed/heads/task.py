"""What a program may be asked to compute, as an object: all that tells one kind of output from another stands in it.

Importing this costs neither jax nor numpy: a face and `jaxembed --help` know the tasks before any model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Array, Float

    from jaxembed.heads.embedder import Embedder
    from jaxembed.layers.run import Run
    from jaxembed.packing.packed import Packed
    from jaxembed.packing.text import Text

# The APIs that may ask for a task, by the names of vLLM's routes.
EMBEDDINGS, POOLING, SCORE = "embeddings", "pooling", "score"


@dataclass(frozen=True, eq=False)
class Task:
    """A kind of output.

    Attributes:
        name: vLLM's word for it.
        per_token: whether it gives one result a token, or one a text.
        program: the output of a row from its last hidden states, traced inside the program.
        cut: the results of a row's texts from its output on the host, given the texts in their order and the tokens at which
            they begin. They are copies, so that the row's buffer can go.
        compare: the score of a pair of results, larger for what is more alike; None where results do not compare.
        apis: the APIs that may ask for it.
    """

    name: str
    per_token: bool
    program: Callable[[Embedder, Packed, Float[Array, "t d"], Run], Any]
    cut: Callable[[Any, Sequence[Text], Sequence[int]], list[Any]]
    compare: Callable[[np.ndarray, np.ndarray], float] | None = None
    apis: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return self.name

    def output(self, embedder: Embedder, packed: Packed, run: Run) -> Any:
        """Returns the output of a row, float32, from one pass through the backbone."""
        return self.program(embedder, packed, embedder.backbone(packed, run), run)

    def values(self, *, texts: int, tokens: int, width: int) -> int:
        """Returns how many numbers an answer of so many texts with so many tokens holds, `width` of them for each."""
        return (tokens if self.per_token else texts) * width


@cache
def together(*tasks: Task) -> Task:
    """Returns a task whose result is the tuple of those of `tasks`, computed in one pass over a row."""

    def program(embedder: Any, packed: Any, states: Any, run: Any) -> Any:
        return tuple(task.program(embedder, packed, states, run) for task in tasks)

    def cut(outputs: Any, texts: Sequence[Text], starts: Sequence[int]) -> list[Any]:
        each = [task.cut(output, texts, starts) for task, output in zip(tasks, outputs, strict=True)]
        return list(zip(*each, strict=True))

    return Task("+".join(task.name for task in tasks), any(task.per_token for task in tasks), program, cut)
