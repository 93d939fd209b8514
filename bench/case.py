"""What every case is given: how much to measure, quiet moments to do it in, and medians of the quieter rounds."""

import math
import statistics
import sys
from collections.abc import Iterable, Iterator

from quiet import Others, wait_for_quiet
from results import Line

PYTHON = f"python3.{sys.version_info.minor}"
# Rounds in which others used no more than this share of the CPU all count.
QUIET_PERCENT = 10.0


class Run:
    """``quick`` measures less of everything. ``case`` names the lines made."""

    def __init__(self, case: str, *, quick: bool = False, patience_s: float = 3.0) -> None:
        self.case = case
        self.quick = quick
        self._patience_s = patience_s
        self._others: list[float] = []
        self._all_others: list[float] = []

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def rounds(self, full: int, quick: int = 1) -> Iterator[int]:
        """Numbers of rounds, each after the machine was quiet or patience had ended."""
        self._others = []
        for index in range(self.size(full, quick)):
            wait_for_quiet(self._patience_s)
            others = Others()
            yield index
            self._others.append(others.percent())
            self._all_others.append(self._others[-1])

    @property
    def disturbed(self) -> float:
        """What others used of the CPU, percent, over all rounds of the case."""
        return statistics.fmean(self._all_others) if self._all_others else 0.0

    def median(
        self, what: str, values: Iterable[float], unit: str, target: float | None = None, **more
    ) -> Line:
        """The line of one value for each of the last rounds: the median of the quieter half."""
        found = list(values)
        others = self._others if len(self._others) == len(found) else self._meanwhile(len(found))
        bound = max(QUIET_PERCENT, statistics.median(others)) if others else 0.0
        counted = [
            (value, busy)
            for value, busy in zip(found, others, strict=True)
            if busy <= bound and not math.isnan(value)
        ]
        middle = statistics.median(value for value, _ in counted) if counted else None
        busy = statistics.median(busy for _, busy in counted) if counted else 0.0
        return Line(self.case, what, middle, unit, target, rounds=found, others_cpu=busy, **more)

    def line(
        self, what: str, value: float | None, unit: str, target: float | None = None, **more
    ) -> Line:
        """A line that is no median of rounds."""
        return Line(self.case, what, value, unit, target, others_cpu=self._meanwhile(1)[0], **more)

    def _meanwhile(self, count: int) -> list[float]:
        """What others used over all last rounds, for each of so many values."""
        return [statistics.fmean(self._others) if self._others else 0.0] * count
