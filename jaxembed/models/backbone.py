"""What the config of every model says: all that the rest of the house asks of one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The base of each family's config.

    Attributes:
        vocabulary: token ids are below it (`vocab_size`).
        width: of the model (`hidden_size`).
        layers: how many have weights of their own (`num_hidden_layers`), 0 for static embeddings.
        subfolder: the folder of the checkpoint that holds weights and tokenizer, "" for the main one.
        adapter: the folder of an adapter that is merged into the weights, "" for none.
    """

    vocabulary: int
    width: int
    layers: int
    subfolder: str = ""
    adapter: str = ""

    @property
    def output_width(self) -> int:
        """The width of the hidden states that come out."""
        return self.width

    if TYPE_CHECKING:

        @property
        def longest(self) -> int:
            """Tokens of the longest text that the positions allow (`max_position_embeddings`)."""
            ...
