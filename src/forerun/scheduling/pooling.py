"""How many unassigned sandboxes wait in a warming pool, by how much of what comes is foreseen. Pure.

What keeps to a period is prepared for before it comes, so fewer sandboxes wait for what nobody has foreseen:

    floor = base x (1 - degree x share)

``share`` of the starts from the pool are those of functions that keep to a period, and ``degree`` is how strictly those do,
each from 0 to 1, weighted by their starts. It is never below 1, unless the base is 0.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Periodic(NamedTuple):
    """A function that keeps to a period: its starts of late, and how strictly it does, from 0 to 1."""

    starts: float
    degree: float


class Floor(NamedTuple):
    """How many wait at least, and what that follows from."""

    floor: int
    base: int
    share: float
    degree: float
    functions: int


def pool_floor(base: int, starts: float, periodic: Iterable[Periodic]) -> Floor:
    """For a pool with so many ``starts`` of late altogether, those of ``periodic`` functions among them."""
    functions = [each for each in periodic if each.starts > 0 and each.degree > 0]
    foreseen = sum(each.starts for each in functions)
    if foreseen <= 0 or starts <= 0:
        return Floor(base, base, 0.0, 0.0, 0)
    share = min(1.0, foreseen / starts)
    degree = min(1.0, sum(each.starts * each.degree for each in functions) / foreseen)
    floor = max(min(1, base), round(base * (1.0 - degree * share)))
    return Floor(floor, base, share, degree, len(functions))
