"""From texts to rows: which text lies where, in numpy only. Knows nothing about models, devices or queues.

Texts are put into cells, best fit by decreasing length, and cells are laid end to end in rows, large ones first. All cell
sizes are powers of two, so each lies at a multiple of its own size and no text ever crosses a multiple of the row's cell.
Only the shapes listed by a `Table` reach the compiler.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class RowShape(NamedTuple):
    """The static sizes of a row, all that a program depends on: its tokens, its cell, and its slots for texts."""

    row: int
    cell: int
    texts: int

    def holds(self, other: "RowShape") -> bool:
        """Whether a row planned for `other` can be laid out in this shape instead: cells stay aligned."""
        return self.row >= other.row and self.cell >= other.cell and self.texts >= other.texts

    def __str__(self) -> str:
        return f"{self.row} tokens in cells of {self.cell}"


@dataclass(frozen=True)
class Table:
    """The rows a kind of device is given. All sizes are powers of two.

    Attributes:
        row: tokens in a full row.
        smallest: the smallest row, so that one short text does not pay for a full one.
        cell: the smallest cell in a full row.
        tokens_per_text: a row has one slot for a text to this many tokens.
    """

    row: int
    smallest: int
    cell: int
    tokens_per_text: int

    def shape(self, row: int, cell: int) -> RowShape:
        """Returns the shape of a row of `row` tokens."""
        return RowShape(row, cell, max(1, row // self.tokens_per_text))

    def shapes(self, longest: int) -> list[RowShape]:
        """Returns every shape that texts of up to `longest` tokens can need, smallest first."""
        largest = max(ceiling(longest), self.cell)
        small = [(row, row) for row in _powers(self.smallest, self.row // 2)]
        full = [(self.row, cell) for cell in _powers(self.cell, min(largest, self.row))]
        long = [(row, row) for row in _powers(2 * self.row, largest)]
        return [self.shape(row, cell) for row, cell in small + full + long]


# CPU: rows of 256 to 512 tokens keep the activations in cache (spec of 2026: 230 to 265 GFLOP/s there, 184 to 190 in rows of
# 1,024 to 2,048). Accelerators: few and large; their sizes await a measurement on the device.
TABLES = {
    "cpu": Table(row=512, smallest=16, cell=32, tokens_per_text=4),
    "gpu": Table(row=8192, smallest=256, cell=128, tokens_per_text=8),
    "tpu": Table(row=8192, smallest=256, cell=256, tokens_per_text=8),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One planned row: its shape, and for each text in it (by its index in the plan) the token at which it begins."""

    shape: RowShape
    texts: tuple[int, ...]
    starts: tuple[int, ...]
    tokens: int


class _Cell:
    """A bin of `size` tokens, `used` of them taken by `texts`."""

    __slots__ = ("size", "texts", "used")

    def __init__(self, size: int) -> None:
        self.size, self.used, self.texts = size, 0, list[int]()


def ceiling(n: int) -> int:
    """Returns the smallest power of two that is at least `n`."""
    return 1 << max(n - 1, 0).bit_length()


def plan(lengths: Sequence[int], table: Table) -> list[Row]:
    """Returns rows that hold every text exactly once, long texts first; the last row is as small as it can be.

    Args:
        lengths: tokens of each text; one of none lies where its neighbor begins.
        table: the rows of the device.
    """
    rows: list[Row] = []
    pending: list[_Cell] = []
    tokens = 0
    for cell in sorted(_fill(lengths, table), key=lambda cell: -cell.size):
        if pending and tokens + cell.size > max(table.row, pending[0].size):
            rows.append(_row(pending, lengths, table))
            pending, tokens = [], 0
        pending.append(cell)
        tokens += cell.size
    if pending:
        rows.append(_last_row(pending, lengths, table))
    return rows


def _fill(lengths: Sequence[int], table: Table) -> list[_Cell]:
    """Puts every text into the cell it fills best, or into a new one of the smallest size that takes it."""
    cells: list[_Cell] = []
    room: dict[int, list[_Cell]] = {}  # open cells by their free tokens
    free_sizes = 0  # bit n is set while room[n] has a cell: the best fit is then one shift away
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        length = lengths[index]
        fits = free_sizes >> length
        if fits:
            free = length + (fits & -fits).bit_length() - 1
            cell = room[free].pop()
            if not room[free]:
                free_sizes ^= 1 << free
        else:
            cell = _Cell(max(table.cell, ceiling(length)))
            cells.append(cell)
        cell.texts.append(index)
        cell.used += length
        left = cell.size - cell.used
        if left and len(cell.texts) < cell.size // table.tokens_per_text:
            room.setdefault(left, []).append(cell)
            free_sizes |= 1 << left
    return cells


def _row(cells: Sequence[_Cell], lengths: Sequence[int], table: Table) -> Row:
    """Lays cells, largest first, each at a multiple of its own size."""
    size = cells[0].size
    begins, end = [], 0
    for cell in cells:
        begins.append(end)
        end += cell.size
    return _laid(table.shape(max(table.row, size), size), cells, begins, lengths)


def _last_row(cells: Sequence[_Cell], lengths: Sequence[int], table: Table) -> Row:
    """Lays the texts behind each other in a small row of one cell where that holds them."""
    used = sum(cell.used for cell in cells)
    texts = sum(len(cell.texts) for cell in cells)
    row = max(table.smallest, ceiling(max(used, texts * table.tokens_per_text)))
    if row >= table.row:
        return _row(cells, lengths, table)
    begins, end = [], 0
    for cell in cells:
        begins.append(end)
        end += cell.used
    return _laid(table.shape(row, row), cells, begins, lengths)


def _laid(shape: RowShape, cells: Sequence[_Cell], begins: Sequence[int], lengths: Sequence[int]) -> Row:
    texts, starts = list[int](), list[int]()
    for cell, begin in zip(cells, begins, strict=True):
        for index in cell.texts:
            texts.append(index)
            starts.append(begin)
            begin += lengths[index]
    return Row(shape, tuple(texts), tuple(starts), sum(cell.used for cell in cells))


def _powers(first: int, last: int) -> list[int]:
    """Powers of two from `first` to `last`, both included."""
    return [1 << e for e in range(first.bit_length() - 1, last.bit_length())]
