"""A table of numbers that stays small however many rows are put in."""

from array import array
from collections.abc import Iterator, Mapping
from math import isnan, nan

ROWS = 20_000  # rows held at most; a longer log is thinned evenly, which hardly changes medians or curves
COLUMNS = 240  # DETR with six decoder layers has about 150


class Table:
    """Rows of named floats in the order of `key`, NaN where a row has no such value.

    Beyond ROWS rows every second one is dropped and from then on every second new one (`stride` doubles). Memory is
    therefore bounded, and what is kept stays evenly spread over the whole log.
    """

    def __init__(self, key: str):
        self.key = key
        self.columns: dict[str, array] = {key: array("d")}
        self.stride = 1
        self.seen = 0
        self.refused = 0  # values of columns beyond COLUMNS

    def __len__(self) -> int:
        return len(self.columns[self.key])

    def __contains__(self, name: str) -> bool:
        return any(not isnan(v) for v in self.columns.get(name, ()))

    def add(self, row: Mapping[str, float]) -> None:
        """Put one row behind the others."""
        self.seen += 1
        if (self.seen - 1) % self.stride:
            return
        length = len(self)
        for name, value in row.items():
            column = self.columns.get(name)
            if column is None:
                if len(self.columns) >= COLUMNS:
                    self.refused += 1
                    continue
                column = self.columns[name] = array("d", [nan]) * length
            column.append(value)
        for column in self.columns.values():
            if len(column) == length:
                column.append(nan)
        if length + 1 > ROWS:
            self.stride *= 2
            for name, column in self.columns.items():
                self.columns[name] = column[::2]

    def complete(self, row: Mapping[str, float]) -> int:
        """Put values into the last row where it has none; returns how many it had already."""
        had = 0
        for name, value in row.items():
            column = self.columns.get(name)
            if column is None:
                if len(self.columns) >= COLUMNS:
                    self.refused += 1
                    continue
                column = self.columns[name] = array("d", [nan]) * len(self)
            if len(column) and isnan(column[-1]):
                column[-1] = value
            elif name != self.key:
                had += 1
        return had

    def cut(self, least: float) -> int:
        """Drop the rows at the end whose key is `least` or more; returns how many."""
        keys = self.columns[self.key]
        keep = len(keys)
        while keep and keys[keep - 1] >= least:
            keep -= 1
        dropped = len(keys) - keep
        for column in self.columns.values():
            del column[keep:]
        self.seen -= dropped * self.stride
        return dropped

    def column(self, name: str) -> list[float]:
        """All values of a column; NaN for every row when nothing was recorded under this name."""
        return list(self.columns.get(name, array("d", [nan]) * len(self)))

    def pairs(self, x: str, y: str) -> tuple[list[float], list[float]]:
        """The rows that have both values, as two lists."""
        both = [(a, b) for a, b in zip(self.column(x), self.column(y), strict=True) if not isnan(a) and not isnan(b)]
        return [a for a, _ in both], [b for _, b in both]

    def rows(self) -> Iterator[dict[str, float]]:
        """Every row without its missing values."""
        names = list(self.columns)
        for values in zip(*self.columns.values(), strict=True):
            yield {name: value for name, value in zip(names, values, strict=True) if not isnan(value)}

    def names(self) -> list[str]:
        """Columns that hold at least one number."""
        return [name for name in self.columns if name in self]
