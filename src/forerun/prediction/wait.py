"""What is remembered of one function at one resolution, and what all of them have taught. Pure."""

from array import array
from collections import Counter
from typing import Generic

from forerun.prediction.policy import F

# A wait is given up at this age; a gap beyond it is kept as ``CUT``.
HORIZON = 256
CUT = HORIZON + 1
# Observations of one class after which older ones count for half, so that what was learned can be unlearned.
FADING = 20_000

Row = tuple[str, int, int]
Packed = tuple[str, int, int, int, list[int], Row | None]


class View:
    """A function's own levels for one wait: gaps in order, those after a gap like the last, calls by age in the hourly cycle.

    ``known``: how many ticks before its last call its calls are known. ``edges``: ages at which a hazard may change, in
    order; between two of them it is the same.
    """

    __slots__ = ("edges", "known", "ordered", "phases", "sequel")

    def __init__(self, ordered: list[int]) -> None:
        self.ordered = ordered
        self.sequel: list[int] = []
        self.phases: Counter[int] = Counter()
        self.known = 0
        self.edges: list[int] = []


class Wait(Generic[F]):
    """What is known of one function, in ticks; gaps beyond the horizon are kept as ``CUT``.

    ``due`` is when its open wait is counted next, -1 when it is given up; ``credited`` ages of it are counted as at risk.
    ``row`` is where its rhythm is counted, ``longest`` the longest of its gaps.
    """

    __slots__ = ("credited", "due", "function", "gaps", "kind", "last", "longest", "row")

    def __init__(self, function: F, kind: str, last: int) -> None:
        self.function = function
        self.kind = kind
        self.last = last
        self.due = -1
        self.credited = 0
        self.gaps: array[int] = array("H")
        self.longest = 0
        self.row: Row | None = None

    def packed(self) -> list[object]:
        """For ``unpack``."""
        return [self.kind, self.last, self.due, self.credited, self.gaps.tolist(), self.row]

    @classmethod
    def unpack(cls, function: F, packed: Packed) -> "Wait[F]":
        """What ``packed`` has made of one."""
        kind, last, due, credited, gaps, row = packed
        wait = cls(function, kind, last)
        wait.due, wait.credited, wait.row = due, credited, row
        wait.gaps.extend(gaps)
        wait.longest = max(gaps, default=0)
        return wait


class Table(dict[object, list[float]]):
    """Hits and observations at risk, by class."""

    def add(self, key: object, hits: int, risk: int) -> None:
        """Count."""
        row = self.get(key)
        if row is None:
            self[key] = [hits, risk]
        else:
            row[0] += hits
            row[1] += risk
            if row[1] > FADING:
                row[0] /= 2
                row[1] /= 2
