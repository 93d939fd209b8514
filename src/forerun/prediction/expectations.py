"""Several expectations of one function as one sequence in time. Pure."""

import bisect
from collections.abc import Iterable

from msgspec.structs import replace

from forerun.model import Expectation


def disjoint(expectations: Iterable[Expectation]) -> list[Expectation]:
    """In order and without overlap: at each moment the one that wants most, of those the likeliest."""
    given = [each for each in expectations if each.until > each.since]
    edges = sorted({edge for each in given for edge in (each.since, each.until)})
    best: list[Expectation | None] = [None] * max(0, len(edges) - 1)
    for each in sorted(given, key=lambda each: (each.count, each.probability)):
        first = bisect.bisect_left(edges, each.since)
        for place in range(first, bisect.bisect_left(edges, each.until)):
            best[place] = each
    found: list[Expectation] = []
    origin: Expectation | None = None
    for place, chosen in enumerate(best):
        if chosen is not None and chosen is origin:
            found[-1] = replace(found[-1], until=edges[place + 1])
        elif chosen is not None:
            found.append(replace(chosen, since=edges[place], until=edges[place + 1]))
        origin = chosen
    return found
