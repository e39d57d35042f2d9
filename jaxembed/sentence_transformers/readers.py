"""Examples with labels, as old code keeps its texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxembed.sentence_transformers.absent import TRAINING, absent


@dataclass
class InputExample:
    """Texts that belong together.

    Attributes:
        guid: a name.
        texts: one, two or more.
        label: a number for them.
    """

    guid: str = ""
    texts: Sequence[str] = field(default_factory=list)
    label: int | float = 0


__getattr__ = absent(
    "LabelSentenceReader NLIDataReader PairedFilesReader STSBenchmarkDataReader STSDataReader TripletReader",
    TRAINING,
    __name__,
)
