"""What a scheduler has done so far, and the rate at which it does it."""

import math
from collections import Counter
from dataclasses import dataclass, field

from jaxembed.packing.planning import Row

# How much of the older rows the measured rate forgets at each new one: some thirty rows count.
_FORGET = 0.03
# The time over which the quick lane's load is looked at.
_LOAD_SECONDS = 10.0


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
    _largest_row: int = 0
    _full_rate: float | None = None
    _quick_tokens: float = 0.0
    _quick_at: float = 0.0

    @property
    def padding_ratio(self) -> float:
        """The part of all rows so far that held no text."""
        return 1 - self.tokens / self.row_tokens if self.row_tokens else 0.0

    @property
    def tokens_per_second(self) -> float | None:
        """The rate of the last rows, None before the second row."""
        return self._rate_tokens / self._rate_seconds if self._rate_seconds > 0 else None

    @property
    def full_tokens_per_second(self) -> float | None:
        """The rate of the last rows that were at least half full: what it can do. None before there was one.

        The rate of single queries says little about it: a row of ten tokens takes nearly as long as one of a hundred.
        """
        if self._full_rate is None or self.tokens_per_second is None:
            return self._full_rate
        return max(self._full_rate, self.tokens_per_second)

    def count_quick(self, tokens: int, now: float) -> None:
        """Counts tokens that came for the quick lane."""
        self._quick_tokens = self._quick_tokens * self._faded(now) + tokens
        self._quick_at = now

    def quick_tokens_per_second(self, now: float) -> float:
        """How many tokens came for the quick lane lately."""
        return self._quick_tokens * self._faded(now) / _LOAD_SECONDS

    def _faded(self, now: float) -> float:
        return math.exp((self._quick_at - now) / _LOAD_SECONDS)

    def count_row(self, row: Row, begin: float, now: float) -> None:
        """Counts a row that was started at `begin` and is done now, both in seconds of one clock."""
        seconds = now - max(self._finished_at, begin)
        self._finished_at = now
        if self.rows:  # the first row may have waited for a compiler
            self._rate_tokens += row.tokens - _FORGET * self._rate_tokens
            self._rate_seconds += seconds - _FORGET * self._rate_seconds
            self._largest_row = max(self._largest_row, row.shape.row)
            if 2 * row.tokens >= self._largest_row and seconds > 0:
                rate = row.tokens / seconds
                self._full_rate = rate if self._full_rate is None else self._full_rate + _FORGET * (rate - self._full_rate)
        self.rows += 1
        self.texts += len(row.texts)
        self.tokens += row.tokens
        self.row_tokens += row.shape.row
        self.device_seconds += seconds
