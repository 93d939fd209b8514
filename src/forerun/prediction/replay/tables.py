"""Tables of comma-separated lines, read with the file and line in every error. Pure: lines come from the caller."""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from forerun.errors import InvalidInput


class Source:
    """One file: its name as people know it, and its lines. Lines are read once."""

    def __init__(self, name: str, lines: Iterable[str]) -> None:
        self.name = name
        self._rows = csv.reader(lines)
        self.header = self._header()

    def _header(self) -> Sequence[str]:
        header = [cell.strip() for cell in next(self._read(), [])]
        if header:
            header[0] = header[0].removeprefix("\ufeff")
        if not any(header):
            raise InvalidInput(f"{self.name}, line 1: a line with the names of columns is missing")
        if len(set(header)) < len(header):
            (name, _), *_ = Counter(header).most_common(1)
            raise InvalidInput(f"{self.name}, line 1: column {name[:100]!r} is there twice")
        return header

    def places(self, *names: str) -> list[int]:
        """Where these columns are. Raises ``InvalidInput`` for one that is missing."""
        for name in names:
            if name not in self.header:
                raise InvalidInput(f"{self.name}, line 1: column {name!r} is missing")
        return [self.header.index(name) for name in names]

    def rows(self, skipped: Counter[str]) -> Iterator[Sequence[str]]:
        """Rows with a cell for each column; others are counted in ``skipped``, but for blank lines."""
        width = len(self.header)
        for row in self._read():
            if len(row) == width:
                yield row
            elif row:
                skipped["rows with too few or too many cells"] += 1

    def _read(self) -> Iterator[list[str]]:
        while True:
            try:
                row = next(self._rows)
            except StopIteration:
                return
            except csv.Error as error:
                raise InvalidInput(f"{self.name}, line {self._rows.line_num}: {error}") from None
            yield row


def number(cell: str) -> float:
    """A finite number; ``nan`` for what is none."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
