"""Ages of waits in classes: by size, and by how they relate to the last gap. Pure."""

import math
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache


class AgeClasses:
    """Ages from 1 to ``horizon`` ticks: exact up to 4, then four classes to the octave."""

    def __init__(self, horizon: int) -> None:
        self._of = [0, *(_class(age) for age in range(1, horizon + 1))]
        starts = [age for age in range(2, horizon + 1) if self._of[age] != self._of[age - 1]]
        self.edges = [1, *starts, horizon + 1]

    def of(self, age: int) -> int:
        """The class of an age."""
        return self._of[age]

    def octave(self, age: int) -> int:
        """A wider class: the octave the age lies in, -1 for one tick."""
        return self._of[age] // 4 if age > 1 else -1

    def runs(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """Class and number of the ages from ``first`` to before ``end``, class by class."""
        at = first
        while at < end:
            stop = min(end, self.edges[bisect_left(self.edges, at + 1)])
            yield self._of[at], stop - at
            at = stop


def _class(age: int) -> int:
    return age if age <= 4 else int(4 * math.log2(age)) - 3


def relation(age: int, gap: int) -> str:
    """How an age relates to the last gap: ``before``, ``early``, ``equal``, ``late``, ``multiple`` or ``after``."""
    off = age - gap
    if off < -1:
        return "before"
    if off <= 1:
        return ("early", "equal", "late")[off + 1]
    if gap >= 3 and (age + 1) % gap <= 2:
        return "multiple"
    return "after"


def relations(gap: int, first: int, end: int) -> Iterator[tuple[str, int]]:
    """Relation and number of the ages from ``first`` to before ``end``, run by run."""
    at = first
    while at < end:
        name = relation(at, gap)
        if name == "before":
            stop = gap - 1
        elif name != "after":
            stop = at + 1
        elif gap >= 3:
            stop = at - (at + 1) % gap + gap
        else:
            stop = end
        stop = min(stop, end)
        yield name, stop - at
        at = stop


@cache
def relation_edges(gap: int, end: int) -> tuple[int, ...]:
    """Ages from 1 to before ``end`` at which another relation begins."""
    edges, at = [], 1
    for _, run in relations(gap, 1, end):
        at += run
        edges.append(at)
    return tuple(edges)


def overdue(age: int, longest: int) -> int:
    """The octave of an age beyond the longest gap: 1 up to twice as long, 2 up to four times ..."""
    return (age // (longest + 1)).bit_length()


def octaves_beyond(longest: int, first: int, end: int) -> Iterator[tuple[int, int]]:
    """Octave and number of those ages from ``first`` to before ``end`` that are beyond the longest gap, run by run."""
    at = max(first, longest + 2)
    while at < end:
        octave = overdue(at, longest)
        stop = min(end, (longest + 1) << octave)
        yield octave, stop - at
        at = stop
