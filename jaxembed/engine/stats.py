"""What a scheduler has done so far, and the rate at which it does it."""

from collections import Counter
from dataclasses import dataclass, field

from jaxembed.packing.planning import Row

# How much of the older rows the measured rate forgets at each new one: some thirty rows count.
_FORGET = 0.03


@dataclass
class Stats:
    """What has happened so far. shed: refused requests by reason. ended: accepted ones by how they ended."""

    rows: int = 0
    texts: int = 0
    tokens: int = 0
    row_tokens: int = 0
    device_seconds: float = 0.0
    crashes: int = 0
    halvings: int = 0
    shed: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    _rate_tokens: float = 0.0
    _rate_seconds: float = 0.0
    _finished_at: float = 0.0

    @property
    def padding_ratio(self) -> float:
        """The part of all rows so far that held no text."""
        return 1 - self.tokens / self.row_tokens if self.row_tokens else 0.0

    @property
    def tokens_per_second(self) -> float | None:
        """The rate of the last rows, None before the second row."""
        return self._rate_tokens / self._rate_seconds if self._rate_seconds > 0 else None

    def count_row(self, row: Row, begin: float, now: float) -> None:
        """Counts a row that was started at `begin` and is done now, both in seconds of one clock."""
        seconds = now - max(self._finished_at, begin)
        self._finished_at = now
        if self.rows:  # the first row may have waited for a compiler
            self._rate_tokens += row.tokens - _FORGET * self._rate_tokens
            self._rate_seconds += seconds - _FORGET * self._rate_seconds
        self.rows += 1
        self.texts += len(row.texts)
        self.tokens += row.tokens
        self.row_tokens += row.shape.row
        self.device_seconds += seconds
